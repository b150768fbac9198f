//! What became of a COMMIT whose answer was lost. How it is found out is in `marker` and `xid`.

use std::fmt;

use db_core::Outcome;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// It committed. It must not be run again.
    Committed,
    /// It did not commit, and will not. It may be run again.
    RolledBack,
    /// It still runs: ask again later.
    Running,
    /// The server cannot say. What it wrote must be looked for by other means.
    Unknown(Doubt),
}

/// Why the server cannot say what became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The one that is asked is not the server that ran it: another cluster, a clone, or the same after a restart.
    OtherServer,
    /// A standby was promoted meanwhile, and may lack what the old primary committed.
    Promoted,
    /// The one that is asked is a standby.
    Standby,
    /// The session that was to outlive the transaction is gone: the server may have crashed and given the id out anew.
    SentinelLost,
    /// The session that was to outlive the transaction was opened after it began, or hides its age, as it does after
    /// `SET ROLE`. It proves nothing.
    SentinelTooYoung,
    /// The id is so old, or so new, that the server knows nothing of it.
    Forgotten,
}

impl Resolution {
    /// The same as the outcome of a statement.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Committed => Outcome::Executed,
            Self::RolledBack => Outcome::RolledBack,
            Self::Running | Self::Unknown(_) => Outcome::Unknown,
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed => f.write_str("committed"),
            Self::RolledBack => f.write_str("rolled back"),
            Self::Running => f.write_str("still running"),
            Self::Unknown(doubt) => write!(f, "unknown: {doubt}"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherServer => "another server answers, or the same after a restart",
            Self::Promoted => "a standby was promoted meanwhile",
            Self::Standby => "a standby answers",
            Self::SentinelLost => "the sentinel session is gone, so the server may have crashed",
            Self::SentinelTooYoung => "the sentinel session is not known to be older than the transaction",
            Self::Forgotten => "the server knows nothing of the transaction's id",
        })
    }
}
