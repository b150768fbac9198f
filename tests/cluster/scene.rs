//! Routing over real servers: a primary and streaming replicas, each with a pool of ours. Holds no test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_cluster::{Cluster, EndpointStats, Reason, Settings, Standing};
use db_core::{EndpointChanged, Observer, Query as _, ReadMoved};
use db_pool::{Pool, Target};
use db_testkit::TestCluster;
use tokio::task::JoinSet;

use crate::retry::ledger;
use crate::support::{self, backend, client, eventually};

/// Servers and the cluster over them, by the names of the nodes.
pub(super) struct Scene {
    pub(super) servers: TestCluster,
    pub(super) cluster: Cluster<Pool>,
    pub(super) heard: Arc<Heard>,
}

/// What the cluster told.
#[derive(Debug, Default)]
pub(super) struct Heard {
    changes: std::sync::Mutex<Vec<String>>,
    moved: AtomicUsize,
}

impl Observer for Heard {
    fn endpoint_changed(&self, event: &EndpointChanged<'_>) {
        let reason = event.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let line = format!("{}: {} → {}{reason}", event.endpoint, event.from, event.to);
        self.changes.lock().expect("no panic").push(line);
    }

    fn read_moved(&self, _event: &ReadMoved<'_>) {
        self.moved.fetch_add(1, Ordering::SeqCst);
    }
}

impl Heard {
    pub(super) fn has(&self, change: &str) -> bool {
        self.changes.lock().expect("no panic").iter().any(|line| line == change)
    }

    pub(super) fn moved(&self) -> usize {
        self.moved.load(Ordering::SeqCst)
    }
}

impl Scene {
    /// A primary `node-0` and so many replicas, with a table of numbers that has none yet.
    pub(super) async fn new(replicas: usize) -> Self {
        Self::with(replicas, |_| {}).await
    }

    pub(super) async fn with(replicas: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let servers = servers(replicas).await;
        let mut builder = Cluster::builder();
        for node in servers.nodes() {
            let (all, one) = (pool(node.url(), SESSIONS).await, pool(node.url(), 1).await);
            builder = builder.endpoint_watched_over(node.name(), all, one);
        }
        let heard = Arc::new(Heard::default());
        let observer: Arc<dyn Observer> = Arc::clone(&heard) as _;
        let cluster = builder.settings(patient(change)).observer(observer).start().await.expect("a cluster");
        Self { servers, cluster, heard }
    }

    pub(super) fn stats(&self, node: usize) -> EndpointStats {
        self.cluster.stats().swap_remove(node)
    }

    pub(super) async fn until(&self, node: usize, standing: Standing) {
        let what = format!("{} is {standing}", self.servers.node(node).name());
        eventually(&what, async || self.stats(node).standing == standing).await;
    }

    pub(super) async fn until_out(&self, node: usize, reason: Reason) {
        self.until(node, Standing::Out(reason)).await;
    }

    /// Writes on the primary, whoever that is.
    pub(super) async fn write(&self, number: i64) -> db_core::Result<()> {
        let primary = self.cluster.primary().await?;
        db_core::Executor::execute(&primary, "INSERT INTO numbers VALUES ($1)", &[&number]).await.map(drop)
    }

    /// The name of the server that a read of the default kind comes to.
    pub(super) async fn where_a_read_goes(&self) -> String {
        self.cluster.read().one(NAME, &[]).await.expect("a read")
    }

    pub(super) async fn stop(self) {
        drop(self.cluster);
        self.servers.stop().await.expect("stopped");
    }
}

pub(crate) const NAME: &str = "SELECT current_setting('cluster_name')";

/// How many sessions a scene has with each server at most, but for the one that looks at it.
pub(super) const SESSIONS: usize = 16;

/// Says what callers saw of a case, for the table of `cargo xtask test`.
pub(crate) fn publish(case: &str, outcome: impl std::fmt::Display) {
    ledger::publish(&serde_json::json!({"routed": case, "outcome": outcome.to_string()}));
}

/// The machine is busy with other tests, so that a look may take its time.
pub(crate) fn patient(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.look_interval = Duration::from_millis(200);
    settings.look_timeout = Duration::from_secs(1);
    settings.slow_start = Duration::ZERO;
    settings.patience = Duration::from_secs(10);
    change(&mut settings);
    settings
}

pub(crate) async fn servers(replicas: usize) -> TestCluster {
    let servers = TestCluster::start(&backend(), replicas).await.expect("servers");
    let primary = client(servers.node(0).url()).await;
    primary.batch_execute("CREATE TABLE numbers (number bigint PRIMARY KEY)").await.expect("a table");
    for replica in 1..=replicas {
        servers.caught_up(replica, 0).await.expect("caught up");
    }
    servers
}

pub(super) async fn pool(url: &str, max: usize) -> Pool {
    let mut settings = support::settings();
    (settings.min, settings.max) = (0, u32::try_from(max).expect("few"));
    settings.acquire_timeout = Duration::from_secs(5);
    let target: Target = url.parse().expect("a target");
    Pool::open(target, settings).await.expect("a pool")
}

/// Runs `count` tasks at once and waits for all.
pub(super) async fn at_once<T: Send + 'static, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(task(number));
    }
    tasks.join_all().await
}
