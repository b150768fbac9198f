//! What people read of runs, states and differences. Decides nothing.

use anyhow::Result;
use db_migrate::{
    Direction, Error, LogAction, LogEntry, Migrator, RepairKind, Repaired, Run, SeedRun, State, Status,
    Version,
};

use crate::Outcome;
use crate::output::{self, say};

pub(super) fn run(run: &Run) {
    match run.done.len() {
        0 => say!("nothing to do"),
        count => say!("{count} done in {:.1?}", run.duration),
    }
}

/// Says what an interruption left.
pub(super) fn interrupted(
    code: u8,
    result: Option<&Result<Outcome>>,
    migrator: &Migrator,
    json: bool,
) -> Outcome {
    let text = match result {
        None => "interrupted: no migration was under way".to_owned(),
        Some(Ok(_)) => "interrupted, but everything had come to its end".to_owned(),
        Some(Err(error)) => match error.downcast_ref() {
            Some(Error::Failed { file, version, direction, line, .. }) => {
                let migration = migrator.migrations().find(version);
                let script = migration.and_then(|migration| match direction {
                    Direction::Up => Some(migration.up()),
                    Direction::Down => migration.down(),
                });
                match (script.is_some_and(|script| script.directives().no_transaction), line) {
                    (false, _) => format!("interrupted: {file} was rolled back, nothing of it stays"),
                    (true, Some(line)) => format!(
                        "interrupted: {file} runs without a transaction and stopped at line {line}; what came before it stays, \
                         and the next run goes on there"
                    ),
                    (true, None) => format!(
                        "interrupted: {file} runs without a transaction; what is through stays, and the next run goes on"
                    ),
                }
            }
            _ => format!("interrupted: {error:#}"),
        },
    };
    output::interrupted(&text, json);
    Outcome::Interrupted(code)
}

pub(super) fn status(status: &Status) {
    for migration in &status.migrations {
        let state = match migration.state {
            State::Pending => "pending",
            State::Failed => "failed",
            State::RolledBack => "rolled back",
            State::OutOfOrder => "out of order",
            State::Completed => "completed",
            State::Changed => "changed since",
            State::Missing => "file missing",
            State::Ahead => "ahead of us",
            State::HalfApplied => "half applied",
            State::HalfRolledBack => "half undone",
            _ => "unknown",
        };
        let when = match migration.applied_at {
            Some(at) if migration.state.is_applied() => format!("  {at}"),
            _ => String::new(),
        };
        say!("{}  {:13}  {}{when}", migration.version, state, migration.name);
    }
}

pub(super) fn history(history: &[LogEntry]) {
    for entry in history {
        let action = match entry.action {
            LogAction::RunStarted => "run began",
            LogAction::RunEnded => "run ended",
            LogAction::Interrupted => "cut off",
            LogAction::Started => "began",
            LogAction::Applied => "applied",
            LogAction::RolledBack => "rolled back",
            LogAction::Failed => "failed",
            LogAction::Resumed => "went on",
            LogAction::Baselined => "baseline",
            LogAction::Repaired => "repaired",
            _ => "other",
        };
        let LogEntry { at, version, name, by, duration, error, .. } = entry;
        let version = version.as_ref().map(|version| format!("{version} ")).unwrap_or_default();
        let took = if duration.is_zero() { String::new() } else { format!(" in {duration:.1?}") };
        let error = error.as_deref().map(|error| format!("  {error}")).unwrap_or_default();
        say!("{at:.0}  {action:11}  {version}{name}  by {by}{took}{error}");
    }
    if history.is_empty() {
        say!("nothing has happened yet");
    }
}

pub(super) fn repair(repaired: &Repaired) {
    for row in &repaired.repaired {
        let what = match row.what {
            RepairKind::Renamed => "the file was renamed",
            RepairKind::CommentsChanged => "only comments or white space changed",
            RepairKind::Accepted => "the changed file was accepted",
            RepairKind::MarkedApplied => "counts as applied",
            RepairKind::MarkedRolledBack => "counts as rolled back",
            _ => "set right",
        };
        say!("repaired  {} {}: {what}", row.version, row.name);
    }
    for row in &repaired.refused {
        say!(
            "refused   {}: more than comments changed; restore it, or say --accept {}",
            row.file,
            row.version
        );
    }
    if repaired.repaired.is_empty() && repaired.refused.is_empty() {
        say!("nothing to repair");
    }
}

pub(super) fn baseline(versions: &[Version]) {
    for version in versions {
        say!("taken as applied  {version}");
    }
}

pub(super) fn seeds(run: &SeedRun) {
    for done in &run.done {
        say!("seeded       {} ({:.1?})", done.file, done.duration);
        for table in &done.tables {
            say!(
                "  {}: {} inserted, {} updated, {} deleted",
                table.table,
                table.inserted,
                table.updated,
                table.deleted
            );
        }
    }
    say!("{} seeds for {} in {:.1?}", run.done.len(), run.environment, run.duration);
}
