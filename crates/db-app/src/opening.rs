//! How the façade opens and closes: what it is made of comes up in order, and goes down in the opposite one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use db_core::Observer;
use db_health::Monitor;
use db_pool::{ConnectRetry, Pool, ServerInfo, StillInUse, Target};
use db_retry::{Policy, Retry};
use futures_util::future::join3;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::builder::Builder;
use crate::config::{Config, Postgres};
use crate::database::Inner;
use crate::doubts::Doubts;
use crate::embedded::Kept;
use crate::migrations_watch::MigrationsProbe;
use crate::observed::Observed;
use crate::recommending::Busy;
use crate::replicas::Replicas;
use crate::watched::Watched;
use crate::{Database, checks, commenting, observed, observing};

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
    /// A setting cannot be used here; the text names it.
    #[error("{0}")]
    Setting(String),
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
        Self::builder(config).open().await
    }

    /// A database to which the service adds something before it is [opened](Builder::open): a meter, observers, checks and
    /// alerts of its own, its migrations.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
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
        self.shut_down();
        self.inner.monitor.stop();
        self.inner.watched.iter().for_each(|watched| watched.close());
        self.inner.doubts.stop();
        self.inner.operator.close();
        // The server needs some of the time for its own farewell.
        let limit_of_pools = limit.mul_f64(0.7);
        let others = async {
            match &self.inner.replicas {
                Some(replicas) => replicas.close(limit_of_pools).await,
                None => Ok(()),
            }
        };
        // What alerts have to say goes out meanwhile; who does not take it in time is not waited for.
        let told = async {
            match self.inner.alerts.get() {
                Some(alerts) => alerts.close(limit.mul_f64(0.2)).await,
                None => 0,
            }
        };
        let (closed, others, _) = join3(self.inner.pool.close(limit_of_pools), others, told).await;
        if let Some(kept) = &self.inner.kept {
            kept.stop(deadline).await?;
        }
        Ok(closed.and(others)?)
    }
}

/// Opens what was built.
pub(crate) async fn open(builder: Builder) -> Result<Database, OpenError> {
    let Builder { mut config, meter, observers, checks: own_checks, rules, mut sinks, migrator } = builder;
    commenting::comment(&mut config);
    let observe = &config.observe;
    // Before anything is started: what cannot be used needs no server to be refused.
    sinks.extend(observing::webhook(&observe.alerts)?);
    let redis = observing::redis(observe)?;
    let (kept, origin, target) = match &config.postgres {
        Postgres::Given(given) => (None, describe(given), (**given).clone()),
        Postgres::Embedded(folder) => {
            let kept = Kept::start(folder).await?;
            let (origin, target) = (kept.origin.clone(), kept.target.clone());
            (Some(kept), origin, target)
        }
    };
    tracing::debug!(target: "db", %origin, "using PostgreSQL");

    let database = target.database().or(target.user()).unwrap_or_default();
    let observed = Observed::new(meter, database, observers);
    let retry = Retry::new(config.retry).endpoint(target.endpoint()).observer(Arc::clone(&observed.observer));
    let (replicas, pool) = match connect(&target, &config, &observed.observer).await {
        Ok(connected) => connected,
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

    // Two connections: what takes long on one must not keep the other from saying that the server lives.
    let watched = [(); 2].map(|()| Arc::new(Watched::new("postgres", &pool)));
    let [often, seldom] = &watched;
    let migrations = migrator.map(|migrator| MigrationsProbe::new(Arc::clone(seldom), migrator));
    let mut checks = checks::of_server(often, &config);
    checks.push(checks::of_pool(&pool));
    checks.extend(replicas.as_ref().map(Replicas::check));
    checks.extend(redis);
    let checks = checks.into_iter().map(|check| check.interval(config.health_interval));
    let own_checks = own_checks.into_iter().map(|check| check(Arc::clone(seldom) as _));
    let seldom = checks::seldom(seldom).into_iter().chain(migrations.iter().map(MigrationsProbe::check));
    let monitor = Monitor::start(checks.chain(seldom).chain(own_checks).collect());
    monitor.first_looks().await;
    let (doubts, operator) = (Doubts::new(&pool), Aside::new("db operator", &pool));
    let service = config.pool.application_name.clone();
    let inner = Arc::new(Inner {
        pool,
        replicas,
        token_validity: config.replicas.token_validity(),
        max_lag: config.replicas.max_lag,
        policy: config.retry,
        retry,
        doubts,
        operator,
        busy: Busy::default(),
        monitor,
        watched,
        observed,
        alerts: OnceLock::new(),
        migrations,
        going_down: CancellationToken::new(),
        environment: config.environment,
        settings: config.shown,
        migration_target: config.migrations.target.map(|target| *target),
        origin,
        kept,
    });
    observed::watch(&inner);
    let alerts = observed::start_alerts(&inner, &config.observe.alerts, &service, rules, sinks);
    inner.alerts.set(alerts).ok();
    Ok(Database { inner })
}

/// Opens the pool for writes, with several servers at the one that takes them.
async fn connect(
    target: &Target,
    config: &Config,
    observer: &Arc<dyn Observer>,
) -> db_core::Result<(Option<Replicas>, Pool)> {
    // As long, and as often, as a pool tries to connect to its server.
    let ConnectRetry { max_retries, initial_delay, max_delay, .. } = config.pool.connect_retry;
    let mut policy = Policy::default();
    policy.max_retries = u32::try_from(max_retries).unwrap_or(u32::MAX);
    (policy.initial_delay, policy.max_delay) = (initial_delay, max_delay);
    let retry = Retry::new(policy).read().named("find the servers");
    let retry = retry.begin_before(Instant::now() + config.pool.acquire_timeout);
    let replicas = retry.run(|| Replicas::start(target, &config.replicas, observer)).await?;
    let pool = match &replicas {
        Some(replicas) => replicas.open_writes(&config.pool, observer).await?,
        None => Pool::open_observed(target.clone(), config.pool.clone(), Arc::clone(observer)).await?,
    };
    Ok((replicas, pool))
}

fn describe(target: &Target) -> String {
    let database = target.database().or(target.user()).unwrap_or_default();
    format!("the given server {}, database {database}", target.endpoint())
}
