//! The error of the layer: opaque, classified, and safe to log.
//!
//! `Display` and `Debug` never hold a secret or a parameter value. Text of the server that may hold one is
//! reachable only through [`ServerError`].

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::{Advice, Cause, Class, Kind, Outcome, Phase, Severity, Signal, SqlState};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, what became of the statement, and what may be done.
pub struct Error(Box<Inner>);

struct Inner {
    class: Class,
    phase: Phase,
    message: String,
    at: Timestamp,
    wait: Option<Wait>,
    server: Option<ServerError>,
    request_id: Option<String>,
    in_doubt: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The numbers behind a time-out while waiting for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// How long the caller waited; in JSON `waited_ms`, whole milliseconds.
    #[serde(rename = "waited_ms", serialize_with = "as_millis")]
    pub waited: Duration,
    /// Connections in use when it gave up.
    pub in_use: u32,
    /// The most connections that the pool may hold.
    pub max: u32,
    /// Callers that were still waiting when it gave up.
    pub waiting: u32,
}

/// What the server itself said. Its texts may hold values of parameters and rows: not for a log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerError {
    /// The code.
    pub sqlstate: SqlState,
    /// Whether the session survived.
    pub severity: Severity,
    /// The primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// The constraint that was violated.
    pub constraint: Option<String>,
    /// The table concerned.
    pub table: Option<String>,
    /// The column concerned.
    pub column: Option<String>,
    /// The function of the server's source that raised it.
    pub routine: Option<String>,
    /// Whether the names that the server quotes are from the text of the statement, and not from a parameter: it points at a
    /// place in the text, or there were no parameters.
    pub is_in_text: bool,
}

impl Error {
    /// An error for `signal`; `message` is a lower-case fragment without secrets or values.
    #[must_use]
    pub fn new(signal: Signal, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class: signal.classify(),
            phase: signal.phase,
            message: message.into(),
            at: Timestamp::now(),
            wait: None,
            server: None,
            request_id: None,
            in_doubt: None,
            source: None,
        }))
    }

    /// An error that the server reported.
    #[must_use]
    pub fn server_error(mut server: ServerError, phase: Phase) -> Self {
        // While connecting there are no parameters.
        server.is_in_text |= phase == Phase::Connect;
        let cause = Cause::Server {
            sqlstate: server.sqlstate,
            severity: server.severity,
            stale_plan: server.routine.as_deref() == Some("RevalidateCachedQuery"),
        };
        let mut error = Self::new(Signal::new(cause, phase), server.loggable());
        error.0.server = Some(server);
        error
    }

    /// Says that the statement had no parameters, so that the names which the server quotes are from its text and may be
    /// shown. To be called before any [context](Self::context) is added.
    #[must_use]
    pub fn without_parameters(mut self) -> Self {
        if let Some(server) = &mut self.0.server {
            server.is_in_text = true;
            self.0.message = server.loggable();
        }
        self
    }

    /// Adds the error beneath. It must be safe to log; its text is not repeated in this one's.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the numbers of a wait for a connection.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.0.wait = Some(wait);
        self
    }

    /// Adds the id of the request that this call served; it appears in [`Error::report`].
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Adds the name under which the outcome of a COMMIT can be asked for later; it appears in [`Error::report`].
    #[must_use]
    pub fn with_in_doubt(mut self, transaction: impl Into<String>) -> Self {
        self.0.in_doubt = Some(transaction.into());
        self
    }

    /// Says that the server was asked what became of the transaction, and has rolled it back. What was unknown is not any more,
    /// and the whole may run again.
    #[must_use]
    pub fn rolled_back(mut self) -> Self {
        self.0.class = self.0.class.before_commit();
        self
    }

    /// Puts what was being done in front of the message, as in `could not connect to db:5432: ...`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Says that the statement belonged to a transaction whose COMMIT was never sent, so that it is undone even when its
    /// answer was lost. Without effect on an error of the COMMIT itself.
    #[must_use]
    pub fn before_commit(mut self) -> Self {
        if self.0.phase != Phase::Commit {
            self.0.class = self.0.class.before_commit();
        }
        self
    }

    /// Says that the statement was a read, of which nothing can be in doubt.
    #[must_use]
    pub fn of_read(mut self) -> Self {
        self.0.class = self.0.class.of_read();
        self
    }

    /// Which of the four types it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.class.kind
    }

    /// The server's code, when the server reported it.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.0.server.as_ref().map(|server| server.sqlstate)
    }

    /// What became of the statement.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.class.outcome
    }

    /// What may be done about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.0.class.advice
    }

    /// When in the call it happened.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The numbers of a wait that timed out.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        self.0.wait
    }

    /// What the server itself said; may hold values.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// The id of the request, when one was set.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The name under which the outcome of the COMMIT can be asked for, when it has one.
    #[must_use]
    pub fn in_doubt(&self) -> Option<&str> {
        self.0.in_doubt.as_deref()
    }

    /// When the error was made.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.0.at
    }

    /// A copy for another waiter of the same event. The source is left out, since it cannot be copied.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let Inner { class, phase, message, at, wait, server, request_id, in_doubt, source: _ } = &*self.0;
        Self(Box::new(Inner {
            class: *class,
            phase: *phase,
            message: message.clone(),
            at: *at,
            wait: *wait,
            server: server.clone(),
            request_id: request_id.clone(),
            in_doubt: in_doubt.clone(),
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("phase", &self.phase())
            .field("outcome", &self.outcome())
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl ServerError {
    /// An error of the server with only code, severity and message.
    #[must_use]
    pub fn new(sqlstate: SqlState, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            severity,
            message: message.into(),
            detail: None,
            hint: None,
            constraint: None,
            table: None,
            column: None,
            routine: None,
            is_in_text: false,
        }
    }

    fn loggable(&self) -> String {
        format!("{} ({})", self.loggable_message(), self.sqlstate)
    }

    /// The message if it can hold nothing but names and the server's own words; otherwise what the code means. Messages
    /// of other kinds quote what they choke on, in ways that depend on the function and on the server's language.
    fn loggable_message(&self) -> &str {
        // A function may raise any code that it likes, with any text.
        if self.routine.as_deref() == Some("exec_stmt_raise") {
            return "raised by a function";
        }
        match (self.sqlstate.class(), self.sqlstate.as_str()) {
            (_, "42601") => "syntax error",
            // Names of what is there or is being made, never of what somebody asked for by a value.
            (_, "42501" | "42701" | "42710" | "42P06" | "42P07") => &self.message,
            ("3D" | "3F" | "42" | "58" | "XX", _) if self.is_in_text => &self.message,
            ("3D", _) => "a database does not exist",
            ("3F", _) => "a schema does not exist",
            ("58", _) => "the server met an error of its system",
            ("XX", _) => "the server met an internal error",
            (_, "42P01") => "a table does not exist",
            (_, "42703") => "a column does not exist",
            (_, "42704") => "an object does not exist",
            (_, "42883") => "a function does not exist",
            ("42", _) => "syntax error or access rule violation",
            (_, "22001") => "a text is too long",
            (_, "22003") => "a number is out of range",
            (_, "22007" | "22008") => "not a date or time, or one out of range",
            (_, "22012") => "division by zero",
            (_, "22P02") => "a text cannot be read as a value of the type",
            ("22", _) => "a value cannot be used",
            ("P0", _) => "raised by a function",
            (
                "08" | "0A" | "0B" | "0L" | "0P" | "21" | "23" | "24" | "25" | "26" | "28" | "2B" | "2D"
                | "34" | "3B" | "40" | "44" | "53" | "54" | "55" | "57",
                _,
            ) => &self.message,
            _ => "an error of another kind",
        }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerError")
            .field("sqlstate", &self.sqlstate)
            .field("message", &self.loggable_message())
            .finish_non_exhaustive()
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
