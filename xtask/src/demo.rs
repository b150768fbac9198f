//! `cargo xtask demo`: shows what the crates do while things fail. What is done and checked there lives in an example of the
//! crate, such as `crates/db-cluster/examples/demo/`; this only builds and runs it.

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::cargo;
use crate::test::Interruption;

/// Shows a failover as it happens
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is shown.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// A primary and two replicas under load: the primary is killed, a replica promoted, the others brought back
    ///
    /// Takes about 15 s, and the PostgreSQL of this machine. Fails when a read failed or an acknowledged write is lost.
    Cluster,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::Cluster => example("db-cluster", "demo"),
    }
}

/// Builds an example and runs it, to its end or an interruption.
pub(crate) fn example(package: &str, name: &str) -> Result<()> {
    let runtime = Runtime::new()?;
    // Signals are watched on it.
    let _entered = runtime.enter();
    let interruption = Interruption::watch(&runtime)?;
    let example = ["--package", package, "--example", name];
    // Apart from running it, which is quiet: it can take minutes.
    interruption.run(cargo(&["build"]).args(example))?;
    interruption.run(cargo(&["run", "--quiet"]).args(example))
}
