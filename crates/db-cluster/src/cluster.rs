//! The cluster as a whole: opened, asked for a connection to the primary or for a view that reads, drained, looked at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use db_core::{Acquire, Action, Cause, Error, Kind, Log, Observer, Phase, Result, Signal};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::assess::{Assessor, Limits};
use crate::endpoint::Endpoint;
use crate::monitor::{self, Look};
use crate::route::is_elsewhere_better;
use crate::settings::moment_after;
use crate::shared::Shared;
use crate::stats::EndpointStats;
use crate::{ConsistencyToken, Read, Routed, Settings};

/// Several servers of which one takes writes and the others follow it. Cheap to clone; all clones are one.
pub struct Cluster<P: Acquire> {
    pub(crate) shared: Arc<Shared<P>>,
    /// The looks end with the last clone.
    watchers: Arc<Vec<AbortOnDropHandle<()>>>,
}

/// A cluster that is being put together.
pub struct Builder<P> {
    endpoints: Vec<Endpoint<P>>,
    settings: Settings,
    observer: Arc<dyn Observer>,
}

/// No endpoint has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no endpoint {name:?}, there are {known}")]
pub struct UnknownEndpoint {
    /// What was asked for.
    pub name: String,
    /// The names that there are, separated by commas.
    pub known: String,
}

/// After a failure to connect, the same primary is tried again no sooner.
const PAUSE: Duration = Duration::from_millis(50);

impl<P> Builder<P> {
    /// Adds a server by the name that errors, events and statistics have for it, usually `host:port`. Which role it has, it says
    /// itself.
    #[must_use]
    pub fn endpoint(mut self, name: impl Into<String>, pool: P) -> Self {
        self.endpoints.push(Endpoint::new(name.into(), pool, None));
        self
    }

    /// Adds a server that is looked at over a pool of its own, of which one connection is enough: a pool that is full says
    /// nothing of its server, and then nobody would notice that it went silent.
    #[must_use]
    pub fn endpoint_watched_over(mut self, name: impl Into<String>, pool: P, look_pool: P) -> Self {
        self.endpoints.push(Endpoint::new(name.into(), pool, Some(look_pool)));
        self
    }

    /// Sets what may be decided.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets whom to tell of changes, in place of the log.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        let refuse = |what: String| Err(Error::new(Signal::new(Cause::Misuse, Phase::Connect), what));
        if self.endpoints.is_empty() {
            return refuse("a cluster without endpoints".to_owned());
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if self.endpoints[..index].iter().any(|other| other.name == endpoint.name) {
                return refuse(format!("two endpoints are named {}", endpoint.name));
            }
        }
        Ok(())
    }
}

impl<P: Acquire> Builder<P> {
    /// Looks at all servers, and goes on doing so in the background until the last clone is dropped. The first endpoint that
    /// answers says which cluster it is.
    ///
    /// # Errors
    /// When the settings contradict themselves, and when no server answers. One that does is enough, also a replica.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(self) -> Result<Cluster<P>> {
        self.validate()?;
        let Self { endpoints, settings, observer } = self;
        let limits = Limits { lag: settings.max_lag, lag_bytes: settings.max_lag_bytes };
        let assessor = Assessor::new(endpoints.len(), limits, Instant::now());
        let shared = Arc::new(Shared::new(endpoints, settings, observer, assessor));
        let indexes = 0..shared.endpoints.len();
        let began = Instant::now();
        let answered = watch::Sender::new(false);
        let looks = join_all(indexes.clone().map(|index| first_look(&shared, index, &answered))).await;
        let mut silent = Vec::new();
        for (index, look) in looks.into_iter().enumerate() {
            match look {
                Look::Saw(sighting) => shared.saw(index, sighting, began),
                Look::Missed(error) => {
                    shared.missed(index, error.as_ref());
                    silent.push((index, error));
                }
                Look::Busy => {}
            }
        }
        if silent.len() == shared.endpoints.len() {
            return Err(nobody_answers(&shared, silent));
        }
        let watch = |index| tokio::spawn(monitor::watch(Arc::clone(&shared), index));
        let watchers = indexes.map(|index| AbortOnDropHandle::new(watch(index))).collect();
        Ok(Cluster { shared, watchers: Arc::new(watchers) })
    }
}

impl<P: Acquire> Cluster<P> {
    /// A cluster with nothing in it yet.
    #[must_use]
    pub fn builder() -> Builder<P> {
        Builder { endpoints: Vec::new(), settings: Settings::default(), observer: Arc::new(Log) }
    }

    /// A connection to the primary, for writes and for whatever must see the latest. Waits for as long as
    /// [`Settings::patience`] for one to be there.
    ///
    /// # Errors
    /// As [`Cluster::primary_until`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn primary(&self) -> Result<Routed<P>> {
        self.route_to_primary(None).await
    }

    /// [`Cluster::primary`] with a deadline, which the wait for a connection shares.
    ///
    /// # Errors
    /// That there is no primary, with what every endpoint is instead; those of the primary's pool.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn primary_until(&self, deadline: Instant) -> Result<Routed<P>> {
        self.route_to_primary(Some(deadline)).await
    }

    pub(crate) async fn route_to_primary(&self, deadline: Option<Instant>) -> Result<Routed<P>> {
        let give_up = deadline.unwrap_or_else(|| moment_after(self.shared.settings.patience));
        let mut board = self.shared.board.subscribe();
        let mut last: Option<Error> = None;
        loop {
            let writer = board.borrow_and_update().writer;
            if let Some(index) = writer {
                let endpoint = &self.shared.endpoints[index];
                let flight = endpoint.begin();
                tokio::select! {
                    acquired = self.acquire_from(endpoint, deadline) => match acquired {
                        // The wait may have been long.
                        Ok(conn) if self.shared.board.borrow().writer == Some(index) => {
                            return Ok(Routed::new(conn, Arc::clone(&self.shared), index, flight));
                        }
                        Ok(_) => continue,
                        Err(error) if !is_elsewhere_better(&error) || error.kind() != Kind::Connection => {
                            return Err(error);
                        }
                        Err(error) => {
                            self.shared.failed(index, &error);
                            last = Some(error);
                        }
                    },
                    Ok(_) = board.wait_for(|board| board.writer != Some(index)) => continue,
                }
            }
            if Instant::now() >= give_up {
                return Err(last.unwrap_or_else(|| self.shared.nobody("no primary")));
            }
            let change = board.wait_for(|board| board.writer != writer);
            let until = if writer.is_some() { give_up.min(Instant::now() + PAUSE) } else { give_up };
            timeout_at(until, change).await.map(drop).ok();
        }
    }

    /// A deadline is kept also over a pool that does not keep to it.
    async fn acquire_from(&self, endpoint: &Endpoint<P>, deadline: Option<Instant>) -> Result<P::Conn> {
        let acquire = endpoint.pool.acquire(deadline.map(Instant::into_std));
        match deadline {
            None => acquire.await,
            Some(deadline) => timeout_at(deadline, acquire).await.unwrap_or_else(|_| {
                let what = format!("no connection to {} in time", endpoint.name);
                Err(Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), what))
            }),
        }
    }

    /// A view that reads: from a replica, or from the primary when none is fit. It has the verbs of
    /// [`Query`](db_core::Query).
    #[must_use]
    pub fn read(&self) -> Read<'_, P> {
        Read::new(self)
    }

    /// A token for everything that was committed up to now, by anybody; [`Routed::token`] spares the search for a connection.
    ///
    /// # Errors
    /// As [`Cluster::primary`], and those of the question.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn token(&self) -> Result<ConsistencyToken> {
        self.primary().await?.token().await
    }

    /// Gives an endpoint no further reads, without an error to anybody: what it has goes on, streams too, which are not among its
    /// [reads in flight](EndpointStats::in_flight). Writes are not held back; a primary is taken out by promoting another one.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn drain(&self, name: &str) -> Result<(), UnknownEndpoint> {
        self.set_drained(name, true)
    }

    /// Ends [`Cluster::drain`].
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn restore(&self, name: &str) -> Result<(), UnknownEndpoint> {
        self.set_drained(name, false)
    }

    fn set_drained(&self, name: &str, is_drained: bool) -> Result<(), UnknownEndpoint> {
        let Some(endpoint) = self.shared.endpoints.iter().find(|endpoint| *endpoint.name == *name) else {
            let known: Vec<&str> = self.shared.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
            return Err(UnknownEndpoint { name: name.to_owned(), known: known.join(", ") });
        };
        endpoint.is_drained.store(is_drained, Ordering::Relaxed);
        // Somebody may be waiting for a server.
        self.shared.board.send_modify(|_| {});
        Ok(())
    }

    /// Looks at no server any more: what is known of them stays. For the end, before the pools are closed, which would be taken for
    /// servers that are gone.
    pub fn stop_looking(&self) {
        self.watchers.iter().for_each(|watcher| watcher.abort());
    }

    /// How every endpoint is, in the order in which they were given.
    #[must_use]
    pub fn stats(&self) -> Vec<EndpointStats> {
        let assessor = self.shared.assessor();
        let pairs = self.shared.endpoints.iter().zip(assessor.known());
        let stats = pairs.map(|(endpoint, known)| EndpointStats {
            name: endpoint.name.to_string(),
            standing: known.standing,
            since: known.since.elapsed(),
            is_drained: endpoint.is_drained(),
            lag: known.lag,
            timeline: known.sighting.map(|sighting| sighting.timeline),
            lsn: known.sighting.map(|sighting| sighting.lsn),
            in_flight: endpoint.in_flight(),
            served: endpoint.served(),
            latency: endpoint.latency(),
            error: endpoint.noted(),
        });
        stats.collect()
    }

    /// The pool of an endpoint, for what concerns one server; none when there is none of this name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&P> {
        let endpoint = self.shared.endpoints.iter().find(|endpoint| *endpoint.name == *name);
        endpoint.map(|endpoint| &endpoint.pool)
    }
}

/// A pool that was just made has to connect first. A server that stays silent although another has answered is not waited for
/// longer than it may be silent later.
async fn first_look<P: Acquire>(shared: &Shared<P>, index: usize, answered: &watch::Sender<bool>) -> Look {
    let again = async {
        loop {
            match monitor::look(shared, index).await {
                Look::Missed(None) | Look::Busy => sleep(PAUSE).await,
                said => return said,
            }
        }
    };
    let others = async {
        let mut answered = answered.subscribe();
        answered.wait_for(|answered| *answered).await.map(drop).ok();
        sleep(shared.settings.look_timeout * 2).await;
    };
    let said = tokio::select! {
        said = timeout(shared.settings.patience, again) => said.unwrap_or(Look::Missed(None)),
        () = others => Look::Missed(None),
    };
    // Who is refused for good need not wait to be told so.
    let is_final = |error: &Error| !matches!(error.advice().read, Action::Retry | Action::RetrySlowly);
    if matches!(&said, Look::Saw(_)) || matches!(&said, Look::Missed(Some(error)) if is_final(error)) {
        answered.send_replace(true);
    }
    said
}

fn nobody_answers<P: Acquire>(shared: &Shared<P>, silent: Vec<(usize, Option<Error>)>) -> Error {
    let name = |index: usize| shared.endpoints[index].name.to_string();
    let names: Vec<_> = silent.iter().map(|(index, _)| name(*index)).collect();
    let what = format!("no endpoint of the cluster answers ({})", names.join(", "));
    // The first one's reason is most likely that of all.
    let said = silent.into_iter().find_map(|(index, error)| Some((index, error?)));
    match said {
        Some((index, error)) => error.context(name(index)).context(what),
        None => Error::new(Signal::new(Cause::Unreachable, Phase::Connect), what),
    }
}

impl<P: Acquire> Clone for Cluster<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), watchers: Arc::clone(&self.watchers) }
    }
}

impl<P: Acquire> fmt::Debug for Cluster<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("endpoints", &self.shared.describe())
            .field("watchers", &self.watchers.len())
            .finish()
    }
}

impl<P> fmt::Debug for Builder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
        f.debug_struct("Builder")
            .field("endpoints", &names)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
