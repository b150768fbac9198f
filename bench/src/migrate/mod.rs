//! Compares db-migrate with sqlx and refinery, and measures what only db-migrate has. Only puts the parts together: what
//! runs is in `workload`, how each tool is driven in `tools`, the clock in `measure`, the figures in `report`.

mod measure;
mod report;
mod server;
mod tools;
mod workload;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::migrate::report::Report;
use crate::migrate::server::Server;

/// How often everything is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    /// Rounds in which each tool migrates a fresh database. A multiple of three lets each have each place equally often.
    rounds: usize,
    /// How often the state of a migrated database is read in each round.
    reads: usize,
    /// How often the large file is split.
    splits: usize,
    /// How often migration 001 goes up, is verified and goes down, each time in a fresh database.
    cycles: usize,
    /// The whole run is given up after this.
    limit: Duration,
}

const QUICK: Plan =
    Plan { name: "quick", rounds: 3, reads: 5, splits: 5, cycles: 5, limit: Duration::from_secs(3 * 60) };

const FULL: Plan =
    Plan { name: "full", rounds: 9, reads: 15, splits: 15, cycles: 21, limit: Duration::from_secs(15 * 60) };

pub(crate) fn run(url: &str, quick: bool, report: &Path) -> Result<()> {
    let plan = if quick { QUICK } else { FULL };
    let measured = Runtime::new()?
        .block_on(async { timeout(plan.limit, measure(url, &plan)).await })
        .with_context(|| format!("it did not end within {:?}", plan.limit))??;
    println!("{}", measured.markdown());
    let json = serde_json::to_string_pretty(&measured)?;
    std::fs::write(report, json + "\n").with_context(|| report.display().to_string())?;
    eprintln!("all numbers: {}", report.display());
    Ok(())
}

async fn measure(url: &str, plan: &Plan) -> Result<Report> {
    let server = Server::connect(url).await?;
    let many = measure::many(&server, plan).await?;
    let split = measure::split(plan)?;
    let first = measure::first(&server, plan).await?;
    Ok(Report::new(plan, server.version(), &many, &split, &first))
}
