//! The façade: pool, health and, where none was given, the server, as one thing. How it opens and closes is in `opening`.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use db_cluster::{ConsistencyToken, EndpointStats};
use db_core::{Cause, Error, Executor, Params, Phase, Result, RowStream, Signal};
use db_health::{Alerts, Monitor, Snapshot};
use db_migrate::{Migrator, Run, Steps};
use db_pool::{Conn, Listener, Pool, ServerInfo, Stats, StillInUse, Target, TargetSession, Tx};
use db_retry::{Policy, Retry, Scope, Work};
use tokio::time::timeout;
use tokio_postgres::{Client, Row};
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::config::{Environment, Shown};
use crate::doubts::Doubts;
use crate::embedded::Kept;
use crate::migrations_watch::MigrationsProbe;
use crate::observed::Observed;
use crate::reading::Reads;
use crate::recommending::Busy;
use crate::replicas::Replicas;
use crate::retrying::{Retrying, repeat};
use crate::watched::Watched;

/// A PostgreSQL that is connected, verified and watched. Cheap to clone; all clones are one.
///
/// With several servers everything but [reads](Database::reads) goes to the one that takes writes, also after a failover, and
/// its pool is the one that is meant by [`Database::stats`], [`Database::pause`], [`Database::resize`] and
/// [`Database::rotate`].
///
/// It has the verbs of [`Query`](db_core::Query); each takes a connection for its one statement, which is run again when it
/// is known to have had no effect and the configuration says so. [`Database::reads`] and
/// [`Database::idempotent_writes`] are the same verbs for statements of which more may be run again.
#[derive(Clone)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) replicas: Option<Replicas>,
    pub(crate) token_validity: Duration,
    /// How far a replica may be behind.
    pub(crate) max_lag: Duration,
    pub(crate) policy: Policy,
    pub(crate) retry: Retry,
    pub(crate) doubts: Doubts,
    pub(crate) monitor: Monitor,
    /// What the monitor looks at the server with.
    pub(crate) watched: [Arc<Watched>; 2],
    /// For what operators do while the pool may be full.
    pub(crate) operator: Aside,
    pub(crate) busy: Busy,
    pub(crate) observed: Observed,
    /// Set once everything else is there, which they look at.
    pub(crate) alerts: OnceLock<Alerts>,
    pub(crate) migrations: Option<MigrationsProbe>,
    pub(crate) going_down: CancellationToken,
    pub(crate) environment: Environment,
    pub(crate) settings: Vec<Shown>,
    /// The way around a pooler, if there is one.
    pub(crate) migration_target: Option<Target>,
    pub(crate) origin: String,
    /// The server that we run ourselves.
    pub(crate) kept: Option<Kept>,
}

impl Database {
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

    /// The verbs for statements that change nothing: they are run again whenever the connection fails, also when their answer
    /// was lost. The verbs of the database itself assume a write, and run again only what is known to have had no effect.
    ///
    /// With replicas (`DATABASE_REPLICA_URL`) these are read, and the primary when none is fit; a replica may be up to the limit of
    /// lag behind. To read what was written just now, ask for it: [`Reads::after`].
    #[must_use]
    pub fn reads(&self) -> Reads<'_> {
        let read = self.inner.replicas.as_ref().map(Replicas::read);
        Reads::new(self.retrying(Work::Read), self.inner.retry.work(Work::Read), read)
    }

    /// A token for everything that was committed up to now, by anybody. As text it goes into a header or a cookie, and in any
    /// process [`Reads::after`] sees what it stands for. To be asked for after the COMMIT.
    ///
    /// ```no_run
    /// # use db_app::prelude::*;
    /// # async fn example(db: &Database) -> Result<(), Box<dyn std::error::Error>> {
    /// db.execute("INSERT INTO orders (item) VALUES ('tea')", &[]).await?;
    /// let text = db.write_token().await?.to_string();
    /// // In the next request:
    /// let orders: i64 = db.reads().after(text.parse()?).one("SELECT count(*) FROM orders", &[]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of a statement, and when the server is no primary.
    ///
    /// # Cancel safety
    /// Dropping the future loses the token and nothing else.
    pub async fn write_token(&self) -> Result<ConsistencyToken> {
        let validity = self.inner.token_validity;
        self.inner.retry.work(Work::Read).run(|| ConsistencyToken::ask(&self.inner.pool, validity)).await
    }

    /// How the servers are, those of `DATABASE_URL` first; empty if there is only one.
    #[must_use]
    pub fn servers(&self) -> Vec<EndpointStats> {
        self.inner.replicas.as_ref().map(Replicas::stats).unwrap_or_default()
    }

    /// The verbs for writes that may safely happen twice, such as one that sets a value by its key.
    #[must_use]
    pub fn idempotent_writes(&self) -> Retrying<'_> {
        self.retrying(Work::IdempotentWrite)
    }

    /// The verbs of the database itself, to give them a [deadline](Retrying::within): on the primary, for what may not happen
    /// twice. Reads of which the primary is to be asked are retried further as
    /// [`reads().preference(Preference::Primary)`](Reads::preference).
    #[must_use]
    pub fn primary(&self) -> Retrying<'_> {
        self.retrying(Work::Write)
    }

    pub(crate) fn retrying(&self, work: Work) -> Retrying<'_> {
        Retrying::new(&self.inner.pool, self.inner.retry.work(work))
    }

    /// Retries of one's own, by the configured policy and within the budget of this database.
    ///
    /// ```no_run
    /// # async fn example(db: &db_app::Database) -> db_app::core::Result<()> {
    /// use db_app::prelude::*;
    ///
    /// let users = db.retry().read().run(async || db.one::<i64>("SELECT count(*) FROM users", &[]).await).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn retry(&self) -> &Retry {
        &self.inner.retry
    }

    /// Retries of a transaction. Who asks for them in the program means all that are safe, also where the configuration
    /// narrows those that happen by themselves.
    pub(crate) fn retry_for_tx(&self, is_asked_for: bool) -> Retry {
        let mut policy = self.inner.policy;
        if is_asked_for {
            policy.scope = Scope::All;
        } else {
            (policy.max_retries, policy.max_serialization_retries) = (0, 0);
        }
        self.inner.retry.policy(policy).transaction()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn doubts(&self) -> &Doubts {
        &self.inner.doubts
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

    /// Whether the server was started by another program, on whose end it ended as well, or does so within `limit`. Whoever
    /// opens the database again then starts a server of his own on the same data.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn has_lost_its_server(&self, limit: Duration) -> bool {
        match &self.inner.kept {
            Some(kept) => kept.has_left(limit).await,
            None => false,
        }
    }

    /// Whether the server is one that this process itself runs, and starts again when it crashes.
    #[must_use]
    pub fn runs_its_server(&self) -> bool {
        self.inner.kept.as_ref().is_some_and(Kept::is_ours)
    }

    /// Which PostgreSQL this is and where, for people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// How to connect to it, for work that needs a connection outside the pool; to the primary of the moment where there are
    /// several servers.
    ///
    /// # Errors
    /// When there is no primary among several servers.
    pub fn target(&self) -> Result<Target> {
        self.inner.pool.target()
    }

    /// A connection outside the pool, without its time limits, to `database` or to the configured one.
    ///
    /// # Errors
    /// When it cannot be opened within 10 s.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect_aside(&self, purpose: &str, database: Option<&str>) -> Result<Client> {
        connect_aside(self.target()?, purpose, database).await
    }

    /// [`Database::connect_aside`] by the way for migrations (`DATABASE_MIGRATION_URL`), if there is one. A pooler on the
    /// other way may change the session between two transactions, and what a migration run holds is the session's.
    ///
    /// # Errors
    /// As [`Database::connect_aside`].
    ///
    /// # Cancel safety
    /// As [`Database::connect_aside`].
    pub async fn connect_directly(&self, purpose: &str, database: Option<&str>) -> Result<Client> {
        let target = match (&self.inner.migration_target, &self.inner.replicas) {
            (None, _) => self.target()?,
            (Some(way), None) => way.clone(),
            // Never to a standby; to the primary where it is known.
            (Some(way), Some(replicas)) => {
                replicas.to_primary(way.clone().with_session(TargetSession::Primary))
            }
        };
        connect_aside(target, purpose, database).await
    }

    /// Applies the pending migrations on a connection of its own.
    ///
    /// # Errors
    /// As [`Migrator::up`]; what ran before the failure stays.
    ///
    /// # Cancel safety
    /// Each migration is applied or not.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<Run, db_migrate::Error> {
        let connected = self.connect_directly("migrate", None).await;
        let client = connected.map_err(|source| db_migrate::Error::Database {
            doing: "open a connection for migrations".to_owned(),
            source,
        })?;
        // A second connection, for as long as a migration takes long, sees who blocks it.
        let database = self.clone();
        let watch = move |name: String| {
            let database = database.clone();
            async move { database.connect_directly("migrate watch", Some(&name)).await }
        };
        let run = migrator.clone().watcher(watch).up(&client, Steps::All).await?;
        run.done.iter().for_each(|done| self.inner.observed.metrics.migrated(done.duration));
        Ok(run)
    }
}

async fn connect_aside(target: Target, purpose: &str, database: Option<&str>) -> Result<Client> {
    const LIMIT: Duration = Duration::from_secs(10);
    let mut target = target.with_application_name(format!("db {purpose}"));
    if let Some(database) = database {
        target = target.with_database(database);
    }
    match timeout(LIMIT, target.connect()).await {
        Ok(connected) => connected,
        Err(_) => {
            let signal = Signal::new(Cause::Unreachable, Phase::Connect);
            let endpoint = target.endpoint();
            Err(Error::new(signal, format!("could not connect to {endpoint}: no answer within {LIMIT:?}")))
        }
    }
}

#[async_trait]
impl Executor for Database {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        repeat(&self.inner.retry, sql, || self.inner.pool.fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        repeat(&self.inner.retry, sql, || self.inner.pool.fetch_stream(sql, params)).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        repeat(&self.inner.retry, sql, || self.inner.pool.execute(sql, params)).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.inner.pool.batch_execute(sql).await
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("origin", &self.inner.origin).finish_non_exhaustive()
    }
}
