//! The whole layer while servers of a cluster fail, with the ledger: money is transferred and accounts are read all along, and in the
//! end what callers were told is compared with what the primary holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use db_app::Database;
use db_core::Query as _;
use db_testkit::TestCluster;
use tokio::task::JoinSet;

use crate::cluster::scene::publish;
use crate::retry::ledger::{Case, Load, Report, alone};
use crate::support::{backend, eventually};

/// Long enough for a failover: who may try again until then gets no error.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is late is so by so much, which is beyond the limit.
const LATE: Duration = Duration::from_secs(10);

const READERS: usize = 8;

/// Servers under load.
pub(crate) struct Bank {
    pub(crate) servers: TestCluster,
    pub(crate) load: Load,
    readers: JoinSet<()>,
    read: Arc<Read>,
}

/// What readers were told.
#[derive(Debug, Default)]
struct Read {
    is_over: AtomicBool,
    answered: AtomicU64,
    errors: std::sync::Mutex<Vec<String>>,
}

impl Bank {
    /// A primary and two replicas. With synchronous replication a COMMIT waits for both of them.
    pub(crate) async fn open(fault: &'static str, is_synchronous: bool) -> Self {
        let servers = TestCluster::start(&backend(), 2).await.expect("servers");
        if is_synchronous {
            servers.synchronous(0, 2).await.expect("synchronous");
        }
        let mut case = Case::new(fault);
        (case.workers, case.deadline) = (20, DEADLINE);
        let replicas = [1, 2].map(|node| servers.node(node).url()).join(" ");
        case.settings.push(("DATABASE_REPLICA_URL", replicas));
        case.settings.push(("DB_REPLICA_MAX_LAG_MS", "2000".to_owned()));
        let url = servers.node(0).url().to_owned();
        let load = Load::start(case, &url, &url).await;
        let (mut readers, read) = (JoinSet::new(), Arc::new(Read::default()));
        for _ in 0..READERS {
            readers.spawn(reads(load.database().clone(), Arc::clone(&read)));
        }
        Self { servers, load, readers, read }
    }

    /// Waits for so many more transfers and reads.
    pub(crate) async fn goes_on(&self) {
        self.load.more(100).await;
        self.reads_go_on().await;
    }

    async fn reads_go_on(&self) {
        let goal = self.read.answered.load(Ordering::Relaxed) + 200;
        eventually("reads go on", async || self.read.answered.load(Ordering::Relaxed) >= goal).await;
    }

    /// Promotes a node, on which the books are from now on, and waits for a transfer.
    pub(crate) async fn promote(&mut self, node: usize) {
        self.servers.promote(node).await.expect("promoted");
        self.load.is_judged_at(self.servers.node(node).url());
        self.load.flows_again().await;
    }

    /// Waits until a node is out for a reason.
    pub(crate) async fn until_out(&self, node: usize, reason: &'static str) {
        let what = format!("node {node} is out: {reason}");
        let standing = || self.load.database().servers().swap_remove(node).standing;
        eventually(&what, async || standing().reason() == Some(reason)).await;
    }

    /// Waits until a node takes reads.
    pub(crate) async fn until_replica(&self, node: usize) {
        let what = format!("node {node} takes reads");
        let standing = || self.load.database().servers().swap_remove(node).standing;
        eventually(&what, async || standing().is_replica()).await;
    }

    /// Node 0 is there again, as a second primary at first, and then as a replica of node 1.
    pub(crate) async fn takes_the_old_primary_back(&mut self) {
        self.until_out(0, "old_timeline").await;
        self.goes_on().await;
        self.servers.follow(0, 1).await.expect("follows");
        self.until_replica(0).await;
        self.goes_on().await;
    }

    /// Ends the load and the servers. That no reader had an error and no call failed is checked here; the rest is in the
    /// report.
    pub(crate) async fn close(mut self, faults: u64) -> Report {
        self.read.is_over.store(true, Ordering::Relaxed);
        while let Some(reader) = self.readers.join_next().await {
            reader.expect("no panic");
        }
        let report = self.load.finish(faults).await;
        let (answered, errors) =
            (self.read.answered.load(Ordering::Relaxed), self.read.errors.lock().expect("no panic").clone());
        let Report { fault, calls, acknowledged, retries, unknown, .. } = &report;
        publish(
            &format!("{fault}, through `Database`"),
            format!(
                "{calls} transfers, {acknowledged} acknowledged, {retries} tried again, {unknown} COMMITs in doubt and resolved, \
                 {} lost, {} doubled; {answered} reads, {} errors; writes again after {:.3} s",
                report.verdict.lost.len(),
                report.verdict.doubled.len(),
                errors.len(),
                report.again.unwrap_or_default().as_secs_f64(),
            ),
        );
        assert_eq!(errors, Vec::<String>::new(), "{fault}: reads");
        assert_eq!(calls, acknowledged, "{fault}: with retries nobody gets an error");
        self.servers.stop().await.expect("stopped");
        report
    }
}

async fn reads(db: Database, read: Arc<Read>) {
    while !read.is_over.load(Ordering::Relaxed) {
        let cents = db.reads().within(DEADLINE).one::<i64>("SELECT sum(cents)::int8 FROM account", &[]).await;
        match cents {
            Ok(_) => drop(read.answered.fetch_add(1, Ordering::Relaxed)),
            Err(error) => read.errors.lock().expect("no panic").push(error.to_string()),
        }
    }
}

/// D2, D12: nothing that was acknowledged is lost, nothing is doubled, and nobody who tries again gets an error; also when the old
/// primary comes back as a second one, and then as a standby.
#[tokio::test]
async fn the_primary_is_killed_with_synchronous_replication() {
    let _alone = alone().await;
    let mut bank = Bank::open("primary killed, synchronous", true).await;
    bank.servers.halt_at_once(0).await.expect("killed");
    bank.reads_go_on().await;
    bank.promote(1).await;
    bank.servers.follow(2, 1).await.expect("follows");
    bank.goes_on().await;
    bank.servers.resume(0).await.expect("back");
    bank.takes_the_old_primary_back().await;
    bank.close(1).await.must_hold();
}

/// D2: what had not arrived at the replica is lost, and no client can help that; nothing is doubled, and nothing is said not to have
/// happened that did.
#[tokio::test]
async fn the_primary_is_killed_with_asynchronous_replication() {
    let _alone = alone().await;
    let mut bank = Bank::open("primary killed, asynchronous", false).await;
    bank.servers.halt_at_once(0).await.expect("killed");
    bank.promote(1).await;
    bank.servers.follow(2, 1).await.expect("follows");
    bank.goes_on().await;
    let mut report = bank.close(1).await;
    report.verdict.lost.clear();
    report.must_hold();
}

/// D2: a primary that is silent for a while and comes back as a second one gets nothing more.
#[tokio::test]
async fn the_primary_is_paused_and_a_replica_promoted() {
    let _alone = alone().await;
    let mut bank = Bank::open("primary paused, synchronous", true).await;
    bank.servers.freeze(0).await.expect("paused");
    bank.promote(1).await;
    bank.servers.thaw(0).await.expect("back");
    bank.until_out(0, "old_timeline").await;
    bank.goes_on().await;
    bank.close(1).await.must_hold();
}

/// A6, B6, D2: replicas are killed, paused and late, by turns and all at once.
#[tokio::test]
async fn replicas_fail() {
    let _alone = alone().await;
    let mut bank = Bank::open("replicas killed, paused and late", false).await;
    bank.servers.halt_at_once(1).await.expect("killed");
    bank.until_out(1, "unreachable").await;
    bank.goes_on().await;
    bank.servers.freeze(2).await.expect("paused");
    bank.until_out(2, "unreachable").await;
    bank.goes_on().await;
    bank.servers.resume(1).await.expect("back");
    bank.servers.thaw(2).await.expect("back");
    for node in [1, 2] {
        bank.until_replica(node).await;
        bank.servers.lag(node, LATE).await.expect("late");
    }
    for node in [1, 2] {
        bank.until_out(node, "lag").await;
    }
    bank.goes_on().await;
    for node in [1, 2] {
        bank.servers.lag(node, Duration::ZERO).await.expect("in time");
        bank.until_replica(node).await;
    }
    bank.goes_on().await;
    bank.close(4).await.must_hold();
}
