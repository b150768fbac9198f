//! Which migrations run, in which order, or why none may. Pure: no database, no clock, no files; nothing is checked here
//! that only the server knows.

use serde::Serialize;

use crate::{Migration, Migrations, Record, Script, Version};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Goal {
    /// Apply pending migrations.
    Up(Steps),
    /// Roll back this many, the last applied first.
    Down(usize),
    /// Roll back everything.
    Reset,
}

/// How many migrations to apply. Complete: there is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// All that are pending.
    All,
    /// At most this many.
    Count(usize),
}

/// Which half of a migration runs. Complete: there is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The file itself.
    Up,
    /// Its down file.
    Down,
}

/// What will run, in this order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// One entry per file.
    pub steps: Vec<PlannedStep<'a>>,
}

/// One file that will run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedStep<'a> {
    /// Its version.
    pub version: &'a Version,
    /// Its name.
    pub name: &'a str,
    /// The file.
    pub file: &'a str,
    /// Where it goes.
    pub direction: Direction,
    /// The migration that the file belongs to.
    #[serde(skip)]
    pub migration: &'a Migration,
    /// What runs.
    #[serde(skip)]
    pub script: &'a Script,
}

/// Why nothing may run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A file is not what it was when it was applied.
    #[error("{file} was changed after it was applied: restore it, or roll it back and apply it again")]
    Changed {
        /// The file.
        file: String,
    },
    /// A file is older than one that is applied already.
    #[error("{file} is out of order: {newest} is newer and applied already; give it a higher version")]
    OutOfOrder {
        /// The file that is late.
        file: String,
        /// The newest applied version, with its name.
        newest: String,
    },
    /// What should be rolled back has no file.
    #[error("{version}_{name} is applied, but its file is missing")]
    MissingFile {
        /// Its version.
        version: Version,
        /// Its name.
        name: String,
    },
    /// What should be rolled back has no down file.
    #[error("{file} cannot be rolled back: {expected} does not exist")]
    MissingDown {
        /// The up file.
        file: String,
        /// The down file that is expected.
        expected: String,
    },
}

/// Decides what runs.
///
/// # Errors
/// Up: a changed or late file. Down and reset: a migration in reach without its file or its down file. A changed file
/// does not stop the way down, since going down and up again is how a change is applied.
pub fn plan<'a>(history: &[Record], available: &'a Migrations, goal: Goal) -> Result<Plan<'a>, PlanError> {
    let steps = match goal {
        Goal::Up(Steps::All) => up(history, available, usize::MAX),
        Goal::Up(Steps::Count(count)) => up(history, available, count),
        Goal::Down(count) => down(history, available, count),
        Goal::Reset => down(history, available, usize::MAX),
    }?;
    Ok(Plan { steps })
}

fn up<'a>(
    history: &[Record],
    available: &'a Migrations,
    count: usize,
) -> Result<Vec<PlannedStep<'a>>, PlanError> {
    let applied = applied(history);
    for migration in available.iter() {
        let record = applied.iter().find(|record| record.version == *migration.version());
        if record.is_some_and(|record| record.checksum != *migration.up().checksum()) {
            return Err(PlanError::Changed { file: migration.file().to_owned() });
        }
    }
    let is_pending =
        |migration: &&Migration| applied.iter().all(|record| record.version != *migration.version());
    let pending = || available.iter().filter(is_pending);

    let newest = applied.iter().max_by_key(|record| &record.version);
    if let (Some(newest), Some(first)) = (newest, pending().next())
        && *first.version() < newest.version
    {
        let newest = format!("{}_{}", newest.version, newest.name);
        return Err(PlanError::OutOfOrder { file: first.file().to_owned(), newest });
    }
    Ok(pending().take(count).map(PlannedStep::up).collect())
}

fn down<'a>(
    history: &[Record],
    available: &'a Migrations,
    count: usize,
) -> Result<Vec<PlannedStep<'a>>, PlanError> {
    let undo = |record: &&Record| {
        let Some(migration) = available.find(&record.version) else {
            let (version, name) = (record.version.clone(), record.name.clone());
            return Err(PlanError::MissingFile { version, name });
        };
        PlannedStep::down(migration)
    };
    applied(history).iter().rev().take(count).map(undo).collect()
}

/// What is applied now, in the order of application.
pub(crate) fn applied(history: &[Record]) -> Vec<&Record> {
    let mut applied: Vec<&Record> = history.iter().filter(|record| record.is_applied()).collect();
    applied.sort_by_key(|record| record.log_id);
    applied
}

impl<'a> PlannedStep<'a> {
    fn up(migration: &'a Migration) -> Self {
        Self::new(migration, Direction::Up, migration.file(), migration.up())
    }

    fn down(migration: &'a Migration) -> Result<Self, PlanError> {
        let file = migration.down_file();
        let Some(script) = migration.down() else {
            let (file, expected) = (migration.file().to_owned(), file.to_owned());
            return Err(PlanError::MissingDown { file, expected });
        };
        Ok(Self::new(migration, Direction::Down, file, script))
    }

    fn new(migration: &'a Migration, direction: Direction, file: &'a str, script: &'a Script) -> Self {
        Self { version: migration.version(), name: migration.name(), file, direction, migration, script }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
