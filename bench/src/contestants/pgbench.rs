//! pgbench, the program that comes with PostgreSQL: 20 clients in C on two threads, each with a connection of its own and
//! never more than one statement on its way. It has no pool, no tasks and no queue, and shows what the protocol used in
//! the ordinary way gives at best.
//!
//! Its own windows are whole seconds, so it gets two of them, in which it warms up as well: the first statement of each
//! session is about one percent of that.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::measure::{self, Sample};
use crate::plan::CONNECTIONS;
use crate::workload::{ROWS, SELECT};

/// Where Debian and its kin keep programs that are not meant for `PATH`.
const FOLDER: &str = "/usr/lib/postgresql";

const SECONDS: &str = "2";

/// The program, and the database for it.
#[derive(Debug)]
pub(crate) struct Pgbench {
    program: PathBuf,
    version: String,
    environment: Vec<(&'static str, String)>,
    script: PathBuf,
}

impl Pgbench {
    /// Looks for it, first beside the newest server on this machine, then in `PATH`. `None` if it is in neither.
    pub(crate) async fn find(url: &str) -> Result<Option<Self>> {
        for program in [installed(Path::new(FOLDER)), Some(PathBuf::from("pgbench"))].into_iter().flatten() {
            let Ok(output) = Command::new(&program).arg("--version").output().await else { continue };
            if output.status.success() {
                let version = String::from_utf8_lossy(&output.stdout).into_owned();
                let version = version.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
                let script = std::env::temp_dir().join(format!("db-bench-{}.sql", std::process::id()));
                std::fs::write(&script, text()).with_context(|| script.display().to_string())?;
                return Ok(Some(Self { program, version, environment: environment(url)?, script }));
            }
        }
        Ok(None)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Selects by primary key for two seconds.
    pub(crate) async fn select(&self) -> Result<Sample> {
        let clients = CONNECTIONS.to_string();
        let output = Command::new(&self.program)
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", SECONDS, "-f"])
            .arg(&self.script)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let (told, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "pgbench failed: {}", complaint.trim());
        let (throughput, average) = figures(&told).with_context(|| format!("pgbench said: {told}"))?;
        Ok(Sample { throughput, latencies: measure::histogram(), average, never_served: 0, pauses: 0.0 })
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        std::fs::remove_file(&self.script).ok();
    }
}

/// The same statement with the same keys, in pgbench's own words.
fn text() -> String {
    format!("\\set id random(1, {ROWS})\n{};\n", SELECT.replace("$1", ":id"))
}

/// The one of the highest version.
fn installed(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten();
    let number = |name: &std::ffi::OsStr| name.to_str().and_then(|name| name.parse::<u32>().ok());
    let mut found: Vec<_> = versions
        .filter_map(|entry| Some((number(&entry.file_name())?, entry.path().join("bin/pgbench"))))
        .filter(|(_, program)| program.is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, program)| program)
}

/// In the environment, where a password is not to be seen by others.
fn environment(url: &str) -> Result<Vec<(&'static str, String)>> {
    let config: Config = url.parse()?;
    let host = match config.get_hosts().first().context("the URL names no host")? {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let mut all = vec![("PGHOST", host), ("PGPORT", port.to_string()), ("PGSSLMODE", "disable".to_owned())];
    all.extend(config.get_user().map(|user| ("PGUSER", user.to_owned())));
    all.extend(config.get_dbname().map(|name| ("PGDATABASE", name.to_owned())));
    let password = config.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
    all.extend(password.map(|password| ("PGPASSWORD", password)));
    Ok(all)
}

/// Transactions per second, and the average latency in nanoseconds.
fn figures(told: &str) -> Option<(f64, f64)> {
    let after = |label: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(label))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some((after("tps = ")?, after("latency average = ")? * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_it_says() {
        let told = "number of failed transactions: 0 (0.000%)\nlatency average = 0.902 ms\n\
                    initial connection time = 32.1 ms\ntps = 22169.184487 (without initial connection time)\n";
        assert_eq!(figures(told), Some((22_169.184_487, 902_000.0)));
        assert_eq!(figures("pgbench: error: connection refused"), None);
    }

    #[test]
    fn the_script_is_the_same_statement() {
        assert_eq!(text(), "\\set id random(1, 100000)\nSELECT n, label FROM items WHERE id = :id;\n");
    }
}
