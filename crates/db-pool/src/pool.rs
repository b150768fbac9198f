//! The pool: admits callers in order, gives each a checked connection, and closes in an orderly way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{
    AcquireFailed, Acquired, Cause, CloseReason, Error, Executor, HighUse, Log, Observer, Params, Phase,
    Result, RowStream, Signal, Wait,
};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::{Config, Row};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::checkout::AT_ONCE;
use crate::connector::{Connector, LastFailure, endpoint};
use crate::gate::{Gate, Refused};
use crate::physical::About;
use crate::release::Place;
use crate::server::ServerInfo;
use crate::settings::moment_after;
use crate::{Conn, Settings, Stats, Tx, checkout, maintain};

/// Connections to one PostgreSQL server. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    maintenance: Arc<AbortOnDropHandle<()>>,
}

/// What the pool, its connections and its maintenance have in common.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) about: Arc<About>,
    pub(crate) gate: Gate,
    pub(crate) store: bb8::Pool<Connector>,
    pub(crate) failures: watch::Receiver<LastFailure>,
    pub(crate) max: u32,
    /// Turns for those who were admitted and find nothing idle, first come, first served.
    pub(crate) turns: Semaphore,
    pub(crate) runtime: Handle,
    /// One token for each connection with a caller.
    pub(crate) checkouts: TaskTracker,
    /// Cancelled when the pool is closed.
    pub(crate) closing: CancellationToken,
    /// The tasks that drive the connections.
    drivers: TaskTracker,
    server: ServerInfo,
    is_use_high: AtomicBool,
}

/// The pool did not come to rest in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{in_use} connections were still in use after {waited:?}")]
pub struct CloseError {
    /// Connections that callers still hold.
    pub in_use: usize,
    /// How long was waited.
    pub waited: Duration,
}

impl Pool {
    /// Opens a pool whose events go to the log: connects, asks the server who it is, and keeps that connection.
    ///
    /// # Errors
    /// When the settings contradict themselves or the server cannot be used; the error names the real cause.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn open(target: Config, settings: Settings) -> Result<Self> {
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
        target: Config,
        settings: Settings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        settings.validate().map_err(|invalid| {
            let signal = Signal::new(Cause::Misuse, Phase::Connect);
            Error::new(signal, format!("invalid settings of pool {}: {invalid}", settings.name))
        })?;
        let about = Arc::new(About { pool: settings.name.clone(), endpoint: endpoint(&target), observer });
        let drivers = TaskTracker::new();
        let connector = Connector::new(target, settings.clone(), Arc::clone(&about), drivers.clone());
        let failures = connector.failures();

        let first = checkout::connect_patiently(&connector, &settings).await?;
        let server = ServerInfo::read(&first.client, settings.connect_timeout).await?;
        let max = settings.max.min(server.connection_limit);
        if max < settings.max {
            tracing::warn!(target: "db::pool", pool = settings.name, asked = settings.max, max,
                "the server allows fewer connections than the pool's maximum");
        }
        // bb8 only stores: its own checks, retries, limits of time and upkeep are off or out of reach.
        let store = bb8::Pool::builder()
            .max_size(max)
            .min_idle(None)
            .test_on_check_out(false)
            .retry_connection(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .connection_timeout(Duration::from_secs(24 * 60 * 60))
            .build_unchecked(connector);
        store.add(first).ok();

        let shared = Arc::new(Shared {
            gate: Gate::new(max, settings.queue_limit),
            settings,
            about,
            store,
            failures,
            max,
            turns: Semaphore::new(AT_ONCE),
            runtime: Handle::current(),
            checkouts: TaskTracker::new(),
            closing: CancellationToken::new(),
            drivers,
            server,
            is_use_high: AtomicBool::new(false),
        });
        let maintenance = tokio::spawn(maintain::run(Arc::downgrade(&shared)));
        Ok(Self { shared, maintenance: Arc::new(AbortOnDropHandle::new(maintenance)) })
    }

    /// Acquires a connection, waiting for at most the acquire time-out.
    ///
    /// # Errors
    /// - What is wrong with the server, at once: a wrong password, database, or host name.
    /// - A time-out with its numbers, a full queue, or a closed pool.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue and nothing else.
    pub async fn acquire(&self) -> Result<Conn> {
        self.acquire_until(moment_after(self.shared.settings.acquire_timeout)).await
    }

    /// [`Pool::acquire`] with a deadline of the caller's.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    pub async fn acquire_until(&self, deadline: Instant) -> Result<Conn> {
        let shared = &self.shared;
        let started = Instant::now();
        let acquired = async {
            let permit = shared.gate.admit(deadline).await.map_err(|refused| shared.refused(&refused))?;
            let place = Place::new(permit, &shared.checkouts);
            let pooled = checkout::checkout(shared, started, deadline).await?;
            Ok(Conn::new(pooled, place, Arc::clone(shared)))
        };
        let About { pool, observer, .. } = &*shared.about;
        match acquired.await {
            Ok(conn) => {
                let in_use = shared.in_use();
                observer.acquired(&Acquired::new(pool, started.elapsed(), in_use, shared.max));
                shared.check_use();
                Ok(conn)
            }
            Err(error) => {
                observer.acquire_failed(&AcquireFailed::new(pool, &error));
                Err(error)
            }
        }
    }

    /// [`Conn::tx`] on a connection of its own.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn tx<T, F>(&self, body: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.acquire().await?.tx(body).await
    }

    /// [`Conn::try_tx`] on a connection of its own.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn try_tx<T, E, F>(&self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        self.acquire().await?.try_tx(body).await
    }

    /// What the server said of itself when the pool was opened.
    #[must_use]
    pub fn server(&self) -> &ServerInfo {
        &self.shared.server
    }

    /// `host:port` of the server.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.shared.about.endpoint
    }

    /// The settings that the pool was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The pool's figures now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let state = shared.store.state();
        let in_use = shared.in_use();
        Stats {
            pool: shared.about.pool.clone(),
            total: state.connections,
            idle: state.idle_connections,
            in_use,
            waiting: u32::try_from(shared.gate.waiting()).unwrap_or(u32::MAX),
            max: shared.max,
            min: shared.settings.min.min(shared.max),
            utilization: f64::from(in_use) * 100.0 / f64::from(shared.max),
        }
    }

    /// Closes the pool: nobody is admitted any more, those who wait are refused, those who hold a connection may finish
    /// within `limit`, then every idle connection says goodbye to the server.
    ///
    /// # Errors
    /// When connections were still in use at the end of `limit`. They are closed when they come back.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pool closed to new callers; calling again goes on.
    pub async fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let started = Instant::now();
        let deadline = moment_after(limit);
        let shared = &self.shared;
        self.maintenance.abort();
        shared.gate.close();
        shared.closing.cancel();
        // From here on nothing is opened, and what was being opened is not kept.
        shared.drivers.close();
        shared.checkouts.close();
        if timeout_at(deadline, shared.checkouts.wait()).await.is_err() {
            shared.empty_store();
            return Err(CloseError { in_use: shared.checkouts.len(), waited: started.elapsed() });
        }
        // What remains is the farewell of idle connections, and of those that were opened at the last moment; a server that
        // does not answer it is not waited for.
        while Instant::now() < deadline && !shared.drivers.is_empty() {
            shared.empty_store();
            timeout(Duration::from_millis(20), shared.drivers.wait()).await.ok();
        }
        Ok(())
    }
}

impl Shared {
    pub(crate) fn in_use(&self) -> u32 {
        u32::try_from(self.checkouts.len()).unwrap_or(u32::MAX)
    }

    /// Tells the observer when use rises above 80 %, once until it has fallen below again.
    pub(crate) fn check_use(&self) {
        let in_use = self.in_use();
        let is_high = u64::from(in_use) * 100 > u64::from(self.max) * 80;
        if self.is_use_high.swap(is_high, Ordering::Relaxed) || !is_high {
            return;
        }
        let waiting = u32::try_from(self.gate.waiting()).unwrap_or(u32::MAX);
        let About { pool, observer, .. } = &*self.about;
        observer.high_use(&HighUse::new(pool, in_use, self.max, waiting));
    }

    /// Whether somebody who was admitted still waits for a connection.
    pub(crate) fn is_anyone_waiting(&self) -> bool {
        self.turns.available_permits() < AT_ONCE
    }

    /// An idle connection, if there is one this instant.
    pub(crate) fn pop_idle(&self) -> Option<bb8::PooledConnection<'static, Connector>> {
        if self.store.state().idle_connections == 0 {
            return None;
        }
        self.store.get_owned().now_or_never()?.ok()
    }

    pub(crate) fn timed_out(&self, waited: Duration) -> Error {
        let (in_use, max) = (self.in_use(), self.max);
        let waiting = u32::try_from(self.gate.waiting()).unwrap_or(u32::MAX);
        let mut message = format!(
            "timed out waiting for a connection ({:.1} s, {in_use} of {max} in use, {waiting} waiting)",
            waited.as_secs_f64()
        );
        let mut cause = Cause::PoolBusy;
        if let Some(failure) = &*self.failures.borrow() {
            message = format!("{message}; last connect error: {}", failure.error);
            cause = Cause::Unreachable;
        } else if self.store.state().connections < max {
            message = format!("{message}; no further connection could be opened in time");
            cause = Cause::Unreachable;
        }
        Error::new(Signal::new(cause, Phase::Acquire), message).with_wait(Wait {
            waited,
            in_use,
            max,
            waiting,
        })
    }

    pub(crate) fn refused(&self, refused: &Refused) -> Error {
        match *refused {
            Refused::TimedOut { waited } => self.timed_out(waited),
            Refused::Closed => {
                Error::new(Signal::new(Cause::PoolClosed, Phase::Acquire), "the pool is closed")
            }
            Refused::QueueFull { waiting } => {
                let message = format!("too many callers wait for a connection already ({waiting})");
                Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), message)
            }
        }
    }

    fn empty_store(&self) {
        while let Some(mut physical) = self.pop_idle() {
            physical.discard = Some(CloseReason::PoolClosed);
        }
    }
}

#[async_trait]
impl Executor for Pool {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.acquire().await?.fetch(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.acquire().await?.into_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.acquire().await?.execute(sql, params).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.acquire().await?.batch(sql).await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("endpoint", &self.endpoint()).field("stats", &self.stats()).finish()
    }
}
