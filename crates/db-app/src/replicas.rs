//! The servers of a database with replicas, put together for routing. Each has a pool for reads that opens when it is needed, so
//! that a replica that is down does not keep the service from starting; one pool for writes turns to whichever is the primary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use db_cluster::{Cluster, EndpointStats, Preference, Read};
use db_core::{Acquire, Finding, Params, Result, RowStream};
use db_health::{Check, FnProbe};
use db_pool::{Conn, Pool, Settings, StillInUse, Target};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::config::{Member, ReplicaConfig, members};

/// A database with its replicas.
pub(crate) struct Replicas {
    cluster: Cluster<Server>,
    pools: Vec<Server>,
    writer: Arc<Writer>,
    /// Where reads go unless their caller says so himself.
    preference: Preference,
}

/// The pool for writes, and where it goes.
struct Writer {
    /// How each server is written to.
    targets: Vec<Target>,
    /// The number of the primary, or [`NOBODY`].
    at: AtomicUsize,
    /// Set once, after the primary was found.
    pool: OnceLock<Pool>,
    /// Held while the pool is turned.
    turning: Mutex<()>,
}

const NOBODY: usize = usize::MAX;

/// The pools of one server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Pools>);

struct Pools {
    number: usize,
    target: Target,
    settings: Settings,
    /// For reads while it is a replica; opened with its first use.
    reads: OnceCell<Pool>,
    /// Takes its place while it is the primary; a server that is only looked at has none.
    writer: Option<Arc<Writer>>,
}

impl Replicas {
    /// Looks at all servers; `None` if there is only one.
    pub(crate) async fn start(given: &Target, config: &ReplicaConfig) -> Result<Option<Self>> {
        let members = members(given, &config.targets);
        if members.len() < 2 {
            return Ok(None);
        }
        let writer = Arc::new(Writer {
            targets: members.iter().map(|member| member.write.clone()).collect(),
            at: AtomicUsize::new(NOBODY),
            pool: OnceLock::new(),
            turning: Mutex::default(),
        });
        let (mut builder, mut pools) = (Cluster::builder(), Vec::new());
        for (number, Member { read, .. }) in members.into_iter().enumerate() {
            let name = read.endpoint();
            let looks = Server::for_looks(number, &read, &config.pool);
            let server = Server::new(number, read, config.pool.clone(), Some(Arc::clone(&writer)));
            builder = builder.endpoint_watched_over(name, server.clone(), looks.clone());
            pools.extend([server, looks]);
        }
        let mut settings = db_cluster::Settings::default();
        settings.max_lag = config.max_lag;
        settings.token_validity = config.token_validity();
        let cluster = builder.settings(settings).start().await?;
        let preference = if config.targets.is_empty() { Preference::Primary } else { Preference::default() };
        Ok(Some(Self { cluster, pools, writer, preference }))
    }

    /// Opens the pool for writes at the primary. While there is none, what is wrong is said by the first server.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub(crate) async fn open_writer(&self, settings: &Settings) -> Result<Pool> {
        let writer = &self.writer;
        loop {
            let at = writer.at.load(Ordering::Acquire);
            let target = writer.targets.get(at).unwrap_or(&writer.targets[0]);
            match Pool::open(target.clone(), settings.clone()).await {
                Ok(pool) => {
                    let pool = writer.pool.get_or_init(|| pool);
                    // It may have been another one's turn meanwhile.
                    writer.turn();
                    return Ok(pool.clone());
                }
                Err(error) if writer.at.load(Ordering::Acquire) == at => return Err(error),
                Err(_) => {}
            }
        }
    }

    pub(crate) fn read(&self) -> Read<'_, Server> {
        self.cluster.read().preference(self.preference)
    }

    pub(crate) fn stats(&self) -> Vec<EndpointStats> {
        self.cluster.stats()
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

    /// Closes the pools for reads; the one for writes is the database's own.
    pub(crate) async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        let closed = join_all(self.pools.iter().map(|server| server.close(limit))).await;
        closed.into_iter().collect()
    }
}

impl Writer {
    /// Turns the pool to the primary of the moment.
    fn turn(&self) {
        // Two who turn it do so one after the other, and each to what is right by then.
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let target = self.targets.get(self.at.load(Ordering::Acquire));
        if let (Some(pool), Some(target)) = (self.pool.get(), target) {
            pool.turn_to(target.clone());
        }
    }

    /// The pool, if it goes to this server.
    fn pool_of(&self, number: usize) -> Option<&Pool> {
        self.pool.get().filter(|_| self.at.load(Ordering::Acquire) == number)
    }
}

impl Server {
    fn new(number: usize, target: Target, settings: Settings, writer: Option<Arc<Writer>>) -> Self {
        Self(Arc::new(Pools { number, target, settings, reads: OnceCell::new(), writer }))
    }

    fn for_looks(number: usize, target: &Target, settings: &Settings) -> Self {
        let mut settings = settings.clone();
        (settings.name, settings.min, settings.max) = ("look".to_owned(), 0, 1);
        Self::new(number, target.clone().with_application_name("db look"), settings, None)
    }

    /// The pool for writes, while this is the primary.
    fn writer(&self) -> Option<&Pool> {
        self.0.writer.as_ref()?.pool_of(self.0.number)
    }

    async fn pool(&self) -> Result<&Pool> {
        if let Some(writer) = self.writer() {
            return Ok(writer);
        }
        let Pools { target, settings, reads, .. } = &*self.0;
        let open = || {
            let mut settings = settings.clone();
            // Whoever routes tries again, or elsewhere.
            settings.connect_retry.max_retries = 0;
            Pool::open(target.clone(), settings)
        };
        reads.get_or_try_init(open).await
    }

    /// Those that are open.
    fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.0.reads.get().into_iter().chain(self.writer())
    }

    async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        match self.0.reads.get() {
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

    async fn keep_session(conn: &Conn) -> Result<()> {
        <Pool as Acquire>::keep_session(conn).await
    }

    fn rotate(&self) {
        self.pools().for_each(Pool::rotate);
    }

    fn takes_writes(&self, from_now_on: bool) {
        if let Some(writer) = &self.0.writer {
            let at = if from_now_on { self.0.number } else { NOBODY };
            writer.at.store(at, Ordering::Release);
            writer.turn();
        }
    }

    fn sever(&self) {
        self.pools().for_each(Pool::sever);
    }
}
