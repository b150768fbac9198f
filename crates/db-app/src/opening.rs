//! How the façade opens and closes: what it is made of comes up in order, and goes down in the opposite one.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Finding, Log};
use db_health::{Check, FnProbe, Monitor};
use db_pool::{ConnectRetry, Pool, ServerInfo, StillInUse, Target};
use db_retry::{Policy, Retry};
use futures_util::future::join;
use serde_json::json;
use tokio::time::Instant;

use crate::Database;
use crate::config::{Config, Postgres};
use crate::database::Inner;
use crate::doubts::Doubts;
use crate::embedded::Kept;
use crate::replicas::Replicas;
use crate::schema::SchemaProbe;
use crate::watched::Watched;

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

        let retry = Retry::new(config.retry).endpoint(target.endpoint()).observer(Arc::new(Log));
        let (replicas, pool) = match connect(&target, &config).await {
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

        let watched = Arc::new(Watched::new("postgres", &pool));
        let mut checks = vec![Check::new(Arc::clone(&watched)), pool_check(&pool)];
        checks.extend(replicas.as_ref().map(Replicas::check));
        if let Some(range) = config.migrations.schema_version {
            let schema = SchemaProbe::new(watched, config.migrations.settings.table.clone(), range);
            checks.push(Check::new(schema).internal());
        }
        let checks = checks.into_iter().map(|check| check.interval(config.health_interval));
        let monitor = Monitor::start(checks.collect());
        monitor.first_looks().await;
        let doubts = Doubts::new(&pool);
        let inner = Inner {
            pool,
            replicas,
            token_validity: config.replicas.token_validity(),
            policy: config.retry,
            retry,
            doubts,
            monitor,
            migration_target: config.migrations.target.map(|target| *target),
            origin,
            kept,
        };
        Ok(Self { inner: Arc::new(inner) })
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
        self.inner.doubts.stop();
        // The server needs some of the time for its own farewell.
        let limit_of_pools = limit.mul_f64(0.7);
        let others = async {
            match &self.inner.replicas {
                Some(replicas) => replicas.close(limit_of_pools).await,
                None => Ok(()),
            }
        };
        let (closed, others) = join(self.inner.pool.close(limit_of_pools), others).await;
        if let Some(kept) = &self.inner.kept {
            kept.stop(deadline).await?;
        }
        Ok(closed.and(others)?)
    }
}

/// Opens the pool for writes, with several servers at the one that takes them.
async fn connect(target: &Target, config: &Config) -> db_core::Result<(Option<Replicas>, Pool)> {
    // As long, and as often, as a pool tries to connect to its server.
    let ConnectRetry { max_retries, initial_delay, max_delay, .. } = config.pool.connect_retry;
    let mut policy = Policy::default();
    policy.max_retries = u32::try_from(max_retries).unwrap_or(u32::MAX);
    (policy.initial_delay, policy.max_delay) = (initial_delay, max_delay);
    let retry = Retry::new(policy).read().named("find the servers");
    let retry = retry.begin_before(Instant::now() + config.pool.acquire_timeout);
    let replicas = retry.run(|| Replicas::start(target, &config.replicas)).await?;
    let pool = match &replicas {
        Some(replicas) => replicas.open_writes(&config.pool).await?,
        None => Pool::open(target.clone(), config.pool.clone()).await?,
    };
    Ok((replicas, pool))
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
