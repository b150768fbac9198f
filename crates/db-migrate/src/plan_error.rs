//! Why a plan cannot be made. Values and their texts only; the reasons are found in `plan`.

use crate::{Direction, Version};

/// Why nothing may run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A file is not what it was when it was applied.
    #[error("{file} was changed after it was applied: {}", change(*.only_comments))]
    Changed {
        /// The file.
        file: String,
        /// Whether comments and white space are all that changed.
        only_comments: bool,
    },
    /// A file is older than one that is applied already.
    #[error(
        "{file} is out of order: {newest} is newer and applied already; give it a higher version, or allow it with \
         `-- out-of-order: allow` in the file"
    )]
    OutOfOrder {
        /// The file that is late.
        file: String,
        /// The newest applied version, with its name.
        newest: String,
    },
    /// What is applied has no file.
    #[error("{version}_{name} is applied, but its file is missing: restore it")]
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
    /// An earlier run was cut off in the middle of a file, and something else is asked for.
    #[error(
        "{file} is half {}: {done} of its statements took effect; finish it with {}, or set its row right with repair",
        half(*.direction), finish(*.direction)
    )]
    Half {
        /// The file.
        file: String,
        /// Where it was going.
        direction: Direction,
        /// How many statements took effect.
        done: usize,
    },
    /// An earlier run was cut off in the middle of a file, and the part that ran is no more what it was.
    #[error(
        "{file} cannot go on: {done} of its statements ran already, and these were edited since; restore them, what comes \
         after may change"
    )]
    EditedWhatRan {
        /// The file.
        file: String,
        /// How many statements were begun.
        done: usize,
    },
    /// Only one phase should run, and a file in front of it says none.
    #[error(
        "{file} is pending and declares no phase, but {later} is of the phase and newer: give it a `-- phase:`"
    )]
    NoPhase {
        /// The file without a phase.
        file: String,
        /// The first newer file of the phase.
        later: String,
    },
    /// Only one phase should run, and a file of an earlier phase in front of it has not.
    #[error("{file} is of an earlier phase and pending, but {later} is newer: run the earlier phase first")]
    EarlierPhase {
        /// The file of the earlier phase.
        file: String,
        /// The first newer file of the phase.
        later: String,
    },
    /// There is no such version.
    #[error("there is no migration {version}, neither as a file nor applied")]
    UnknownVersion {
        /// The version.
        version: Version,
    },
    /// A baseline is for a database without a history.
    #[error("a baseline is for a database whose history is empty, and {applied} is applied here")]
    HasHistory {
        /// The newest that is applied.
        applied: String,
    },
}

fn change(only_comments: bool) -> &'static str {
    if only_comments {
        "only comments or white space differ, so repair accepts it"
    } else {
        "restore it, or roll it back and apply it again"
    }
}

fn half(direction: Direction) -> &'static str {
    if direction == Direction::Up { "applied" } else { "rolled back" }
}

fn finish(direction: Direction) -> &'static str {
    if direction == Direction::Up { "up" } else { "down" }
}
