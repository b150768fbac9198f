//! `cargo xtask patroni`: three servers under Patroni on this machine, to try things by hand, until Ctrl-C. How they are started
//! and ended is in `db-testkit`; what `demo` shows is an example of `db-cluster`.

use anyhow::Result;
use db_testkit::{Backend, Patroni, Replication};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo;

/// Runs three servers under Patroni, and an etcd, on this machine until Ctrl-C
///
/// Needs the packages patroni and etcd-server, and the PostgreSQL of this machine. Nothing is left when it ends.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Commits do not wait for a standby, so that some are lost with the leader
    #[arg(long)]
    asynchronous: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Shows a switchover, a killed leader and its return under load, and checks what callers were told
    ///
    /// Takes about a minute. Fails when a read failed, an acknowledged write is lost, or writes flow again too late.
    Demo,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        Some(What::Demo) => demo::example("db-cluster", "patroni"),
        None if args.asynchronous => Runtime::new()?.block_on(serve(Replication::Asynchronous)),
        None => Runtime::new()?.block_on(serve(Replication::Synchronous)),
    }
}

async fn serve(replication: Replication) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(ended);
    println!("starting etcd and three servers under Patroni");
    let backend = Backend::local(std::env::var_os("PATH"));
    let servers = tokio::select! {
        started = Patroni::start(&backend, replication) => started?,
        () = &mut ended => return Ok(()),
    };
    show(&servers);
    ended.await;
    println!("ending all");
    Ok(servers.stop().await?)
}

fn show(servers: &Patroni) {
    println!();
    for member in servers.members() {
        let (name, port, rest) = (member.name(), member.port(), member.rest());
        println!("{name}  PostgreSQL 127.0.0.1:{port}  REST http://127.0.0.1:{rest}/cluster");
        println!("        log {}", member.log().display());
    }
    let replicas: Vec<_> = servers.members().iter().map(|member| member.url()).collect();
    println!();
    println!("for a service:");
    println!("export DATABASE_URL='{}'", servers.url());
    println!("export DATABASE_REPLICA_URL='{}'", replicas.join(" "));
    println!();
    println!("to look at it, and to move the leader:");
    println!("{} list", servers.control());
    println!("{} switchover --force", servers.control());
    println!();
    println!("Ctrl-C ends all and removes their data");
}
