//! `cargo xtask fault`: the fault tests for as long as one likes, and a table of what came of each. What is done and asserted
//! lives in `tests/retry/`; this says how long, on which server, and prints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use db_testkit::{Backend, TestServer};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::cuts::{self, Cut};
use crate::routed::{self, Routed};
use crate::test::{Interruption, Kind, backend};
use crate::{cargo, image};

/// The faults by the names of this command, with their tests.
const FAULTS: [(&str, &str); 19] = [
    ("lost-commit", "retry::faults::a_lost_commit"),
    ("lost-acknowledgement", "retry::faults::a_lost_acknowledgement"),
    ("every-byte", "retry::faults::a_reset_at_every_byte"),
    ("batch-commit", "retry::faults::a_batch_whose_commit_is_lost"),
    ("batch-acknowledgement", "retry::faults::a_batch_whose_acknowledgement_is_lost"),
    ("batch-every-byte", "retry::faults::a_reset_at_every_byte_of_a_batch"),
    ("terminate", "retry::faults::a_storm_of_terminations"),
    ("lanes", "retry::faults::a_storm_on_lanes"),
    ("serialization", "retry::faults::serialization_conflicts"),
    ("deadlock", "retry::faults::deadlocks"),
    ("kill", "retry::local::a_killed_session"),
    ("restart", "retry::own_server::a_restart"),
    ("crash", "retry::own_server::a_restart_at_once"),
    ("batch-crash", "retry::own_server::batches_and_a_restart_at_once"),
    ("freeze", "retry::own_server::a_frozen_server"),
    ("no-connections", "retry::own_server::no_connection_is_left"),
    ("password", "retry::own_server::a_new_password"),
    ("connection-storm", "retry::storm::a_storm_of_connections"),
    ("retry-storm", "retry::storm::a_storm_of_retries"),
];

/// Runs the database under load while something goes wrong, and compares what callers were told with what it holds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this fault
    name: Option<String>,
    /// How long all of them together last
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Where the PostgreSQL comes from; without it the first that works of: --url, docker, local
    #[arg(long, value_enum)]
    backend: Option<Kind>,
    /// A server that runs already, by the URL of a role that may create databases
    #[arg(long, env = "DB_TEST_URL", hide_env_values = true)]
    url: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.minutes > 0.0 && args.minutes.is_finite(), "--minutes must be positive");
    let chosen = chosen(args.name.as_deref())?;
    let backend = backend(args.backend, args.url.clone(), image::NAME, None)?;
    let tests: Vec<_> = chosen.into_iter().filter(|test| can_run(test, &backend)).collect();
    ensure!(!tests.is_empty(), "this fault needs a server that can be stopped: --backend local");
    let runtime = Runtime::new()?;
    // A container is removed on the runtime also when a panic drops it.
    let _entered = runtime.enter();
    let interruption = Interruption::watch(&runtime)?;

    // Before the server starts: it can take minutes, and may fail.
    interruption.run(cargo(&TESTS).arg("--no-run"))?;

    let server = runtime.block_on(TestServer::start(&backend))?;
    println!("testing on {}", server.origin());
    let reports = Reports::new();
    let seconds = args.minutes * 60.0 / tests.len() as f64;
    let mut command = cargo(&TESTS);
    command.args(["--", "--exact", "--test-threads", "1"]).args(&tests);
    command.env("DB_TEST_URL", server.url()).env("DB_FAULT_SECONDS", seconds.to_string());
    command.env(REPORT, reports.path());
    match &backend {
        Backend::Docker(image) => command.env("DB_TEST_IMAGE", image),
        _ => command.env_remove("DB_TEST_IMAGE"),
    };
    let result = interruption.run(&mut command);
    reports.print()?;
    runtime.block_on(server.stop())?;
    result
}

const TESTS: [&str; 5] = ["test", "--package", "db-tests", "--test", "db"];

/// Names the file that the tests append to.
pub(crate) const REPORT: &str = "DB_FAULT_REPORT";

/// The tests of one fault, or of all.
fn chosen(name: Option<&str>) -> Result<Vec<&'static str>> {
    let Some(name) = name else { return Ok(FAULTS.iter().map(|(_, test)| *test).collect()) };
    match FAULTS.iter().find(|(known, _)| *known == name) {
        Some((_, test)) => Ok(vec![test]),
        None => bail!("no fault is called {name}: {}", FAULTS.map(|(known, _)| known).join(", ")),
    }
}

fn can_run(test: &str, backend: &Backend) -> bool {
    let is_local = matches!(backend, Backend::Local(_));
    (is_local || !test.contains("local::")) && (backend.can_start_servers() || !test.contains("own_server::"))
}

/// Where the tests of one run write what came of them.
#[derive(Debug)]
pub(crate) struct Reports(PathBuf);

impl Reports {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("db-faults-{}.jsonl", std::process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Prints a table for each kind of report, if there is anything in it.
    pub(crate) fn print(&self) -> Result<()> {
        let Ok(text) = std::fs::read_to_string(&self.0) else { return Ok(()) };
        let (mut faults, mut runs, mut cases) = (Vec::new(), Vec::new(), Vec::new());
        for line in text.lines() {
            match serde_json::from_str(line).context("a report")? {
                Line::Cut(cut) => runs.push(cut),
                Line::Routed(case) => cases.push(case),
                Line::Fault(report) => faults.push(report),
            }
        }
        print!("{}{}{}", table(&faults), cuts::table(&runs), routed::table(&cases));
        Ok(())
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // Nothing was written if no such test ran.
        std::fs::remove_file(&self.0).ok();
    }
}

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Cut(Cut),
    Routed(Routed),
    Fault(Report),
}

/// What a test says. What it does not say does not apply to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    fault: String,
    calls: Option<u64>,
    fired: Option<u64>,
    retries: Option<u64>,
    unknown: Option<u64>,
    committed: Option<u64>,
    rolled_back: Option<u64>,
    lost: Option<u64>,
    doubled: Option<u64>,
    unresolved: Option<u64>,
    over_percent: Option<f64>,
    again_seconds: Option<f64>,
}

const HEAD: &str = "\
| fault | calls | faults | retries | unknown | committed | rolled back | lost | doubled | unresolved | over deadline | writes again |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

fn table(reports: &[Report]) -> String {
    let number = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
    let rows = reports.iter().map(|report| {
        let counts = [
            report.calls,
            report.fired,
            report.retries,
            report.unknown,
            report.committed,
            report.rolled_back,
            report.lost,
            report.doubled,
            report.unresolved,
        ];
        let over = report.over_percent.map_or("–".to_owned(), |percent| format!("{percent:.1} %"));
        let again = report.again_seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.2} s"));
        format!("| {} | {} | {over} | {again} |\n", report.fault, counts.map(number).join(" | "))
    });
    if reports.is_empty() { String::new() } else { HEAD.to_owned() + &rows.collect::<String>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fault_is_told_the_known_ones() {
        assert_eq!(chosen(Some("kill")).expect("known"), ["retry::local::a_killed_session"]);
        assert_eq!(chosen(None).expect("all").len(), FAULTS.len());
        let error = chosen(Some("fire")).expect_err("unknown").to_string();
        assert!(error.starts_with("no fault is called fire: lost-commit, "), "{error}");
    }

    #[test]
    fn a_table_of_reports() {
        let line = r#"{"fault": "a", "calls": 7, "fired": 2, "over_percent": 1.25, "acknowledged": 5}"#;
        let report = serde_json::from_str(line).expect("valid");
        let expect = "| a | 7 | 2 | – | – | – | – | – | – | – | 1.2 % | – |\n";
        assert_eq!(table(&[report]), HEAD.to_owned() + expect);
        assert_eq!(table(&[]), "");
    }
}
