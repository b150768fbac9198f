//! The lock modes of PostgreSQL for tables. Row locks and advisory locks are not among them.

use std::fmt;

use serde::Serialize;

/// How a relation is locked, weakest first. Complete: PostgreSQL has these eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockLevel {
    /// Reading.
    AccessShare,
    /// Reading with `FOR UPDATE` and its kin.
    RowShare,
    /// Writing rows.
    RowExclusive,
    /// Schema changes and maintenance that let others read and write.
    ShareUpdateExclusive,
    /// Building an index: others read.
    Share,
    /// Triggers and foreign keys: others read.
    ShareRowExclusive,
    /// Refreshing a view concurrently: others read.
    Exclusive,
    /// Alone: others neither read nor write.
    AccessExclusive,
}

impl LockLevel {
    /// Whether a plain `SELECT` has to wait.
    #[must_use]
    pub fn blocks_reads(self) -> bool {
        self == Self::AccessExclusive
    }

    /// Whether `INSERT`, `UPDATE` and `DELETE` have to wait.
    #[must_use]
    pub fn blocks_writes(self) -> bool {
        self >= Self::Share
    }
}

impl fmt::Display for LockLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}
