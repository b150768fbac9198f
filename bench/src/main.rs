//! Compares db-pool with its peers in one process and one run, on the PostgreSQL at the given URL. Only reads the arguments
//! and puts the parts together; `cargo xtask bench peers` finds the server and calls this.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod contestants;
mod measure;
mod micro;
mod plan;
mod race;
mod report;
mod server;
mod table;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::plan::Plan;
use crate::report::Report;
use crate::server::Server;

/// Compares db-pool with its peers on one PostgreSQL
#[derive(Debug, Parser)]
struct Args {
    /// An empty database in which tables may be made
    url: String,
    /// About a minute and a half instead of a quarter of an hour; for a look, not for a claim
    #[arg(long)]
    quick: bool,
    /// Where the report with all numbers goes, as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/report.json"))]
    report: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let plan = if args.quick { Plan::quick() } else { Plan::full() };
    let runtime = Runtime::new()?;
    let mut report = runtime
        .block_on(async { timeout(plan.limit, on_all_cores(&args.url, &plan)).await })
        .with_context(|| format!("it did not end within {:?}", plan.limit))??;
    drop(runtime);

    // On one thread, where allocations of everything that a contestant does can be counted.
    let single = Builder::new_current_thread().enable_all().build()?;
    report.allocations = micro::allocations(&single, &args.url)?;

    println!("{}", table::markdown(&report));
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(&args.report, json + "\n").with_context(|| args.report.display().to_string())?;
    eprintln!("all numbers: {}", args.report.display());
    Ok(())
}

async fn on_all_cores(url: &str, plan: &Plan) -> Result<Report> {
    let server = Server::prepare(url).await?;
    let races = race::run(url, &server, plan).await?;
    let acquire = micro::acquire(url, &server, plan).await?;
    let observing = micro::observing(url, &server, plan).await?;
    Ok(Report::new(plan, server.version(), &races, acquire, observing))
}
