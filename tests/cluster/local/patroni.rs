//! Routing over servers that Patroni looks after: nobody here says who shall be primary. Needs `patroni` and `etcd`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_cluster::{Cluster, Reason, Standing};
use db_core::{Executor as _, Query as _};
use db_pool::Pool;
use db_testkit::{Patroni, Replication};
use tokio::time::{Instant, sleep};

use crate::cluster::scene::{at_once, patient, pool, publish};
use crate::cluster::writers::Writers;
use crate::support::{backend, eventually};

/// Readers in the background, each of which rests after every read.
struct Readers {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: tokio::task::JoinHandle<Vec<Vec<String>>>,
}

/// The machine is to be busy, and Patroni to come to its turn.
const PAUSE: Duration = Duration::from_millis(5);
const READERS: usize = 8;
/// Patroni takes 20 s to replace a leader that is silent.
const LONG: Duration = Duration::from_secs(60);
/// How long after a promotion writes must flow again. Loosely, on a busy machine; the figure itself is printed, and
/// `cargo xtask patroni demo` holds it to 2 s.
const FLOW: Duration = Duration::from_secs(10);

impl Readers {
    fn begin(cluster: &Cluster<Pool>) -> Self {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (cluster, over, count) = (cluster.clone(), Arc::clone(&is_over), Arc::clone(&answered));
        let tasks = tokio::spawn(at_once(READERS, move |_| {
            let (cluster, over, count) = (cluster.clone(), Arc::clone(&over), Arc::clone(&count));
            async move {
                let mut errors = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let read = cluster.read().within(Duration::from_secs(5));
                    match read.one::<i64>("SELECT count(*) FROM numbers", &[]).await {
                        Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => errors.push(error.to_string()),
                    }
                    sleep(PAUSE).await;
                }
                errors
            }
        }));
        Self { is_over, answered, tasks }
    }

    async fn flow(&self) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let before = answered();
        eventually("reads flow", async || answered() > before + 100).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let errors = self.tasks.await.expect("no panic").concat();
        let answered = self.answered.load(Ordering::Relaxed);
        publish("Patroni: reads", format!("{answered} answered, {} errors", errors.len()));
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// A program that knows the servers by its two variables, with one task that writes and one that reads.
struct Service {
    db: Database,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    /// How many writes were refused, and what was said to readers.
    writer: tokio::task::JoinHandle<u64>,
    reader: tokio::task::JoinHandle<Vec<String>>,
}

impl Service {
    async fn begin(servers: &Patroni) -> Self {
        let replicas: Vec<_> = servers.members().iter().map(|member| member.url()).collect();
        let layers = Layers::default()
            .with_environment("DATABASE_URL", &servers.url())
            .with_environment("DATABASE_REPLICA_URL", &replicas.join(" "));
        let db = Database::open(Config::load(&layers).expect("a configuration")).await.expect("a database");
        let (is_over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (own, over, count) = (db.clone(), Arc::clone(&is_over), Arc::clone(&acknowledged));
        let writer = tokio::spawn(async move {
            let mut refused = 0;
            while !over.load(Ordering::Relaxed) {
                match own.execute("INSERT INTO entries VALUES (1)", &[]).await {
                    Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(_) => refused += 1,
                }
                sleep(PAUSE).await;
            }
            refused
        });
        let (own, over) = (db.clone(), Arc::clone(&is_over));
        let reader = tokio::spawn(async move {
            let mut errors = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let answer = own.reads().one::<i64>("SELECT count(*) FROM entries", &[]).await;
                errors.extend(answer.err().map(|error| error.to_string()));
                sleep(PAUSE).await;
            }
            errors
        });
        Self { db, is_over, acknowledged, writer, reader }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (refused, errors) = (self.writer.await.expect("no panic"), self.reader.await.expect("no panic"));
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let rows: i64 = self.db.primary().one("SELECT count(*) FROM entries", &[]).await.expect("a count");
        let outcome = format!("{acknowledged} writes, {refused} refused; {} reads failed", errors.len());
        publish("Patroni: a service by its two variables", outcome);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(rows.cast_unsigned() >= acknowledged, "{rows} rows of {acknowledged}");
        self.db.close(Duration::from_secs(5)).await.expect("closed");
    }
}

/// Waits until another member than `old` is promoted, and says how long it took until the first write was acknowledged after that.
async fn promoted(servers: &Patroni, writers: &Writers, service: &Service, old: usize, what: &str) -> usize {
    let new = servers.promoted(old).await.expect("promoted");
    let began = Instant::now();
    let (before, of_service) = (writers.acknowledged(), service.acknowledged());
    let own = async {
        eventually("a write", async || writers.acknowledged() > before).await;
        began.elapsed()
    };
    let others = async {
        eventually("a write of the service", async || service.acknowledged() > of_service).await;
        began.elapsed()
    };
    let (own, others) = tokio::join!(own, others);
    let (own_s, others_s) = (own.as_secs_f64(), others.as_secs_f64());
    let outcome =
        format!("writes flowed {own_s:.3} s after the promotion, those of a service {others_s:.3} s");
    publish(&format!("Patroni: {what}"), outcome);
    assert!(own <= FLOW && others <= FLOW, "{what}: {own:?}, {others:?}");
    new
}

/// D2: Patroni switches over because it is asked to, fails over because the leader is killed, and takes the old one back. Reads go
/// on without an error, also those of a service; each writer has one error at most for each of the two, and nothing that was acknowledged is lost.
#[tokio::test]
async fn the_leader_is_switched_over_and_killed() {
    let mut servers = Patroni::start(&backend(), Replication::Synchronous).await.expect("servers");
    let mut builder = Cluster::builder();
    for member in servers.members() {
        let (all, one) = (pool(member.url(), 16).await, pool(member.url(), 1).await);
        builder = builder.endpoint_watched_over(member.name(), all, one);
    }
    let cluster = builder.settings(patient(|_| {})).start().await.expect("a cluster");
    let is = async |member: usize, standing: Standing| {
        let what = format!("node-{member} is {standing}");
        eventually(&what, async || cluster.stats()[member].standing == standing).await;
    };
    let first = servers.leader().await.expect("a leader");
    is(first, Standing::Primary).await;
    let primary = cluster.primary().await.expect("the primary");
    let tables = "CREATE TABLE numbers (number bigint PRIMARY KEY); CREATE TABLE entries (entry int)";
    primary.batch_execute(tables).await.expect("tables");
    drop(primary);
    for member in (0..servers.members().len()).filter(|member| *member != first) {
        servers.follows(member, first).await.expect("caught up");
    }
    let (readers, writers) = (Readers::begin(&cluster), Writers::patient(&cluster, PAUSE, LONG));
    let service = Service::begin(&servers).await;
    writers.flow().await;

    let (switched, second) =
        tokio::join!(servers.switch_over(), promoted(&servers, &writers, &service, first, "switchover"));
    switched.expect("switched over");
    is(second, Standing::Primary).await;
    servers.follows(first, second).await.expect("follows");
    is(first, Standing::Replica).await;
    servers.synchronous().await.expect("a standby that may be promoted");
    writers.flow().await;

    servers.kill(second).await.expect("killed");
    is(second, Standing::Out(Reason::Unreachable)).await;
    readers.flow().await;
    let third = promoted(&servers, &writers, &service, second, "leader killed").await;
    is(third, Standing::Primary).await;
    servers.revive(second).expect("started");
    servers.follows(second, third).await.expect("follows");
    is(second, Standing::Replica).await;
    writers.flow().await;

    readers.end().await;
    service.end().await;
    let url = servers.members()[third].url();
    assert_eq!(writers.end("Patroni: both, synchronous replication", 2, url).await, 0, "lost");
    drop(cluster);
    servers.stop().await.expect("stopped");
}
