//! Where each migration stands, from history and files. Pure; it reads and writes nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::history::some_as_millis;
use crate::plan::{applied, late_for};
use crate::{Direction, Migrations, Phase, Record, RecordStatus, Version};

/// Where all migrations stand, oldest version first.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// One entry per migration, with or without a file.
    pub migrations: Vec<MigrationStatus>,
}

/// Where one migration stands.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Whether it has a down file.
    pub reversible: bool,
    /// When it was last applied.
    pub applied_at: Option<Timestamp>,
    /// The role that applied it.
    pub applied_by: Option<String>,
    /// The phase that it declares.
    pub phase: Option<Phase>,
    /// How many of its statements took effect, when that is not all or none.
    pub statement: Option<usize>,
    /// How long that took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "some_as_millis")]
    pub duration: Option<Duration>,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Not applied yet.
    Pending,
    /// Not applied: its last attempt failed.
    Failed,
    /// Not applied any more.
    RolledBack,
    /// Not applied, and older than one that is: a run refuses it unless the settings allow it. One whose file allows it, or that
    /// is of a later phase than those, is [pending](Self::Pending).
    OutOfOrder,
    /// Applied.
    Completed,
    /// Applied, and its file was changed since.
    Changed,
    /// Applied, and its file is gone.
    Missing,
    /// Applied, and newer than all files: another program is ahead of this one.
    Ahead,
    /// Some of its statements took effect, and another run goes on with it.
    HalfApplied,
    /// Some of its down file's statements took effect, and another run goes on with it.
    HalfRolledBack,
}

impl State {
    /// Whether the schema has it.
    #[must_use]
    pub fn is_applied(self) -> bool {
        matches!(self, Self::Completed | Self::Changed | Self::Missing | Self::Ahead | Self::HalfRolledBack)
    }
}

impl Status {
    /// Those that `up` would apply.
    pub fn pending(&self) -> impl Iterator<Item = &MigrationStatus> {
        self.migrations.iter().filter(|migration| !migration.state.is_applied())
    }

    /// Those whose history and files disagree.
    pub fn drift(&self) -> impl Iterator<Item = &MigrationStatus> {
        let disagrees = |state| {
            matches!(
                state,
                State::OutOfOrder
                    | State::Changed
                    | State::Missing
                    | State::HalfApplied
                    | State::HalfRolledBack
            )
        };
        self.migrations.iter().filter(move |migration| disagrees(migration.state))
    }
}

pub(crate) fn status(history: &[Record], available: &Migrations) -> Status {
    let applied = applied(history);
    let with_file = available.iter().map(|migration| {
        let version = migration.version();
        let record = history.iter().rev().find(|record| record.version == *version);
        let state = match record {
            Some(record) if record.half().is_some() => half(record),
            Some(record) if record.is_applied() => {
                let same = record.checksum == *migration.up().checksum();
                if same { State::Completed } else { State::Changed }
            }
            _ if late_for(migration, &applied).is_some() => State::OutOfOrder,
            Some(record) if matches!(record.status, RecordStatus::Failed | RecordStatus::Running) => {
                State::Failed
            }
            Some(_) => State::RolledBack,
            None => State::Pending,
        };
        entry(version, migration.name(), state, migration.down().is_some(), record)
    });
    let without_file = history
        .iter()
        .filter(|record| record.is_applied() || record.half().is_some())
        .filter(|record| available.find(&record.version).is_none())
        .map(|record| {
            let is_ahead =
                available.iter().next_back().is_none_or(|newest| record.version > *newest.version());
            let state = match record.half() {
                Some(_) => half(record),
                None if is_ahead => State::Ahead,
                None => State::Missing,
            };
            entry(&record.version, &record.name, state, false, Some(record))
        });

    let mut migrations: Vec<_> = with_file.chain(without_file).collect();
    migrations.sort_by(|left, right| left.version.cmp(&right.version));
    Status { migrations }
}

fn half(record: &Record) -> State {
    match record.half() {
        Some(Direction::Down) => State::HalfRolledBack,
        _ => State::HalfApplied,
    }
}

fn entry(
    version: &Version,
    name: &str,
    state: State,
    reversible: bool,
    record: Option<&Record>,
) -> MigrationStatus {
    MigrationStatus {
        version: version.clone(),
        name: name.to_owned(),
        state,
        reversible,
        applied_at: record.map(|record| record.applied_at),
        applied_by: record.map(|record| record.applied_by.clone()),
        phase: record.and_then(|record| record.phase),
        statement: record.filter(|record| record.half().is_some()).map(|record| record.statement),
        duration: record.map(|record| record.duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Migration, RecordStatus};

    #[test]
    fn each_migration_is_in_one_state() {
        let migration = |stem, up| Migration::new(stem, up, None).expect("migration");
        let available = Migrations::new([
            migration("1_same", "SELECT 1"),
            migration("2_edited", "SELECT 2"),
            migration("3_late", "SELECT 3"),
            migration("5_undone", "SELECT 5"),
            migration("6_new", "SELECT 6"),
        ])
        .expect("migrations");
        let record = |stem, up, status, log_id| Record::for_tests(&migration(stem, up), status, log_id);
        let history = [
            record("001_same", "SELECT 1", RecordStatus::Completed, 1),
            record("2_edited", "SELECT 0", RecordStatus::Completed, 2),
            record("4_gone", "SELECT 4", RecordStatus::Completed, 3),
            record("5_undone", "SELECT 5", RecordStatus::RolledBack, 4),
            record("7_gone", "SELECT 7", RecordStatus::RolledBack, 5),
        ];

        let status = status(&history, &available);
        let states: Vec<_> =
            status.migrations.iter().map(|entry| (entry.version.as_str(), entry.state)).collect();
        let expect = [
            ("1", State::Completed),
            ("2", State::Changed),
            ("3", State::OutOfOrder),
            ("4", State::Missing),
            ("5", State::RolledBack),
            ("6", State::Pending),
        ];
        assert_eq!(states, expect);
        assert_eq!((status.pending().count(), status.drift().count()), (3, 3));
    }

    /// As the planner sees it: what a file declares counts, and what is half applied shows without its file.
    #[test]
    fn late_is_what_a_run_refuses_and_nothing_half_applied_is_hidden() {
        let migration = |stem, up| Migration::new(stem, up, None).expect("migration");
        let contract = migration("1_contract", "-- phase: contract\nSELECT 1");
        let allowed = migration("2_allowed", "-- out-of-order: allow\nSELECT 1");
        let (expand, gone) = (migration("3_expand", "SELECT 1"), migration("4_gone", "SELECT 1"));
        let mut half = Record::for_tests(&gone, RecordStatus::Failed, 2);
        half.attempted = 1;
        let history = [Record::for_tests(&expand, RecordStatus::Completed, 1), half];
        let status = status(&history, &Migrations::new([contract, allowed, expand]).expect("migrations"));
        let states: Vec<_> = status.migrations.iter().map(|entry| entry.state).collect();
        assert_eq!(states, [State::Pending, State::Pending, State::Completed, State::HalfApplied]);
    }
}
