//! Compares the crates with their peers, and being observed with not being so, each in one process and one run, on the
//! PostgreSQL at the given URL. Only reads the arguments and puts the parts together; `cargo xtask bench` finds the server and
//! calls this.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod contestants;
mod course;
mod delay;
mod distance;
mod measure;
mod micro;
mod migrate;
mod observe;
mod plan;
mod race;
mod report;
mod server;
mod table;
mod verdict;
mod waiting;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::contestants::Pgbench;
use crate::course::{Choice, Part, Way};
use crate::delay::DelayLine;
use crate::plan::Plan;
use crate::race::Ground;
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
        /// Under 3 minutes instead of under 20; for a look, not for a claim
        #[arg(long)]
        quick: bool,
        /// Only what has this text in its title, as in the headings of the tables
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// So many rounds of each race
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: Option<u32>,
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
        What::Peers { url, quick, only, rounds, report } => {
            let plan = if quick { Plan::quick() } else { Plan::full() };
            let plan = rounds.map_or(plan, |rounds| plan.with_rounds(rounds as usize));
            Choice::new(only).and_then(|choice| peers(&url, &plan, &choice, &report))
        }
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

fn peers(url: &str, plan: &Plan, choice: &Choice, path: &Path) -> Result<()> {
    let runtime = Runtime::new()?;
    let mut report = runtime
        .block_on(async { timeout(plan.limit, on_all_cores(url, plan, choice)).await })
        .with_context(|| format!("it did not end within {:?}", plan.limit))??;
    drop(runtime);

    // On one thread, where allocations of everything that a contestant does can be counted.
    let single = Builder::new_current_thread().enable_all().build()?;
    if choice.has_part(Part::Allocations) {
        report.allocations = micro::allocations(&single, url)?;
    }
    if choice.has_part(Part::Waiting) {
        report.waiting = waiting::memory(&single, url)?;
    }
    report.verdicts = verdict::all(&report);

    println!("{}", table::markdown(&report));
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(path, json + "\n").with_context(|| path.display().to_string())?;
    eprintln!("all numbers: {}", path.display());
    Ok(())
}

async fn on_all_cores(url: &str, plan: &Plan, choice: &Choice) -> Result<Report> {
    let server = Server::prepare(url).await?;
    let pgbench = Pgbench::find(url).await?;
    if pgbench.is_none() {
        eprintln!("pgbench is not on this machine: it goes on without");
    }
    let courses = choice.courses();
    let is_far = courses.iter().any(|course| course.way == Way::Far);
    let line = is_far.then(|| DelayLine::start(url, distance::ROUND_TRIP)).transpose()?;
    let distance = match &line {
        Some(line) => Some(distance::measure(url, line.url()).await?),
        None => None,
    };
    server.wait_until_alone().await?;
    let ground = Ground { url, line: line.as_ref(), server: &server, pgbench: pgbench.as_ref() };
    let races = race::run(&ground, plan, &courses).await?;
    let mut report = Report::new(plan, server.version(), pgbench.as_ref().map(Pgbench::version), &races);
    report.distance = distance;
    if choice.has_part(Part::Acquire) {
        report.acquire = micro::acquire(url, &server, plan).await?;
    }
    if choice.has_part(Part::Observing) {
        report.observing = Some(micro::observing(url, &server, plan).await?);
    }
    Ok(report)
}
