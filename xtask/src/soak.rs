//! `cargo xtask soak`: finds or starts a PostgreSQL as `cargo xtask test` does and runs the pool on it for minutes, under load
//! and with its sessions killed. What is done and checked there lives in `crates/db-pool/examples/soak.rs`.

use anyhow::{Result, ensure};
use db_testkit::TestServer;
use tokio::runtime::Runtime;

use crate::test::{Interruption, Kind, backend};
use crate::{cargo, image};

/// Runs the pool for minutes while its sessions are killed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the load lasts
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many tasks share the pool
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Where the PostgreSQL comes from; without it the first that works of: --url, docker, local
    #[arg(long, value_enum)]
    backend: Option<Kind>,
    /// A server that runs already, by the URL of a role that may create databases
    #[arg(long, env = "DB_TEST_URL", hide_env_values = true)]
    url: Option<String>,
}

/// Build and run, which differ in their verb.
const EXAMPLE: [&str; 5] = ["--release", "--package", "db-pool", "--example", "soak"];

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.minutes > 0.0 && args.minutes.is_finite(), "--minutes must be positive");
    let backend = backend(args.backend, args.url.clone(), image::NAME, None)?;
    let runtime = Runtime::new()?;
    // A container is removed on the runtime also when a panic drops it.
    let _entered = runtime.enter();
    let interruption = Interruption::watch(&runtime)?;

    // Before the server starts: it can take minutes, and may fail.
    interruption.run(cargo(&["build"]).args(EXAMPLE))?;

    let server = runtime.block_on(TestServer::start(&backend))?;
    println!("soaking on {}", server.origin());
    let result = soak(args, &runtime, &interruption, &server);
    runtime.block_on(server.stop())?;
    result
}

fn soak(args: &Args, runtime: &Runtime, interruption: &Interruption, server: &TestServer) -> Result<()> {
    let database = runtime.block_on(server.database())?;
    let mut command = cargo(&["run", "--quiet"]);
    command.args(EXAMPLE).arg("--").arg(database.url());
    command.args([args.minutes.to_string(), args.tasks.to_string()]);
    interruption.run(&mut command)
}
