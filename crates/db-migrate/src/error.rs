//! The errors of this crate: what it was doing, around the layer's own error for what the server or the connection said.

use std::time::Duration;

use db_core::{Phase, SqlState};

use crate::transaction::{Failure, FailureCause};
use crate::{Blocker, Direction, HistoryTable, PlanError, PlannedStep, SeedError, SourceError, Version};

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

    /// The lease was gone: another runner may have begun, so what was under way was rolled back.
    #[error(
        "the migration lease was lost on the way: it was not renewed in time, and another runner may have begun; allow a \
         longer time or give the migrator a watcher"
    )]
    LeaseLost,

    /// Nothing can be written here. Nothing has run.
    #[error("{}", read_only(*.is_standby))]
    ReadOnly {
        /// Whether the server is a standby; otherwise it is set to read only.
        is_standby: bool,
    },

    /// A file runs without a transaction, and the lock is a lease. Nothing has run.
    #[error(
        "{file} runs without a transaction, which needs a session of its own: connect to the server directly and use \
         the session lock instead of the lease"
    )]
    NeedsSession {
        /// The file.
        file: String,
    },

    /// An index was left unfinished by somebody, and another session still works on its table.
    #[error(
        "index {index} is not valid, and server process {pid} works on its table: it may still be building it"
    )]
    IndexInUse {
        /// The index.
        index: String,
        /// The server process.
        pid: i32,
    },

    /// The server said that an index is built, and it is not valid.
    #[error("index {index} was built and is not valid or not there: somebody interfered")]
    IndexInvalid {
        /// The index.
        index: String,
    },

    /// What is in the way of a repair.
    #[error("migration {version} cannot be repaired: {reason}")]
    Repair {
        /// The version.
        version: Version,
        /// Why not.
        reason: String,
    },

    /// A migration failed. One that runs in a transaction was rolled back; what ran before it stays.
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

    /// Seeds are not in order, or one of them does more when it runs again. Nothing is left of it.
    #[error(transparent)]
    Seed(#[from] SeedError),
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
            | Self::MayNotCreateDatabase { source, .. }
            | Self::Seed(SeedError::FailsAgain { source, .. }) => Some(source),
            _ => None,
        }
    }

    pub(crate) fn creating_history(table: &HistoryTable) -> impl FnOnce(db_core::Error) -> Self + use<> {
        let table = table.to_string();
        let hint = "; the role that migrates needs CREATE on the schema, or name another table";
        move |source: db_core::Error| {
            let hint = if source.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE) { hint } else { "" };
            Self::Database { doing: format!("create the history table {table}{hint}"), source }
        }
    }

    /// Turns the layer's error into one that says what was being done.
    pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(db_core::Error) -> Self {
        |source| Self::Database { doing: what.into(), source }
    }
}

impl Failure {
    /// The failure with the file it belongs to.
    pub(crate) fn into_error(self, step: &PlannedStep<'_>, blockers: &[Blocker]) -> Error {
        self.in_file(step.file, step.version, step.direction, blockers)
    }

    /// The failure with the file it belongs to, which need not be a migration's.
    pub(crate) fn in_file(
        self,
        file: &str,
        version: &Version,
        direction: Direction,
        blockers: &[Blocker],
    ) -> Error {
        let source = match self.cause {
            FailureCause::Runner(error) => return *error,
            FailureCause::Database(source) => source,
        };
        let hint = match (source.sqlstate(), blockers) {
            (Some(SqlState::LOCK_NOT_AVAILABLE), [blocker, ..]) => {
                Some(format!("a table that it needs is in use by {blocker}; run again when that is over"))
            }
            _ => hint(&source).map(str::to_owned),
        };
        Error::Failed {
            file: file.to_owned(),
            version: version.clone(),
            direction,
            line: self.line,
            hint,
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
            "a table that it needs is in use; run again when that is over, or allow a longer lock_timeout",
        ),
        code if code.as_str() == "25001" => {
            Some("this statement cannot run in a transaction; say `-- no-transaction` at the top of the file")
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

fn read_only(is_standby: bool) -> &'static str {
    if is_standby {
        "this server is a standby, which cannot be migrated: connect to the primary"
    } else {
        "this server is set to read only (default_transaction_read_only): connect to one that may be written"
    }
}

fn colon(line: Option<u32>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn reason(hint: Option<&str>) -> String {
    hint.map(|hint| format!(": {hint}")).unwrap_or_default()
}
