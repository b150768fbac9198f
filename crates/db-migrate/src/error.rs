//! The errors of this crate: what it was doing, around the layer's own error for what the server or the connection said.

use std::time::Duration;

use db_core::{Phase, SqlState};

use crate::transaction::Failure;
use crate::{Direction, PlanError, PlannedStep, SourceError, Version};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why migrations did not run, or one of them failed.
///
/// The text says what was being done; [`source`](std::error::Error::source) says what the server answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files are not in order. Nothing has run.
    #[error(transparent)]
    Source(#[from] SourceError),

    /// Files and history do not allow what was asked for. Nothing has run.
    #[error(transparent)]
    Plan(#[from] PlanError),

    /// Another runner held the lock for too long. Nothing has run.
    #[error("waited {:.1} s for another migration run to end{}", waited.as_secs_f64(), held_by(.holder.as_ref()))]
    Locked {
        /// How long it was waited for.
        waited: Duration,
        /// Who held it at the end, if that was visible.
        holder: Option<Holder>,
    },

    /// The lock was gone at the end: another runner may have run at the same time.
    #[error(
        "the migration lock was lost on the way (server process {before} took it, {after} should release it): connect to \
         the server directly, a pooler in between may change the session"
    )]
    LockLost {
        /// Server process that took the lock.
        before: i32,
        /// Server process at the end.
        after: i32,
    },

    /// A migration failed and was rolled back; what ran before it stays.
    #[error("{file}{} failed{}", colon(*.line), reason(.hint.as_deref()))]
    Failed {
        /// The file.
        file: String,
        /// Its version.
        version: Version,
        /// Where it was going.
        direction: Direction,
        /// The line, unless the failure belongs to no statement.
        line: Option<u32>,
        /// What helps, for failures that many run into.
        hint: Option<String>,
        /// What the server said.
        source: db_core::Error,
    },

    /// Something around the migrations failed.
    #[error("could not {doing}")]
    Database {
        /// What was being done.
        doing: String,
        /// What the server said.
        source: db_core::Error,
    },

    /// The role may not create the scratch database that verification needs.
    #[error(
        "verification replays the migrations in a scratch database, which role {role} may not create; \
         grant it with: ALTER ROLE {role} CREATEDB"
    )]
    MayNotCreateDatabase {
        /// The role.
        role: String,
        /// What the server said.
        source: db_core::Error,
    },

    /// A row of the history is not one of ours.
    #[error("{table} holds a row that this program did not write: {reason}")]
    History {
        /// The table.
        table: String,
        /// What is wrong with the row.
        reason: String,
    },
}

/// The session that holds the migration lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its server process.
    pub pid: i32,
    /// Its `application_name`; empty when it gave none or may not be seen.
    pub application: String,
    /// Its role, when it may be seen.
    pub user: Option<String>,
}

impl Error {
    /// The layer's error beneath, with kind, outcome and advice, when the server or the connection is the cause.
    #[must_use]
    pub fn database(&self) -> Option<&db_core::Error> {
        match self {
            Self::Failed { source, .. }
            | Self::Database { source, .. }
            | Self::MayNotCreateDatabase { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Turns the layer's error into one that says what was being done.
    pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(db_core::Error) -> Self {
        |source| Self::Database { doing: what.into(), source }
    }
}

impl Failure {
    /// The failure with the file it belongs to.
    pub(crate) fn into_error(self, step: &PlannedStep<'_>) -> Error {
        let Self { line, source } = self;
        Error::Failed {
            file: step.file.to_owned(),
            version: step.version.clone(),
            direction: step.direction,
            line,
            hint: hint(&source).map(str::to_owned),
            source,
        }
    }
}

/// A clear sentence for what the server's text leaves open.
fn hint(error: &db_core::Error) -> Option<&'static str> {
    if error.phase() == Phase::Commit && error.outcome() == db_core::Outcome::Unknown {
        return Some(
            "the connection was lost while it was committed, so ask for the status before anything else",
        );
    }
    match error.sqlstate()? {
        SqlState::LOCK_NOT_AVAILABLE => Some(
            "a table that it needs is in use; nothing was changed, run again or allow a longer lock_timeout",
        ),
        code if code.as_str() == "25001" => {
            Some("this statement cannot run in a transaction, and every file runs in one")
        }
        _ => None,
    }
}

fn held_by(holder: Option<&Holder>) -> String {
    let Some(Holder { pid, application, user }) = holder else {
        return String::new();
    };
    let user = user.as_deref().map(|user| format!(" of {user}")).unwrap_or_default();
    let application = if application.is_empty() { String::new() } else { format!(", {application:?}") };
    format!("; the lock is held by server process {pid}{user}{application}")
}

fn colon(line: Option<u32>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn reason(hint: Option<&str>) -> String {
    hint.map(|hint| format!(": {hint}")).unwrap_or_default()
}
