//! Failovers by Patroni to watch: `cargo xtask patroni demo`. Three servers serve reads and writes; Patroni switches over because it
//! is asked to, fails over because the leader is killed, and takes the old one back. Prints who served what meanwhile, and fails
//! when a read failed, an acknowledged write is lost, callers got too many errors, or writes flow again too late.

#![expect(clippy::print_stdout, reason = "an example prints")]

#[path = "../stage/mod.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use db_cluster::Standing;
use db_core::Query as _;
use db_testkit::{Backend, Member, Patroni, Replication};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use stage::load::{Ledger, Load, WRITERS};
use stage::outcome::{report, rows};
use stage::timeline::Timeline;
use stage::{Result, Stage};

/// How long a row of the timeline is.
const ROW: Duration = Duration::from_secs(1);
/// How long servers, the cluster, and a write may take to come to what is waited for. For 20 s Patroni leaves a leader that is
/// silent its lock.
const LATE: Duration = Duration::from_secs(60);
/// How long after a promotion writes must flow again.
const FLOW: Duration = Duration::from_secs(2);

/// What happens to the servers. The cluster is told nothing of it.
struct Play<'p> {
    servers: &'p mut Patroni,
    stage: &'p Stage,
}

/// One change of the leader.
struct Failover {
    what: &'static str,
    began: Instant,
    /// When the new leader said of itself that it is not in recovery any more.
    promoted: Instant,
}

#[tokio::main]
async fn main() -> ExitCode {
    stage::ended(demo().await)
}

async fn demo() -> Result<()> {
    let interrupted = stage::watch_signals()?;
    let backend = Backend::local(std::env::var_os("PATH"));
    println!("starting etcd and three servers under Patroni");
    let mut servers = tokio::select! {
        started = Patroni::start(&backend, Replication::Synchronous) => started?,
        () = interrupted.cancelled() => return Err("interrupted".into()),
    };
    let result = tokio::select! {
        result = show(&mut servers, &interrupted) => result,
        () = interrupted.cancelled() => Err("interrupted".into()),
    };
    servers.stop().await?;
    result
}

async fn show(servers: &mut Patroni, interrupted: &CancellationToken) -> Result<()> {
    let names: Vec<_> =
        servers.members().iter().map(|member| (member.name().to_owned(), member.port())).collect();
    let (timeline, mut printer) = Timeline::begin(ROW, names);
    let endpoint = |member: &Member| Ok((member.name().to_owned(), member.url().parse()?));
    let endpoints = servers.members().iter().map(endpoint).collect::<Result<Vec<_>>>()?;
    let cluster = stage::route(endpoints, &timeline).await?;
    let leader = servers.leader().await?;
    let primary = cluster.primary().await?;
    primary.none("CREATE TABLE numbers (number int8 PRIMARY KEY)", &[]).await?;
    let version: String = primary.one("SHOW server_version", &[]).await?;
    drop(primary);
    caught_up(servers, leader).await?;
    println!("PostgreSQL {version} under Patroni: three servers; a commit waits for the synchronous standby");
    stage::introduce("a second");

    let load = Load::begin(&cluster, &timeline, LATE);
    let stage = Stage { cluster, timeline, interrupted: interrupted.clone(), late: LATE };
    let mut play = Play { servers, stage: &stage };
    let played = tokio::select! {
        played = play.run(leader) => played,
        never = printer.print(&stage.cluster) => match never {},
    };
    printer.rest();
    let failovers = played?;
    let (reads, ledger) = load.end().await?;
    printer.rest();
    caught_up(servers, servers.leader().await?).await?;
    report(&reads, stage.timeline.moved(), &ledger, &rows(&stage.cluster).await?)?;
    judge(&failovers, &ledger)
}

async fn caught_up(servers: &Patroni, leader: usize) -> Result<()> {
    for member in (0..servers.members().len()).filter(|member| *member != leader) {
        servers.follows(member, leader).await?;
    }
    Ok(())
}

impl Play<'_> {
    async fn run(&mut self, first: usize) -> Result<[Failover; 2]> {
        self.stage.scene().await?;
        self.stage.timeline.tell("patronictl switchover --force");
        let began = Instant::now();
        // The promotion is over before the command is.
        let ((), (second, promoted)) =
            tokio::try_join!(async { Ok(self.servers.switch_over().await?) }, self.promoted(first))?;
        let switchover = Failover { what: "switchover", began, promoted };
        self.stage.becomes(second, Standing::Primary).await?;
        self.stage.becomes(first, Standing::Replica).await?;
        self.stage.scene().await?;

        let standby = self.servers.synchronous().await?;
        self.stage.timeline.tell(format!("node-{standby} is the synchronous standby by now"));
        self.stage.scene().await?;
        self.stage.timeline.tell(format!("node-{second}, the leader, and its Patroni are killed"));
        let began = Instant::now();
        self.servers.kill(second).await?;
        let (third, promoted) = self.promoted(second).await?;
        let failover = Failover { what: "killed leader", began, promoted };
        self.stage.becomes(third, Standing::Primary).await?;
        self.stage.scene().await?;

        self.stage.timeline.tell(format!("the Patroni of node-{second} is started again"));
        self.servers.revive(second)?;
        self.stage.becomes(second, Standing::Replica).await?;
        self.servers.follows(second, third).await?;
        self.stage.scene().await?;
        self.stage.scene().await?;
        Ok([switchover, failover])
    }

    async fn promoted(&self, old: usize) -> Result<(usize, Instant)> {
        let new = self.servers.promoted(old).await?;
        let at = Instant::now();
        self.stage.timeline.tell(format!("node-{new} is promoted by Patroni"));
        Ok((new, at))
    }
}

/// Prints what each change of the leader cost writers, and says whether it is little enough.
fn judge(failovers: &[Failover], ledger: &Ledger) -> Result<()> {
    let mut complaints = Vec::new();
    for (index, Failover { what, began, promoted }) in failovers.iter().enumerate() {
        let next = failovers.get(index + 1).map(|next| next.began);
        let is_its = |at: &Instant| at >= began && next.is_none_or(|next| *at < next);
        let errors = [&ledger.unknown, &ledger.failed].into_iter().flatten();
        let errors = errors.filter(|(at, _)| is_its(at)).count();
        let times = || ledger.acknowledged.iter().map(|(at, _)| *at);
        let last = times().take_while(|at| at < promoted).last().unwrap_or(*began);
        let Some(first) = times().find(|at| at >= promoted) else {
            return Err(format!("{what}: no write after the promotion").into());
        };
        let (paused, again) = (first - last, first - *promoted);
        println!(
            "{what:<14} writes paused for {:.2} s, and flowed {:.3} s after the promotion; {errors} errors",
            paused.as_secs_f64(),
            again.as_secs_f64()
        );
        if again > FLOW {
            complaints.push(format!("{what}: writes flowed again only {again:?} after the promotion"));
        }
        if errors > WRITERS {
            complaints.push(format!("{what}: {errors} errors for {WRITERS} writers"));
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ").into()) }
}
