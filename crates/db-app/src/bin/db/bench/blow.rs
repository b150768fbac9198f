//! The faults that a bench makes on purpose: the server ends the sessions of the pool, or the server itself is killed. Only a
//! server that this process runs is killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use db_app::Database;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

/// A fault.
#[derive(Clone, Debug)]
pub(super) enum Blow {
    /// Every session with this `application_name` is ended by the server, which is what clients see of a restart.
    Sessions(String),
    /// The server with its data in this folder is killed, and started again by who runs it.
    Restart(PathBuf),
}

/// How long the server may take to come back.
const LIMIT: Duration = Duration::from_secs(60);

impl Blow {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sessions(_) => "sessions ended",
            Self::Restart(_) => "restart",
        }
    }

    /// Makes the fault, and waits until nothing but the layer stands in the way of working again; gives what was done, in words.
    pub(super) async fn strike(&self, database: &Database) -> Result<String> {
        match self {
            Self::Sessions(name) => {
                let aside = database.connect_aside("bench", None).await?;
                let row = aside
                    .query_one(
                        "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
                         WHERE application_name = $1 AND usename = current_user AND datname = current_database()",
                        &[name],
                    )
                    .await?;
                let count: i64 = row.try_get(0)?;
                Ok(format!("the server ended the {count} sessions of the pool"))
            }
            Self::Restart(data) => {
                let before =
                    postmaster(data).ok_or_else(|| anyhow!("no server runs in {}", data.display()))?;
                kill(before.pid, Signal::SIGKILL).context("cannot kill the server")?;
                let back = async {
                    // Nothing tells of a file that changes.
                    while !postmaster(data).is_some_and(|now| now.pid != before.pid && now.is_ready) {
                        sleep(Duration::from_millis(10)).await;
                    }
                };
                let returned = timeout(LIMIT, back).await;
                returned.with_context(|| format!("the server was not started again within {LIMIT:?}"))?;
                Ok(format!("the server, process {}, was killed (SIGKILL)", before.pid))
            }
        }
    }
}

struct Postmaster {
    pid: Pid,
    is_ready: bool,
}

/// What `postmaster.pid` says: the process in its first line, how far it is in its eighth.
fn postmaster(data: &Path) -> Option<Postmaster> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)?;
    Some(Postmaster { pid, is_ready: lines.nth(6).is_some_and(|line| line.trim() == "ready") })
}
