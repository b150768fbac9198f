//! What an endpoint is good for at the moment, and why not for more. How that is found out is in `assess`.

use std::fmt;

use serde::Serialize;

/// What an endpoint is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
#[non_exhaustive]
pub enum Standing {
    /// It was not seen yet.
    Unknown,
    /// Takes writes, and reads.
    Primary,
    /// Takes reads.
    Replica,
    /// Takes nothing.
    Out(Reason),
}

/// Why an endpoint takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It does not answer, or refuses us.
    Unreachable,
    /// A standby that is too far behind.
    Lag,
    /// It belongs to another cluster: its system identifier is a different one.
    OtherCluster,
    /// It is of a timeline that was left behind by a promotion: an old primary that came back, or a standby that follows nobody
    /// or the wrong one.
    OldTimeline,
    /// It takes writes beside the primary, on the same timeline. Nobody can say which of the two is right.
    SecondPrimary,
    /// It is the primary by another name, such as a second pooler before it. It takes the place of the first when that ends.
    SameServer,
}

impl Standing {
    /// Whether it takes reads of those who accept replicas.
    #[must_use]
    pub fn is_replica(self) -> bool {
        self == Self::Replica
    }

    /// Whether also what it has been given already is better taken elsewhere. A replica that is late answers what it was asked.
    pub(crate) fn is_gone(self) -> bool {
        matches!(self, Self::Out(reason) if reason != Reason::Lag)
    }

    /// A fixed word for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Out(_) => "out",
        }
    }

    /// Why it takes nothing, as a fixed word.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Out(reason) => Some(reason.word()),
            _ => None,
        }
    }
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Lag => "lag",
            Self::OtherCluster => "other_cluster",
            Self::OldTimeline => "old_timeline",
            Self::SecondPrimary => "second_primary",
            Self::SameServer => "same_server",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{} ({reason})", self.word()),
            None => f.write_str(self.word()),
        }
    }
}
