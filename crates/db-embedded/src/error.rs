//! The one error of this crate. It names paths, settings and process ids, and never holds the password.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::Installation;

/// Why a PostgreSQL could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL is installed in any of the places that were searched.
    #[error("no PostgreSQL found (tried {}); {hint}", list(.tried))]
    NotInstalled {
        /// Folders and patterns that were searched.
        tried: Vec<PathBuf>,
        /// What helps on this machine.
        hint: String,
    },

    /// The data folder belongs to a major version that is not installed. Nothing was changed.
    #[error(
        "{} was made by PostgreSQL {major}, which is not installed (found {})",
        folder.display(), versions(.found)
    )]
    WrongMajor {
        /// The data folder.
        folder: PathBuf,
        /// The content of its `PG_VERSION`.
        major: String,
        /// What is installed instead.
        found: Vec<Installation>,
    },

    /// None is installed, and the download of a known build failed as well.
    #[error("no PostgreSQL found (tried {}) and the download from {url} failed: {reason}; {hint}", list(.tried))]
    Download {
        /// Folders and patterns that were searched first.
        tried: Vec<PathBuf>,
        /// Where the build should have come from.
        url: String,
        /// What went wrong.
        reason: String,
        /// What helps on this machine.
        hint: String,
    },

    /// A setting has a value that cannot be used.
    #[error("{name} is {value:?}, accepted is {accepted}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What would be accepted.
        accepted: &'static str,
    },

    /// We are root, and there is no unprivileged user to run PostgreSQL as.
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")]
    NoUser,

    /// We are root, and the user that runs PostgreSQL cannot enter a folder it needs.
    #[error(
        "user {user} cannot enter {}: {} does not let it in (chmod o+x, or choose a folder elsewhere)",
        folder.display(), blocked_by.display()
    )]
    Unreachable {
        /// The user that PostgreSQL runs as.
        user: String,
        /// The folder it needs.
        folder: PathBuf,
        /// The outermost folder that keeps it out.
        blocked_by: PathBuf,
    },

    /// There is something in the place of the data folder, but no database.
    #[error("{} is not empty and holds no database (no PG_VERSION)", folder.display())]
    NotData {
        /// The data folder.
        folder: PathBuf,
    },

    /// Making a new database failed.
    #[error("cannot initialise {}: {program} ended with {status}: {log}", folder.display())]
    Initialise {
        /// The folder of the server.
        folder: PathBuf,
        /// `initdb`, or `postgres` in single-user mode.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The relevant lines of its output.
        log: String,
    },

    /// PostgreSQL ended before it was ready.
    #[error("PostgreSQL in {} ended while starting ({status}): {log}", folder.display())]
    Ended {
        /// The folder of the server.
        folder: PathBuf,
        /// How its supervisor ended, with the status of PostgreSQL.
        status: ExitStatus,
        /// The relevant lines of its log.
        log: String,
    },

    /// PostgreSQL was not ready in time; it was stopped again.
    #[error("PostgreSQL in {} was not ready after {:.1} s: {log}", folder.display(), waited.as_secs_f64())]
    StartTimeout {
        /// The folder of the server.
        folder: PathBuf,
        /// How long it was waited for.
        waited: Duration,
        /// The relevant lines of its log.
        log: String,
    },

    /// Every port that was tried is used by another process.
    #[error("cannot listen on 127.0.0.1, port {} in use", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))]
    PortInUse {
        /// The ports that were tried.
        ports: Vec<u16>,
    },

    /// Another process owns the folder, and its server did not get ready in time.
    #[error(
        "{} is in use by process {}, whose PostgreSQL was not ready after {:.1} s",
        folder.display(), owner.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()), waited.as_secs_f64()
    )]
    OwnerNotReady {
        /// The folder of the server.
        folder: PathBuf,
        /// The process that holds the lock, as far as it has said so.
        owner: Option<u32>,
        /// How long it was waited for.
        waited: Duration,
    },

    /// A PostgreSQL that we did not start runs on the data folder.
    #[error("a PostgreSQL that was started by other means runs on {} (process {pid}); stop it by: {command}", folder.display())]
    Foreign {
        /// The data folder.
        folder: PathBuf,
        /// Process id of its postmaster.
        pid: u32,
        /// The command that stops it.
        command: String,
    },

    /// A left-over PostgreSQL, or one that was told to stop, is still there.
    #[error("PostgreSQL on {} (process {pid}) is still running {:.1} s after it was told to stop", folder.display(), waited.as_secs_f64())]
    StillRunning {
        /// The data folder.
        folder: PathBuf,
        /// Process id of its postmaster.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
    },

    /// Only the owner of a server can halt, resume or renew it.
    #[error("cannot {operation} the PostgreSQL in {}: it belongs to another owner", folder.display())]
    Attached {
        /// `halt`, `resume` or `renew`.
        operation: &'static str,
        /// The folder of the server.
        folder: PathBuf,
    },

    /// A file, folder or program could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes an [`Error::Io`] of an [`io::Error`], for `map_err`.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn versions(found: &[Installation]) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let one = |it: &Installation| format!("{} in {}", it.version, it.bin_dir.display());
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}
