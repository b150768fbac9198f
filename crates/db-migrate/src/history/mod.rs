//! What was applied, and everything that ever happened: the values. The tables are in `tables`, what is written to them
//! in `write`.

mod prepared;
mod tables;
mod write;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub(crate) use prepared::PreparedRecord;
pub use tables::applied_version;
pub(crate) use tables::{create, create_schema_sql, load, log};
pub(crate) use write::{Change, Reached, Took, amend_sql, begin_run, end_run, literal, progress_sql};

use crate::{Checksum, Direction, Phase, Version};

/// One row of the history: a migration as it stands.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Its version, as its file was named then.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// The checksum of its file.
    pub checksum: Checksum,
    /// The checksum that comments and white space do not change.
    pub loose_checksum: Checksum,
    /// When it was applied, or when its last attempt began.
    pub applied_at: Timestamp,
    /// The role that did it.
    pub applied_by: String,
    /// How long its statements took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// What became of it.
    pub status: RecordStatus,
    /// Where it was going last.
    pub direction: Direction,
    /// How many of its statements are through. Zero for a file that runs in a transaction, unless it is completed.
    pub statement: usize,
    /// How many were begun: one more than are through while one runs that no transaction protects.
    pub attempted: usize,
    /// The loose checksum of the statements that were begun, while it is neither here nor there.
    pub prefix: Option<Checksum>,
    /// The phase that its file declares.
    pub phase: Option<Phase>,
    /// Version of this crate that ran it.
    pub tool: String,
    /// Its last entry in the log, which grows with time: the order of application.
    pub log_id: i64,
}

/// What became of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordStatus {
    /// It is applied.
    Completed,
    /// It was applied and rolled back.
    RolledBack,
    /// Its last attempt failed.
    Failed,
    /// It is being run without a transaction, or that run was cut off.
    Running,
}

/// One entry of the log, which is only ever appended to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// Grows with time.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The entry with which its run began; none for that entry itself.
    pub run: Option<i64>,
    /// What happened.
    pub action: LogAction,
    /// Version of the migration; none for what concerns the run.
    pub version: Option<Version>,
    /// Name of the migration; what was asked for, where a run begins.
    pub name: String,
    /// The checksum of the file.
    pub checksum: Option<Checksum>,
    /// The role that did it.
    pub by: String,
    /// How long it took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// The statement that is meant, from 1: where it failed or goes on.
    pub statement: Option<usize>,
    /// Where and why it failed, or what was found.
    pub error: Option<String>,
    /// Version of this crate that wrote it.
    pub tool: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogAction {
    /// A run began.
    RunStarted,
    /// A run came to its end, whether well or not.
    RunEnded,
    /// An earlier run never came to its end: its process or its connection was gone.
    Interrupted,
    /// A file that runs without a transaction began.
    Started,
    /// A migration was applied.
    Applied,
    /// It was rolled back by its down file.
    RolledBack,
    /// One of its files failed.
    Failed,
    /// It goes on where it was left.
    Resumed,
    /// It was taken as applied without having run.
    Baselined,
    /// Its row was set right by hand.
    Repaired,
}

/// Names as they are in the tables.
const ACTIONS: [(LogAction, &str); 10] = [
    (LogAction::RunStarted, "run_started"),
    (LogAction::RunEnded, "run_ended"),
    (LogAction::Interrupted, "interrupted"),
    (LogAction::Started, "started"),
    (LogAction::Applied, "applied"),
    (LogAction::RolledBack, "rolled_back"),
    (LogAction::Failed, "failed"),
    (LogAction::Resumed, "resumed"),
    (LogAction::Baselined, "baselined"),
    (LogAction::Repaired, "repaired"),
];

const STATUSES: [(RecordStatus, &str); 4] = [
    (RecordStatus::Completed, "completed"),
    (RecordStatus::RolledBack, "rolled_back"),
    (RecordStatus::Failed, "failed"),
    (RecordStatus::Running, "running"),
];

const DIRECTIONS: [(Direction, &str); 2] = [(Direction::Up, "up"), (Direction::Down, "down")];

const PHASES: [(Phase, &str); 3] =
    [(Phase::Expand, "expand"), (Phase::Migrate, "migrate"), (Phase::Contract, "contract")];

impl Record {
    /// Whether the schema has it, be it that a part of it was rolled back already.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        match self.status {
            RecordStatus::Completed => true,
            RecordStatus::RolledBack => false,
            RecordStatus::Failed | RecordStatus::Running => self.direction == Direction::Down,
        }
    }

    /// Where it was going, when it was left on the way: some of its statements took effect and others did not.
    #[must_use]
    pub fn half(&self) -> Option<Direction> {
        let is_open = matches!(self.status, RecordStatus::Failed | RecordStatus::Running);
        (is_open && self.attempted > 0).then_some(self.direction)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(migration: &crate::Migration, status: RecordStatus, log_id: i64) -> Self {
        Self {
            version: migration.version().clone(),
            name: migration.name().to_owned(),
            checksum: migration.up().checksum().clone(),
            loose_checksum: migration.up().loose_checksum().clone(),
            applied_at: Timestamp::UNIX_EPOCH,
            applied_by: "tester".to_owned(),
            duration: Duration::from_millis(1),
            status,
            direction: Direction::Up,
            statement: 0,
            attempted: 0,
            prefix: None,
            phase: None,
            tool: String::new(),
            log_id,
        }
    }
}

impl LogAction {
    fn name(self) -> &'static str {
        name(&ACTIONS, self)
    }
}

pub(crate) fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

pub(crate) fn some_as_millis<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_millis()).serialize(serializer)
}

/// What is said of a file that ran to its end.
pub(crate) fn end(direction: Direction) -> (LogAction, RecordStatus) {
    match direction {
        Direction::Up => (LogAction::Applied, RecordStatus::Completed),
        Direction::Down => (LogAction::RolledBack, RecordStatus::RolledBack),
    }
}

/// The name of a value in one of the tables above, which hold every value.
fn name<T: Copy + PartialEq>(names: &'static [(T, &'static str)], value: T) -> &'static str {
    names.iter().find(|(known, _)| *known == value).map_or("", |(_, name)| name)
}

fn named<T: Copy>(names: &[(T, &str)], text: &str) -> Option<T> {
    names.iter().find(|(_, name)| *name == text).map(|(value, _)| *value)
}
