//! Compares the crates with their peers, and being observed with not being so, each in one process and one run, on the
//! PostgreSQL at the given URL. Only reads the arguments and puts the parts together; `cargo xtask bench` finds the server and
//! calls this.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod contestants;
mod measure;
mod micro;
mod migrate;
mod observe;
mod plan;
mod race;
mod report;
mod server;
mod table;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::plan::Plan;
use crate::report::Report;
use crate::server::Server;

/// Compares the crates with their peers on one PostgreSQL
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// db-pool with other pools
    Peers {
        /// An empty database in which tables may be made
        url: String,
        /// About a minute and a half instead of a quarter of an hour; for a look, not for a claim
        #[arg(long)]
        quick: bool,
        /// Where the report with all numbers goes, as JSON
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/report.json"))]
        report: PathBuf,
    },
    /// db-migrate with other tools
    Migrate {
        /// A database of a server on which databases may be made
        url: String,
        /// Fewer rounds; for a look, not for a claim
        #[arg(long)]
        quick: bool,
        /// Where the report with all numbers goes, as JSON
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/migrate.json"))]
        report: PathBuf,
    },
    /// db-pool without and with those who observe it
    Observe {
        /// An empty database in which tables may be made
        url: String,
        /// Fewer rounds; for a look, not for a claim
        #[arg(long)]
        quick: bool,
        /// Where the report with all numbers goes, as JSON
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/observe.json"))]
        report: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().what {
        What::Peers { url, quick, report } => peers(&url, quick, &report),
        What::Migrate { url, quick, report } => migrate::run(&url, quick, &report),
        What::Observe { url, quick, report } => observe::run(&url, quick, &report),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn peers(url: &str, quick: bool, path: &Path) -> Result<()> {
    let plan = if quick { Plan::quick() } else { Plan::full() };
    let runtime = Runtime::new()?;
    let mut report = runtime
        .block_on(async { timeout(plan.limit, on_all_cores(url, &plan)).await })
        .with_context(|| format!("it did not end within {:?}", plan.limit))??;
    drop(runtime);

    // On one thread, where allocations of everything that a contestant does can be counted.
    let single = Builder::new_current_thread().enable_all().build()?;
    report.allocations = micro::allocations(&single, url)?;

    println!("{}", table::markdown(&report));
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(path, json + "\n").with_context(|| path.display().to_string())?;
    eprintln!("all numbers: {}", path.display());
    Ok(())
}

async fn on_all_cores(url: &str, plan: &Plan) -> Result<Report> {
    let server = Server::prepare(url).await?;
    let races = race::run(url, &server, plan).await?;
    let acquire = micro::acquire(url, &server, plan).await?;
    let observing = micro::observing(url, &server, plan).await?;
    Ok(Report::new(plan, server.version(), &races, acquire, observing))
}
