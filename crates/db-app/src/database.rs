//! The façade: pool, health and, where none was given, the server, as one thing that opens and closes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Finding, Params, Phase, Result, RowStream, Signal};
use db_health::{Check, FnProbe, Monitor, Snapshot};
use db_migrate::{Migrator, Run, Steps};
use db_pool::{Conn, Listener, Pool, ServerInfo, Stats, StillInUse, Target, Tx};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, Row};

use crate::config::{Config, Postgres};
use crate::embedded::Kept;
use crate::watched::Watched;

/// A PostgreSQL that is connected, verified and watched. Cheap to clone; all clones are one.
///
/// It has the verbs of [`Query`](db_core::Query); each takes a connection for its one statement.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    monitor: Monitor,
    target: Target,
    origin: String,
    /// The server that we run ourselves.
    kept: Option<Kept>,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The server of our own did not start.
    #[error(transparent)]
    Embedded(#[from] db_embedded::Error),
    /// The server cannot be used.
    #[error(transparent)]
    Connect(#[from] db_core::Error),
    /// The address of the server of our own is not one.
    #[error("the embedded server gave an address that is none")]
    Url,
}

/// Why a database did not close in an orderly way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// Somebody still held connections.
    #[error(transparent)]
    Pool(#[from] StillInUse),
    /// The server of our own did not stop.
    #[error(transparent)]
    Embedded(#[from] db_embedded::Error),
    /// The server of our own needs more time; it is ended in the background.
    #[error("the PostgreSQL was still stopping at the end of the time limit")]
    TimedOut,
}

impl Database {
    /// Connects as configured, starting a server if none is given; verifies that it answers; begins to watch it.
    ///
    /// # Errors
    /// When the server cannot be started or used. The error names the real cause and no secret.
    ///
    /// # Cancel safety
    /// Dropping the future stops a server that it started.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let (kept, origin, target) = match &config.postgres {
            Postgres::Given(given) => (None, describe(given), (**given).clone()),
            Postgres::Embedded(folder) => {
                let kept = Kept::start(folder).await?;
                let (origin, target) = (kept.origin.clone(), kept.target.clone());
                (Some(kept), origin, target)
            }
        };
        tracing::debug!(target: "db", %origin, "using PostgreSQL");

        let pool = match Pool::open(target.clone(), config.pool).await {
            Ok(pool) => pool,
            Err(error) => {
                if let Some(kept) = &kept {
                    // The reason to stop it matters more than how well that goes.
                    kept.stop(Instant::now() + config.shutdown_timeout).await.ok();
                }
                return Err(error.into());
            }
        };
        let ServerInfo { version, time, database, user, .. } = pool.server();
        tracing::info!(target: "db", version, %time, database, user, "verified");

        let watched = Watched::new("postgres", target.clone());
        let ping = Check::new(watched).interval(config.health_interval);
        let in_process = pool_check(&pool).interval(config.health_interval);
        let monitor = Monitor::start(vec![ping, in_process]);
        monitor.first_looks().await;
        let inner = Inner { pool, monitor, target, origin, kept };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Acquires a connection of its own, for session state or several statements in a row.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Conn>> + Send {
        self.inner.pool.acquire()
    }

    /// Runs `body` in a transaction: commits when it gives `Ok`, rolls back when it gives `Err`.
    ///
    /// # Errors
    /// As [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn tx<T, F>(&self, body: F) -> impl Future<Output = Result<T>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.inner.pool.tx(body)
    }

    /// [`Database::tx`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    #[track_caller]
    pub fn try_tx<T, E, F>(&self, body: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<db_core::Error>,
    {
        self.inner.pool.try_tx(body)
    }

    /// Listens on `channels` with a connection beside the pool, which is opened again when it is lost.
    ///
    /// # Errors
    /// As [`Pool::listen`].
    ///
    /// # Cancel safety
    /// As [`Pool::listen`].
    pub async fn listen(&self, channels: &[&str]) -> Result<Listener> {
        self.inner.pool.listen(channels).await
    }

    /// Replaces every connection of the pool, without an error to anybody.
    pub fn rotate(&self) {
        self.inner.pool.rotate();
    }

    /// Admits nobody until [`Database::resume`], and waits until every connection has come back.
    ///
    /// # Errors
    /// As [`Pool::pause`]: connections were still in use at the end of `limit`. The pool stays paused.
    ///
    /// # Cancel safety
    /// As [`Pool::pause`].
    pub async fn pause(&self, limit: Duration) -> Result<(), StillInUse> {
        self.inner.pool.pause(limit).await
    }

    /// Admits callers again, in the order in which they came.
    pub fn resume(&self) {
        self.inner.pool.resume();
    }

    /// Changes the most connections, and gives what is in force; the ceiling of the configuration does not count here, that
    /// of the server does. See [`Pool::resize`].
    pub fn resize(&self, max: u32) -> u32 {
        self.inner.pool.resize(max)
    }

    /// The health of all components, as the monitor saw it last. Never waits.
    #[must_use]
    pub fn health(&self) -> Snapshot {
        self.inner.monitor.snapshot()
    }

    /// Whether everything critical serves.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health().is_ready()
    }

    /// The pool's figures now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.pool.stats()
    }

    /// What the server said of itself when the database was opened.
    #[must_use]
    pub fn server(&self) -> &ServerInfo {
        self.inner.pool.server()
    }

    /// Which PostgreSQL this is and where, for people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// How to connect to it, for work that needs a connection outside the pool, such as migrations.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// A connection outside the pool, without its time limits, to `database` or to the configured one.
    ///
    /// # Errors
    /// When it cannot be opened within 10 s.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect_aside(&self, purpose: &str, database: Option<&str>) -> Result<Client> {
        const LIMIT: Duration = Duration::from_secs(10);
        let mut target = self.inner.target.clone().with_application_name(format!("db {purpose}"));
        if let Some(database) = database {
            target = target.with_database(database);
        }
        match timeout(LIMIT, target.connect()).await {
            Ok(connected) => connected,
            Err(_) => {
                let signal = Signal::new(Cause::Unreachable, Phase::Connect);
                let endpoint = target.endpoint();
                Err(Error::new(
                    signal,
                    format!("could not connect to {endpoint}: no answer within {LIMIT:?}"),
                ))
            }
        }
    }

    /// Applies the pending migrations on a connection of its own.
    ///
    /// # Errors
    /// As [`Migrator::up`]; what ran before the failure stays.
    ///
    /// # Cancel safety
    /// Each migration is applied or not.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<Run, db_migrate::Error> {
        let connected = self.connect_aside("migrate", None).await;
        let mut client = connected.map_err(|source| db_migrate::Error::Database {
            doing: "open a connection for migrations".to_owned(),
            source,
        })?;
        migrator.up(&mut client, Steps::All).await
    }

    /// Closes the pool, waiting for what runs, and stops the server if it is ours; all within `limit`.
    ///
    /// # Errors
    /// When connections were still in use at the end, or a server of ours needed longer to stop. It is stopped either
    /// way.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the database closed to new callers; calling again goes on.
    pub async fn close(&self, limit: Duration) -> Result<(), StopError> {
        // A day is for ever here, and can be added to any moment.
        let limit = limit.min(Duration::from_secs(24 * 60 * 60));
        let deadline = Instant::now() + limit;
        self.inner.monitor.stop();
        // The server needs some of the time for its own farewell.
        let closed = self.inner.pool.close(limit.mul_f64(0.7)).await;
        if let Some(kept) = &self.inner.kept {
            kept.stop(deadline).await?;
        }
        Ok(closed?)
    }
}

#[async_trait]
impl Executor for Database {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.inner.pool.fetch(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.inner.pool.fetch_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.inner.pool.execute(sql, params).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.inner.pool.batch(sql).await
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("origin", &self.inner.origin).finish_non_exhaustive()
    }
}

/// The pool is part of this process: paused, or full with callers waiting, is degraded, never down.
fn pool_check(pool: &Pool) -> Check {
    let pool = pool.clone();
    let look = move || {
        let stats = pool.stats();
        let finding = if stats.is_paused {
            Finding::degraded("paused")
        } else if stats.waiting > 0 && stats.in_use >= stats.max {
            Finding::degraded("saturated")
        } else {
            Finding::healthy()
        };
        finding
            .with("total", stats.total)
            .with("idle", stats.idle)
            .with("active", stats.in_use)
            .with("waiting", stats.waiting)
            .with("max", stats.max)
            .with("min", stats.min)
            .with("utilization", json!(stats.utilization))
    };
    Check::new(FnProbe::new("pool", look)).non_critical().internal()
}

fn describe(target: &Target) -> String {
    let database = target.database().or(target.user()).unwrap_or_default();
    format!("the given server {}, database {database}", target.endpoint())
}
