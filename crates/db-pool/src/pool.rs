//! The pool: admits callers in order, gives each a checked connection, and closes in an orderly way.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use db_core::{
    AcquireFailed, Acquired, Cause, Error, Executor, Log, Observer, Params, Phase, Result, RowStream, Signal,
};
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use tokio_util::task::TaskTracker;

use crate::checkout::{Patience, Pooled};
use crate::connector::Connector;
use crate::maintain::Upkeep;
use crate::physical::{About, Tally};
use crate::release::Place;
use crate::seats::Seats;
use crate::server::ServerInfo;
use crate::settings::moment_after;
use crate::shared::{Parts, Shared};
use crate::stats::Stats;
use crate::{Conn, Settings, Target, Tx, TxOptions, checkout, maintain};

/// Connections to one PostgreSQL server. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct Pool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) maintenance: Arc<Upkeep>,
}

impl Pool {
    /// Opens a pool whose events go to the log: connects, asks the server who it is, keeps that connection, and opens as
    /// many more as are always kept.
    ///
    /// # Errors
    /// When the settings contradict themselves or the server cannot be used; the error names the real cause.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn open(target: impl Into<Target>, settings: Settings) -> Result<Self> {
        Self::open_observed(target, settings, Arc::new(Log)).await
    }

    /// [`Pool::open`] with an observer in place of the log.
    ///
    /// # Errors
    /// As [`Pool::open`].
    ///
    /// # Cancel safety
    /// As [`Pool::open`].
    pub async fn open_observed(
        target: impl Into<Target>,
        settings: Settings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        settings.validate().map_err(|invalid| {
            let signal = Signal::new(Cause::Misuse, Phase::Connect);
            Error::new(signal, format!("invalid settings of pool {}: {invalid}", settings.name))
        })?;
        let target = target.into();
        let about = Arc::new(About {
            pool: settings.name.clone(),
            observer,
            epoch: AtomicU64::new(0),
            severed: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            closed: Tally::default(),
            detached: AtomicUsize::new(0),
        });
        let drivers = TaskTracker::new();
        let seats = Seats::new(settings.max);
        let connector = Connector::new(target, settings.clone(), Arc::clone(&about), drivers.clone());

        let first = checkout::connect_patiently(&connector, &settings, || seats.take(1)).await?;
        let server = ServerInfo::read(&first.session, settings.connect_timeout).await?;
        let max = settings.max.min(server.connection_limit);
        if max < settings.max {
            tracing::warn!(target: "db::pool", pool = settings.name, asked = settings.max, max,
                "the server allows fewer connections than the pool's maximum");
        }
        seats.set_max(max);
        let shared = Shared::new(Parts { settings, about, connector, drivers, seats, server });
        shared.add(first);
        // Whoever opens a pool can use it, even if the server takes no second connection yet.
        timeout(shared.settings.acquire_timeout, maintain::fill(&shared)).await.ok();
        Ok(Self { maintenance: Upkeep::start(&shared), shared })
    }

    /// Acquires a connection, waiting for at most the acquire time-out.
    ///
    /// # Errors
    /// - What is wrong with the server, at once: a wrong password, database, or host name.
    /// - A time-out with its numbers, a full queue, or a closed pool.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue and nothing else.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Conn>> + Send {
        self.acquire_for(Location::caller(), None)
    }

    /// [`Pool::acquire`] with a deadline of the caller's in place of the acquire time-out. Transient failures to connect are
    /// waited through until then, however many.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    #[track_caller]
    pub fn acquire_until(&self, deadline: Instant) -> impl Future<Output = Result<Conn>> + Send {
        self.acquire_for(Location::caller(), Some(deadline))
    }

    /// [`Pool::acquire`], or [`Pool::acquire_until`] with a deadline, on behalf of `caller`, whom a leak is blamed on. For
    /// layers above the pool.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    pub async fn acquire_for(
        &self,
        caller: &'static Location<'static>,
        deadline: Option<Instant>,
    ) -> Result<Conn> {
        let patience = match deadline {
            Some(_) => Patience::until_the_deadline(),
            None => Patience::new(&self.shared.settings),
        };
        self.acquire_patiently(caller, deadline, patience).await
    }

    pub(crate) async fn acquire_patiently(
        &self,
        caller: &'static Location<'static>,
        deadline: Option<Instant>,
        patience: Patience,
    ) -> Result<Conn> {
        let shared = &self.shared;
        let started = Instant::now();
        let (pooled, place, now) = match checkout::at_once(shared, started, deadline) {
            (Some(place), Some(pooled)) => (pooled, place, started),
            // Kept apart, since most callers do not need it and all would carry it.
            (place, _) => {
                let waiting = Box::pin(self.wait_for(place, started, deadline, patience));
                waiting.await.inspect_err(|error| {
                    let About { pool, observer, .. } = &*shared.about;
                    observer.acquire_failed(&AcquireFailed::new(pool, error));
                })?
            }
        };
        let waited = now - started;
        shared.waited.record(waited);
        let About { pool, observer, .. } = &*shared.about;
        observer.acquired(&Acquired::new(pool, waited, shared.gate.inside(), shared.seats.max()));
        shared.check_use();
        Ok(Conn::new(pooled, place, now, caller))
    }

    async fn wait_for(
        &self,
        place: Option<Place>,
        started: Instant,
        deadline: Option<Instant>,
        patience: Patience,
    ) -> Result<(Pooled, Place, Instant)> {
        let shared = &self.shared;
        let deadline = deadline.unwrap_or_else(|| moment_after(shared.settings.acquire_timeout));
        let place = match place {
            Some(place) => place,
            None => {
                shared.gate.admit(deadline).await.map_err(|refused| shared.refused(&refused))?;
                let (place, now) = (Place::new(shared), Instant::now());
                if now < deadline
                    && let Some(pooled) = checkout::at_hand(shared, now)
                {
                    return Ok((pooled, place, now));
                }
                place
            }
        };
        // Apart as well: those who wait to be admitted are many.
        let pooled = Box::pin(checkout::checkout(shared, started, deadline, patience)).await?;
        Ok((pooled, place, Instant::now()))
    }

    /// [`Conn::tx`] on a connection of its own.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn tx<T, F>(&self, body: F) -> impl Future<Output = Result<T>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        let acquiring = self.acquire();
        async move { acquiring.await?.tx(body).await }
    }

    /// [`Conn::try_tx`] on a connection of its own.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn try_tx<T, E, F>(&self, body: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let acquiring = self.acquire();
        async move { acquiring.await?.try_tx(body).await }
    }

    /// [`Conn::tx_with`] on a connection of its own, for which it waits until the same deadline, if there is one.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::tx_with`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn tx_with<T, F>(&self, options: &TxOptions, body: F) -> impl Future<Output = Result<T>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        let acquiring = self.acquire_for(Location::caller(), options.deadline);
        async move { acquiring.await?.tx_with(options, body).await }
    }

    /// [`Pool::tx_with`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Pool::tx_with`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn try_tx_with<T, E, F>(&self, options: &TxOptions, body: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let acquiring = self.acquire_for(Location::caller(), options.deadline);
        async move { acquiring.await?.try_tx_with(options, body).await }
    }

    /// What the server said of itself when the pool was opened.
    #[must_use]
    pub fn server(&self) -> &ServerInfo {
        &self.shared.server
    }

    /// `host:port` of the server that connections are opened to now.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.shared.connector.aim().endpoint.clone()
    }

    /// How connections are opened now.
    ///
    /// # Errors
    /// When the pool was [turned away](Pool::turn_away) from its server.
    pub fn target(&self) -> Result<Target> {
        let aim = self.shared.connector.aim();
        if aim.is_left {
            let signal = Signal::new(Cause::Unreachable, Phase::Connect);
            return Err(Error::new(
                signal,
                format!("{} was left, and no other server is known yet", aim.endpoint),
            ));
        }
        Ok(aim.target.clone())
    }

    /// A number that grows whenever the pool is [severed](Pool::sever), by turns too: then who has a connection beside it opens that
    /// anew as well.
    #[must_use]
    pub fn severed(&self) -> u64 {
        self.shared.about.severed.load(Ordering::Acquire)
    }

    /// The settings that the pool was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The pool's figures now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::read(&self.shared)
    }
}

#[async_trait]
impl Executor for Pool {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.autocommit().fetch_here(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.acquire().await?.into_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.autocommit().execute_here(sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.acquire().await?.batch_here(sql).await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("endpoint", &self.endpoint()).field("stats", &self.stats()).finish()
    }
}
