//! The servers of a database and its replicas, put together for routing: pools that open when they are needed, so that a replica
//! that is down does not keep the service from starting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use db_cluster::{Cluster, EndpointStats};
use db_core::{Acquire, Finding, Params, Result, RowStream};
use db_health::{Check, FnProbe};
use db_pool::{Conn, Pool, Settings, StillInUse, Target};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::config::ReplicaConfig;

/// A database with its replicas.
pub(crate) struct Replicas {
    pub(crate) cluster: Cluster<Server>,
    /// Those that are not the database's own.
    pools: Vec<Server>,
}

/// A pool of one server, opened with its first use.
#[derive(Clone)]
pub(crate) struct Server(Arc<Lazy>);

struct Lazy {
    target: Target,
    settings: Settings,
    pool: OnceCell<Pool>,
}

impl Replicas {
    /// Looks at all servers. The pool of the primary, which is open, answers at least.
    pub(crate) async fn start(
        primary: &Pool,
        target: &Target,
        config: &ReplicaConfig,
    ) -> Result<Option<Self>> {
        if config.targets.is_empty() {
            return Ok(None);
        }
        let (mut builder, mut pools) = (Cluster::builder(), Vec::new());
        let own = Server::open(primary, target);
        for target in std::iter::once(target).chain(&config.targets) {
            let server =
                if pools.is_empty() { own.clone() } else { Server::new(target, config.pool.clone()) };
            let looks = Server::for_looks(target, &config.pool);
            builder = builder.endpoint_watched_over(target.endpoint(), server.clone(), looks.clone());
            pools.extend([server, looks]);
        }
        // The first is the database's own, who closes it himself.
        pools.remove(0);
        let mut settings = db_cluster::Settings::default();
        settings.max_lag = config.max_lag;
        settings.token_validity = config.token_validity();
        Ok(Some(Self { cluster: builder.settings(settings).start().await?, pools }))
    }

    /// How the servers are. One that is out of use is degraded: the others serve.
    pub(crate) fn check(&self) -> Check {
        let cluster = self.cluster.clone();
        let look = move || {
            let all = cluster.stats();
            let is_out = |stats: &EndpointStats| stats.standing.reason().is_some();
            let finding = match all.iter().find(|stats| is_out(stats)) {
                Some(out) => Finding::degraded(out.standing.reason().unwrap_or_default()),
                None => Finding::healthy(),
            };
            all.iter().fold(finding, |finding, stats| finding.with(&stats.name, json!(stats)))
        };
        Check::new(FnProbe::new("replicas", look)).non_critical().internal()
    }

    pub(crate) async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        let closed = join_all(self.pools.iter().map(|server| server.close(limit))).await;
        closed.into_iter().collect()
    }
}

impl Server {
    fn new(target: &Target, settings: Settings) -> Self {
        Self(Arc::new(Lazy { target: target.clone(), settings, pool: OnceCell::new() }))
    }

    fn open(pool: &Pool, target: &Target) -> Self {
        let pool_cell = OnceCell::new_with(Some(pool.clone()));
        let settings = pool.settings().clone();
        Self(Arc::new(Lazy { target: target.clone(), settings, pool: pool_cell }))
    }

    fn for_looks(target: &Target, settings: &Settings) -> Self {
        let mut settings = settings.clone();
        (settings.name, settings.min, settings.max) = ("look".to_owned(), 0, 1);
        Self::new(&target.clone().with_application_name("db look"), settings)
    }

    async fn pool(&self) -> Result<&Pool> {
        let Lazy { target, settings, pool } = &*self.0;
        let open = || {
            let mut settings = settings.clone();
            // Whoever routes tries again, or elsewhere.
            settings.connect_retry.max_retries = 0;
            Pool::open(target.clone(), settings)
        };
        pool.get_or_try_init(open).await
    }

    async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        match self.0.pool.get() {
            Some(pool) => pool.close(limit).await,
            None => Ok(()),
        }
    }
}

impl Acquire for Server {
    type Conn = Conn;

    async fn acquire(&self, deadline: Option<Instant>) -> Result<Conn> {
        Acquire::acquire(self.pool().await?, deadline).await
    }

    async fn stream(conn: Conn, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        conn.into_stream(sql, params).await
    }

    fn rotate(&self) {
        if let Some(pool) = self.0.pool.get() {
            pool.rotate();
        }
    }

    fn sever(&self) {
        if let Some(pool) = self.0.pool.get() {
            pool.sever();
        }
    }
}
