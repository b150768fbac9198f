//! How a server ended, for those who watch it. An end that a caller asked for looks the same as any other.

use std::fmt;
use std::process::ExitStatus;

/// The end of a server's process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exit {
    /// Status of the supervisor, which passes on that of PostgreSQL (128 plus the number of the signal that ended it).
    /// Unknown for an attached server.
    pub status: Option<ExitStatus>,
    /// The relevant lines of the log.
    pub log: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "PostgreSQL ended ({status}): {}", self.log),
            None => write!(f, "PostgreSQL ended: {}", self.log),
        }
    }
}
