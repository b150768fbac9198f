//! `cargo xtask bench`: finds or starts a PostgreSQL as `cargo xtask test` does and compares the crates with their peers on
//! it. What is compared lives in `bench/`, a workspace of its own that this only builds and runs.

use std::path::PathBuf;

use anyhow::Result;
use db_testkit::TestServer;
use tokio::runtime::Runtime;

use crate::test::{Interruption, Kind, backend};
use crate::{cargo, image};

/// Runs a comparison
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is compared.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Throughput, latency and memory against deadpool-postgres, bb8-postgres, sqlx, diesel-async and pgbench
    Peers {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        options: Options,
    },
    /// A thousand migrations against sqlx and refinery; status, splitting, and migration 001 for itself
    Migrate(Options),
    /// What the log, metrics and spans cost the throughput
    Observe(Options),
}

/// What of a comparison is run.
#[derive(Debug, Default, clap::Args)]
struct Part {
    /// Only what has this text in its title, as in the headings of the tables
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// So many rounds of each race
    #[arg(long)]
    rounds: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// About a tenth of the time; for a look, not for a claim
    #[arg(long)]
    quick: bool,
    /// Where the report with all numbers goes, as JSON [default: bench/report.json, bench/migrate.json,
    /// bench/observe.json]
    #[arg(long)]
    report: Option<PathBuf>,
    /// Where the PostgreSQL comes from; without it the first that works of: --url, docker, local
    #[arg(long, value_enum)]
    backend: Option<Kind>,
    /// A server that runs already, by the URL of a role that may create databases
    #[arg(long, env = "DB_TEST_URL", hide_env_values = true)]
    url: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let whole = Part::default();
    let (what, part, args) = match &args.what {
        What::Peers { part, options } => ("peers", part, options),
        What::Migrate(options) => ("migrate", &whole, options),
        What::Observe(options) => ("observe", &whole, options),
    };
    let backend = backend(args.backend, args.url.clone(), image::NAME, None)?;
    let runtime = Runtime::new()?;
    // A container is removed on the runtime also when a panic drops it.
    let _entered = runtime.enter();
    let interruption = Interruption::watch(&runtime)?;

    // Before the server starts: it can take minutes, and may fail.
    interruption.run(&mut cargo(&["build", "--release", "--manifest-path", "bench/Cargo.toml"]))?;

    let server = runtime.block_on(TestServer::start(&backend))?;
    println!("measuring on {}", server.origin());
    let result = measure(what, part, args, &runtime, &interruption, &server);
    runtime.block_on(server.stop())?;
    result
}

fn measure(
    what: &str,
    part: &Part,
    args: &Options,
    runtime: &Runtime,
    interruption: &Interruption,
    server: &TestServer,
) -> Result<()> {
    let database = runtime.block_on(server.database())?;
    let mut command = cargo(&["run", "--release", "--quiet", "--manifest-path", "bench/Cargo.toml", "--"]);
    command.arg(what).arg(database.url());
    if args.quick {
        command.arg("--quick");
    }
    if let Some(only) = &part.only {
        command.arg("--only").arg(only);
    }
    if let Some(rounds) = part.rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(report) = &args.report {
        command.arg("--report").arg(std::path::absolute(report)?);
    }
    interruption.run(&mut command)
}
