//! Which migrations run, in which order, or why none may. Pure: no database, no clock, no files; nothing is checked here
//! that only the server knows.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::{Migration, Migrations, OutOfOrder, Phase, PlanError, Record, Script, Settings, Version};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Goal {
    /// Apply pending migrations.
    Up(Steps),
    /// Roll back what is newer than this version, then apply what is pending up to it. `0` rolls back everything.
    To(Version),
    /// Roll back this many, the last applied first.
    Down(usize),
    /// Roll back this many and apply them again.
    Redo(usize),
    /// Roll back everything.
    Reset,
}

/// As it is called in the log.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(Steps::All) => f.write_str("up"),
            Self::Up(Steps::Count(count)) => write!(f, "up {count}"),
            Self::To(version) => write!(f, "to {version}"),
            Self::Down(count) => write!(f, "down {count}"),
            Self::Redo(count) => write!(f, "redo {count}"),
            Self::Reset => f.write_str("reset"),
        }
    }
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
    /// The phase that the migration declares.
    pub phase: Option<Phase>,
    /// How many of its statements took effect in an earlier run.
    pub done: usize,
    /// Whether the statement after those was begun in an earlier run, and nobody saw its end.
    pub in_doubt: bool,
    /// The version as the history has it, which a renamed file may write differently.
    #[serde(skip)]
    pub(crate) key: Version,
    /// Whether the history has a row of it.
    #[serde(skip)]
    pub(crate) is_recorded: bool,
    /// The migration that the file belongs to.
    #[serde(skip)]
    pub migration: &'a Migration,
    /// What runs.
    #[serde(skip)]
    pub script: &'a Script,
}

/// Decides what runs. Of the settings, `phase` and `out_of_order` count.
///
/// # Errors
/// Up: a changed or late file, or one that is applied and missing although newer files are there (when the newest are
/// missing, an older program looks at a newer schema, and there is nothing for it to do). Down: a migration in reach
/// without its file or its down file. A changed file does not stop the way down, since down and up again is how a
/// change is applied. Both: a file that an earlier run left half done, unless it goes the same way.
pub fn plan<'a>(
    history: &[Record],
    available: &'a Migrations,
    goal: &Goal,
    settings: &Settings,
) -> Result<Plan<'a>, PlanError> {
    let planner = Planner { applied: applied(history), history, available, settings };
    let steps = match goal {
        Goal::Up(Steps::All) => planner.up(usize::MAX, None),
        Goal::Up(Steps::Count(count)) => planner.up(*count, None),
        Goal::To(version) => planner.to(version),
        Goal::Down(count) => planner.down(*count),
        Goal::Redo(count) => planner.redo(*count),
        Goal::Reset => planner.down(usize::MAX),
    }?;
    Ok(Plan { steps })
}

struct Planner<'a, 'h> {
    history: &'h [Record],
    /// In the order of application.
    applied: Vec<&'h Record>,
    available: &'a Migrations,
    settings: &'h Settings,
}

impl<'a> Planner<'a, '_> {
    /// Pending migrations, up to a version if one is given.
    fn up(&self, count: usize, limit: Option<&Version>) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        self.refuse_half(Direction::Down, |_| true)?;
        self.pending(count, limit)
    }

    fn pending(&self, count: usize, limit: Option<&Version>) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        self.check_files()?;
        let applied: BTreeMap<&Version, &Record> =
            self.applied.iter().map(|record| (&record.version, *record)).collect();
        let is_pending = |migration: &&Migration| !applied.contains_key(migration.version());
        let pending: Vec<&Migration> = self.available.iter().filter(is_pending).collect();
        for migration in &pending {
            self.check_order(migration)?;
        }
        self.check_phases(&pending)?;
        let is_asked_for = |migration: &&&Migration| {
            let in_phase = self.settings.phase.is_none_or(|phase| phase_of(migration) == Some(phase));
            in_phase && limit.is_none_or(|limit| migration.version() <= limit)
        };
        let steps = pending.iter().filter(is_asked_for).take(count);
        steps.map(|migration| self.step(migration, Direction::Up)).collect()
    }

    fn down(&self, count: usize) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        self.refuse_half(Direction::Up, |_| true)?;
        self.undo(self.applied.iter().rev().take(count).copied())
    }

    fn to(&self, version: &Version) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        let is_known = self.available.find(version).is_some()
            || self.applied.iter().any(|record| record.version == *version)
            || version.is_zero();
        if !is_known {
            return Err(PlanError::UnknownVersion { version: version.clone() });
        }
        let newer = self.applied.iter().rev().filter(|record| record.version > *version).copied();
        let mut steps = self.undo(newer)?;
        // What is half applied beyond it would stay, as nothing says how to undo it.
        self.refuse_half(Direction::Up, |record| !steps.is_empty() || record.version > *version)?;
        self.refuse_half(Direction::Down, |record| record.version <= *version)?;
        // What is rolled back first is in nobody's way afterwards.
        let applied = self.applied.iter().filter(|record| record.version <= *version).copied().collect();
        steps.extend(Planner { applied, ..*self }.pending(usize::MAX, Some(version))?);
        Ok(steps)
    }

    fn redo(&self, count: usize) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        let mut steps = self.down(count)?;
        let again: Vec<_> =
            steps.iter().rev().map(|step| PlannedStep::fresh(step.migration, Direction::Up)).collect();
        steps.extend(again.into_iter().map(|step| PlannedStep { key: self.key(step.version), ..step }));
        Ok(steps)
    }

    fn undo<'h>(&self, records: impl Iterator<Item = &'h Record>) -> Result<Vec<PlannedStep<'a>>, PlanError> {
        let undo = |record: &Record| {
            let Some(migration) = self.available.find(&record.version) else {
                return Err(missing(record));
            };
            self.step(migration, Direction::Down)
        };
        records.map(undo).collect()
    }

    /// A file as it runs now: from its beginning, or from where an earlier run left it.
    fn step(&self, migration: &'a Migration, direction: Direction) -> Result<PlannedStep<'a>, PlanError> {
        if direction == Direction::Down && migration.down().is_none() {
            let (file, expected) = (migration.file().to_owned(), migration.down_file().to_owned());
            return Err(PlanError::MissingDown { file, expected });
        }
        let mut step = PlannedStep::fresh(migration, direction);
        step.key = self.key(step.version);
        let record = self.history.iter().find(|record| record.version == *step.version);
        step.is_recorded = record.is_some();
        if let Some(record) = record.filter(|record| record.half() == Some(direction)) {
            let begun = record.attempted;
            let is_same = step.script.directives().no_transaction
                && begun <= step.script.statements().len()
                && record.prefix.as_ref() == Some(&step.script.loose_checksum_of_first(begun));
            if !is_same {
                return Err(PlanError::EditedWhatRan { file: step.file.to_owned(), done: begun });
            }
            (step.done, step.in_doubt) = (record.statement, begun > record.statement);
        }
        Ok(step)
    }

    fn key(&self, version: &Version) -> Version {
        let record = self.history.iter().find(|record| record.version == *version);
        record.map_or_else(|| version.clone(), |record| record.version.clone())
    }

    /// What was left half done on the other way must be finished first.
    fn refuse_half(
        &self,
        direction: Direction,
        is_concerned: impl Fn(&Record) -> bool,
    ) -> Result<(), PlanError> {
        let is_half = |record: &&Record| record.half() == Some(direction) && is_concerned(record);
        let Some(record) = self.history.iter().find(is_half) else {
            return Ok(());
        };
        let Some(migration) = self.available.find(&record.version) else {
            return Err(missing(record));
        };
        let file = if direction == Direction::Up { migration.file() } else { migration.down_file() };
        Err(PlanError::Half { file: file.to_owned(), direction, done: record.statement })
    }

    /// What is applied must have its file as it was, and what is half applied must have one at all.
    fn check_files(&self) -> Result<(), PlanError> {
        let newest = self.available.iter().next_back().map(Migration::version);
        let half = self.history.iter().filter(|record| record.half() == Some(Direction::Up));
        for record in self.applied.iter().copied().chain(half) {
            match self.available.find(&record.version) {
                None if newest.is_some_and(|newest| record.version < *newest) => return Err(missing(record)),
                None => {}
                // Of that one only the part that ran must be as it was.
                Some(_) if record.half() == Some(Direction::Up) => {}
                Some(migration) if record.checksum != *migration.up().checksum() => {
                    let only_comments = record.loose_checksum == *migration.up().loose_checksum();
                    return Err(PlanError::Changed { file: migration.file().to_owned(), only_comments });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// A file may not be older than one that is applied, unless it belongs to a later phase than that one.
    fn check_order(&self, migration: &Migration) -> Result<(), PlanError> {
        let is_allowed = self.settings.out_of_order == OutOfOrder::Allow
            // Half of it is there already.
            || self.history.iter().any(|record| record.version == *migration.version() && record.half().is_some());
        match late_for(migration, &self.applied) {
            Some(newest) if !is_allowed => {
                let newest = format!("{}_{}", newest.version, newest.name);
                Err(PlanError::OutOfOrder { file: migration.file().to_owned(), newest })
            }
            _ => Ok(()),
        }
    }

    /// With one phase asked for, nothing that must come before it may be left out.
    fn check_phases(&self, pending: &[&Migration]) -> Result<(), PlanError> {
        let Some(phase) = self.settings.phase else {
            return Ok(());
        };
        let last = pending.iter().rposition(|migration| phase_of(migration) == Some(phase));
        let Some(last) = last else {
            return Ok(());
        };
        for (index, migration) in pending[..last].iter().enumerate() {
            let later = pending[index..].iter().find(|later| phase_of(later) == Some(phase));
            let (file, later) =
                (migration.file().to_owned(), later.map_or("", |later| later.file()).to_owned());
            match phase_of(migration) {
                None => return Err(PlanError::NoPhase { file, later }),
                Some(other) if other < phase => return Err(PlanError::EarlierPhase { file, later }),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The newest that is applied and for which a migration is late, unless it declares that it may be.
pub(crate) fn late_for<'h>(migration: &Migration, applied: &[&'h Record]) -> Option<&'h Record> {
    let is_newer = |record: &&Record| {
        record.version > *migration.version() && rank(record.phase) >= rank(phase_of(migration))
    };
    let is_allowed = migration.up().directives().out_of_order;
    let newer = applied.iter().copied().filter(|record| !is_allowed && is_newer(record));
    newer.max_by_key(|record| &record.version)
}

fn missing(record: &Record) -> PlanError {
    PlanError::MissingFile { version: record.version.clone(), name: record.name.clone() }
}

fn phase_of(migration: &Migration) -> Option<Phase> {
    migration.up().directives().phase
}

/// A file without a phase is taken for one that others build upon.
fn rank(phase: Option<Phase>) -> Phase {
    phase.unwrap_or(Phase::Expand)
}

/// What is applied now, in the order of application.
pub(crate) fn applied(history: &[Record]) -> Vec<&Record> {
    let mut applied: Vec<&Record> = history.iter().filter(|record| record.is_applied()).collect();
    applied.sort_by_key(|record| record.log_id);
    applied
}

impl<'a> PlannedStep<'a> {
    /// The file from its beginning. Going down, the migration must have a down file.
    fn fresh(migration: &'a Migration, direction: Direction) -> Self {
        let (file, script) = match (direction, migration.down()) {
            (Direction::Down, Some(down)) => (migration.down_file(), down),
            _ => (migration.file(), migration.up()),
        };
        Self {
            version: migration.version(),
            name: migration.name(),
            file,
            direction,
            phase: phase_of(migration),
            done: 0,
            in_doubt: false,
            key: migration.version().clone(),
            // Unless the planner knows better.
            is_recorded: true,
            migration,
            script,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
