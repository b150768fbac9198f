//! A failover to watch: `cargo xtask demo cluster`. A primary and two streaming replicas of this machine serve reads and writes;
//! the primary is killed, a replica promoted, and the others come back behind it. Prints who served what meanwhile, and whether
//! every acknowledged write is there. Fails when one is not, or when a read failed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

mod load;
#[path = "../support/mod.rs"]
mod support;
mod timeline;

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use db_cluster::{Cluster, Reason, Settings, Standing};
use db_core::{Acquire as _, Query as _};
use db_testkit::{Backend, TestCluster};
use deadpool_postgres::{Manager, Pool, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

use load::{Ledger, Load, PACE, READERS, Reads, WRITERS};
use support::Own;
use timeline::Timeline;

type Result<T, E = Box<dyn StdError>> = std::result::Result<T, E>;

/// How long one state of things is shown.
const SCENE: Duration = Duration::from_millis(1500);
/// How long servers and the cluster may take to come to what is waited for.
const LATE: Duration = Duration::from_secs(10);

/// What happens to the servers. The cluster is told nothing of it.
struct Play<'p> {
    servers: &'p mut TestCluster,
    cluster: &'p Cluster<Own>,
    timeline: &'p Timeline,
    interrupted: &'p CancellationToken,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let interrupted = watch_signals()?;
    let backend = Backend::local(std::env::var_os("PATH"));
    // Never dropped midway: what is about to be a server, or a copy of one, would not be gone when we are.
    let mut servers = TestCluster::start(&backend, 2).await?;
    let result = show(&mut servers, &interrupted).await;
    servers.stop().await?;
    result
}

/// Cancelled by Ctrl-C, and by SIGTERM.
fn watch_signals() -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let interrupted = CancellationToken::new();
    let token = interrupted.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(interrupted)
}

async fn show(servers: &mut TestCluster, interrupted: &CancellationToken) -> Result<()> {
    // A commit waits until one of the replicas has it on disk.
    servers.synchronous(0, 1).await?;
    let (timeline, mut printer) = Timeline::begin(servers.nodes().iter().map(|node| node.name()));
    let cluster = route(servers, &timeline).await?;
    let primary = cluster.primary().await?;
    primary.none("CREATE TABLE numbers (number int8 PRIMARY KEY)", &[]).await?;
    let version: String = primary.one("SHOW server_version", &[]).await?;
    drop(primary);
    for replica in [1, 2] {
        servers.caught_up(replica, 0).await?;
    }
    println!("PostgreSQL {version}: a primary and two replicas; a commit waits for one of the two");
    let pace = PACE.as_millis();
    println!("{READERS} readers and {WRITERS} writers, each with a statement every {pace} ms");
    println!("a row is half a second: what each server is, and what it has answered");
    println!();

    let load = Load::begin(&cluster, &timeline);
    let mut play = Play { servers, cluster: &cluster, timeline: &timeline, interrupted };
    let played = tokio::select! {
        played = play.run() => played,
        never = printer.print(&cluster) => match never {},
    };
    printer.rest();
    played?;
    let (reads, ledger) = load.end().await?;
    printer.rest();
    report(&reads, timeline.moved(), &ledger, &rows(servers, &cluster).await?)
}

/// A cluster over pools of somebody's own. It is not told who is primary.
async fn route(servers: &TestCluster, timeline: &Arc<Timeline>) -> Result<Cluster<Own>> {
    let mut settings = Settings::default();
    // The default of 10 s, in which a replica that came back takes less, would be most of the demo.
    settings.slow_start = Duration::from_secs(2);
    let mut builder = Cluster::builder().settings(settings).observer(Arc::clone(timeline) as _);
    for node in servers.nodes() {
        let pool = |max| {
            let manager = Manager::new(node.config(), NoTls);
            Pool::builder(manager).max_size(max).runtime(Runtime::Tokio1).build().map(Own)
        };
        builder = builder.endpoint_watched_over(node.name(), pool(READERS + WRITERS)?, pool(1)?);
    }
    Ok(builder.start().await?)
}

impl Play<'_> {
    async fn run(&mut self) -> Result<()> {
        self.scene().await?;
        self.timeline.tell("node-0, the primary, is killed");
        self.servers.halt_at_once(0).await?;
        self.becomes(0, Standing::Out(Reason::Unreachable)).await?;
        self.scene().await?;

        let (first, second) = self.by_log_received().await?;
        self.timeline.tell(format!("node-{first}, which has received the most, is promoted"));
        self.servers.promote(first).await?;
        self.becomes(first, Standing::Primary).await?;
        self.timeline.tell(format!("node-{second} is told to follow node-{first}"));
        self.servers.follow(second, first).await?;
        self.servers.synchronous(first, 1).await?;
        self.becomes(second, Standing::Replica).await?;
        self.scene().await?;

        self.timeline.tell("node-0 is started again, and takes itself for the primary");
        self.servers.resume(0).await?;
        self.becomes(0, Standing::Out(Reason::OldTimeline)).await?;
        self.scene().await?;
        self.timeline.tell(format!("node-0 is made anew as a copy of node-{first}, to follow it"));
        self.servers.follow(0, first).await?;
        self.becomes(0, Standing::Replica).await?;
        self.scene().await?;
        self.scene().await
    }

    /// Leaves things as they are, for people to see.
    async fn scene(&self) -> Result<()> {
        tokio::select! {
            () = sleep(SCENE) => Ok(()),
            () = self.interrupted.cancelled() => Err("interrupted".into()),
        }
    }

    /// Waits until the cluster has noticed.
    async fn becomes(&self, node: usize, standing: Standing) -> Result<()> {
        let what = format!("the cluster sees that node-{node} is {standing}");
        self.until(&what, async || Ok(self.cluster.stats()[node].standing == standing)).await
    }

    /// The two replicas of a primary that is gone, first the one that has received more. What was acknowledged is on one of them
    /// at least, so it is on that one.
    async fn by_log_received(&self) -> Result<(usize, usize)> {
        let mut received = [0; 2];
        for (position, name) in received.iter_mut().zip(["node-1", "node-2"]) {
            let conn = self.cluster.pool(name).ok_or("no such node")?.acquire(None).await?;
            let streams = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
            let has_all = async || Ok(!conn.one::<bool>(streams, &[]).await?);
            self.until(&format!("{name} has received all there is"), has_all).await?;
            let sql = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::int8";
            *position = conn.one::<i64>(sql, &[]).await?;
        }
        Ok(if received[0] >= received[1] { (1, 2) } else { (2, 1) })
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !is_so().await? {
            if self.interrupted.is_cancelled() {
                return Err("interrupted".into());
            }
            if began.elapsed() > LATE {
                return Err(format!("not within {} s: {what}", LATE.as_secs()).into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// The numbers that each server has in the end.
async fn rows(servers: &TestCluster, cluster: &Cluster<Own>) -> Result<Vec<(String, BTreeSet<i64>)>> {
    let stats = cluster.stats();
    let primary = stats.iter().position(|stats| stats.standing == Standing::Primary).ok_or("no primary")?;
    let mut all = Vec::new();
    for (node, stats) in stats.into_iter().enumerate() {
        if node != primary {
            servers.caught_up(node, primary).await?;
        }
        let conn = cluster.pool(&stats.name).ok_or("no such node")?.acquire(None).await?;
        let numbers: Vec<i64> = conn.query("SELECT number FROM numbers", &[]).await?;
        all.push((stats.name, numbers.into_iter().collect()));
    }
    Ok(all)
}

/// Prints the end, and says whether it is a good one.
fn report(reads: &Reads, moved: u64, ledger: &Ledger, rows: &[(String, BTreeSet<i64>)]) -> Result<()> {
    let Reads { answered, failed } = reads;
    println!();
    println!("reads    {answered} answered, {failed} failed, {moved} went on elsewhere");
    let Ledger { acknowledged, unknown, failed: failed_to } = ledger;
    let is_somewhere = |number: &&i64| rows.iter().any(|(_, rows)| rows.contains(*number));
    let (count, done) = (acknowledged.len(), unknown.iter().filter(is_somewhere).count());
    let (unknown, failed_to) = (unknown.len(), failed_to.len());
    println!(
        "writes   {count} acknowledged, {failed_to} failed, {unknown} unknown ({done} of them happened)"
    );
    println!("         {:.2} s at most between two acknowledged", ledger.longest_pause().as_secs_f64());
    println!("errors   {failed} of reads, {} of writes", unknown + failed_to);
    let mut lost = BTreeSet::new();
    for (name, rows) in rows {
        let numbers = acknowledged.iter().map(|(_, number)| *number);
        let missing: Vec<i64> = numbers.filter(|number| !rows.contains(number)).collect();
        println!("{name}   has {} of {count} acknowledged writes", count - missing.len());
        lost.extend(missing);
    }
    if !lost.is_empty() {
        return Err(format!("acknowledged writes are lost: {lost:?}").into());
    }
    if *failed > 0 {
        return Err(format!("{failed} reads failed").into());
    }
    println!("every acknowledged write is on every server, and no read failed");
    Ok(())
}
