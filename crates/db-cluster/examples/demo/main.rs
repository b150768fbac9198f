//! A failover to watch: `cargo xtask demo cluster`. A primary and two streaming replicas of this machine serve reads and writes;
//! the primary is killed, a replica promoted, and the others come back behind it. Prints who served what meanwhile, and whether
//! every acknowledged write is there. Fails when one is not, or when a read failed.

#![expect(clippy::print_stdout, reason = "an example prints")]

#[path = "../stage/mod.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use db_cluster::{Reason, Standing};
use db_core::{Acquire as _, Query as _};
use db_testkit::{Backend, TestCluster};
use tokio_util::sync::CancellationToken;

use stage::load::Load;
use stage::outcome::{report, rows};
use stage::timeline::Timeline;
use stage::{Result, Stage};

/// How long a row of the timeline is.
const ROW: Duration = Duration::from_millis(500);
/// How long servers, the cluster, and a write may take to come to what is waited for.
const LATE: Duration = Duration::from_secs(10);

/// What happens to the servers. The cluster is told nothing of it.
struct Play<'p> {
    servers: &'p mut TestCluster,
    stage: &'p Stage,
}

#[tokio::main]
async fn main() -> ExitCode {
    stage::ended(demo().await)
}

async fn demo() -> Result<()> {
    let interrupted = stage::watch_signals()?;
    let backend = Backend::local(std::env::var_os("PATH"));
    // Never dropped midway: what is about to be a server, or a copy of one, would not be gone when we are.
    let mut servers = TestCluster::start(&backend, 2).await?;
    let result = show(&mut servers, &interrupted).await;
    servers.stop().await?;
    result
}

async fn show(servers: &mut TestCluster, interrupted: &CancellationToken) -> Result<()> {
    // A commit waits until one of the replicas has it on disk.
    servers.synchronous(0, 1).await?;
    let nodes = servers.nodes().iter().map(|node| (node.name().to_owned(), node.config()));
    let nodes: Vec<_> = nodes.collect();
    let ports = nodes.iter().map(|(name, config)| (name.clone(), config.get_ports()[0]));
    let (timeline, mut printer) = Timeline::begin(ROW, ports);
    let cluster = stage::route(nodes, &timeline).await?;
    let primary = cluster.primary().await?;
    primary.none("CREATE TABLE numbers (number int8 PRIMARY KEY)", &[]).await?;
    let version: String = primary.one("SHOW server_version", &[]).await?;
    drop(primary);
    for replica in [1, 2] {
        servers.caught_up(replica, 0).await?;
    }
    println!("PostgreSQL {version}: a primary and two replicas; a commit waits for one of the two");
    stage::introduce("half a second");

    let load = Load::begin(&cluster, &timeline, LATE);
    let stage = Stage { cluster, timeline, interrupted: interrupted.clone(), late: LATE };
    let mut play = Play { servers, stage: &stage };
    let played = tokio::select! {
        played = play.run() => played,
        never = printer.print(&stage.cluster) => match never {},
    };
    printer.rest();
    played?;
    let (reads, ledger) = load.end().await?;
    printer.rest();
    let stats = stage.cluster.stats();
    let primary = stats.iter().position(|stats| stats.standing == Standing::Primary).ok_or("no primary")?;
    for replica in (0..stats.len()).filter(|node| *node != primary) {
        servers.caught_up(replica, primary).await?;
    }
    report(&reads, stage.timeline.moved(), &ledger, &rows(&stage.cluster).await?)
}

impl Play<'_> {
    async fn run(&mut self) -> Result<()> {
        self.stage.scene().await?;
        self.stage.timeline.tell("node-0, the primary, is killed");
        self.servers.halt_at_once(0).await?;
        self.stage.becomes(0, Standing::Out(Reason::Unreachable)).await?;
        self.stage.scene().await?;

        let (first, second) = self.by_log_received().await?;
        self.stage.timeline.tell(format!("node-{first}, which has received the most, is promoted"));
        self.servers.promote(first).await?;
        self.stage.becomes(first, Standing::Primary).await?;
        self.stage.timeline.tell(format!("node-{second} is told to follow node-{first}"));
        self.servers.follow(second, first).await?;
        self.servers.synchronous(first, 1).await?;
        self.stage.becomes(second, Standing::Replica).await?;
        self.stage.scene().await?;

        self.stage.timeline.tell("node-0 is started again, and takes itself for the primary");
        self.servers.resume(0).await?;
        self.stage.becomes(0, Standing::Out(Reason::OldTimeline)).await?;
        self.stage.scene().await?;
        self.stage.timeline.tell(format!("node-0 is made anew as a copy of node-{first}, to follow it"));
        self.servers.follow(0, first).await?;
        self.stage.becomes(0, Standing::Replica).await?;
        self.stage.scene().await?;
        self.stage.scene().await
    }

    /// The two replicas of a primary that is gone, first the one that has received more. What was acknowledged is on one of them
    /// at least, so it is on that one.
    async fn by_log_received(&self) -> Result<(usize, usize)> {
        let mut received = [0; 2];
        for (position, name) in received.iter_mut().zip(["node-1", "node-2"]) {
            let conn = self.stage.cluster.pool(name).ok_or("no such node")?.acquire(None).await?;
            let streams = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
            let has_all = async || Ok(!conn.one::<bool>(streams, &[]).await?);
            self.stage.until(&format!("{name} has received all there is"), has_all).await?;
            let sql = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::int8";
            *position = conn.one::<i64>(sql, &[]).await?;
        }
        Ok(if received[0] >= received[1] { (1, 2) } else { (2, 1) })
    }
}
