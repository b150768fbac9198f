//! What can go wrong before a test has its database.

use std::time::Duration;

/// Why there is no server or no database for a test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No rung of the ladder holds. Says what was tried and what helps.
    #[error("found no PostgreSQL to test on: {0}")]
    Nothing(String),
    /// The given URL is none.
    #[error("the given URL cannot be used: {0}")]
    Url(String),
    /// The server of our own did not start or stop.
    #[error(transparent)]
    Embedded(#[from] db_embedded::Error),
    /// A container did not start or stop.
    #[error("docker: {0}")]
    Docker(String),
    /// Patroni is not installed, or did not do what was asked of it.
    #[error("patroni: {0}")]
    Patroni(String),
    /// A server that belongs to somebody else is not stopped by a test.
    #[error("a given server cannot be stopped and started by a test")]
    Given,
    /// Servers of one machine share its loopback, and nobody is cut off from that.
    #[error("only servers in containers can be partitioned")]
    NoNetwork,
    /// A signal did not reach the processes of a server.
    #[error("cannot signal the processes of the server: {0}")]
    Signal(String),
    /// A folder for the server could not be made.
    #[error("cannot make a folder for a server: {0}")]
    Folder(#[from] std::io::Error),
    /// A proxy did not find its server's address, or got no port to listen on.
    #[error("cannot start a proxy")]
    Proxy(#[source] std::io::Error),
    /// A server did not come to a state in time.
    #[error("not within {:.1} s: {what} ({answer})", waited.as_secs_f64())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// What the server said last.
        answer: String,
    },
    /// The server answered with an error.
    #[error("{0}")]
    Postgres(String),
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(match error.as_db_error() {
            Some(server) => server.to_string(),
            None => std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        })
    }
}
