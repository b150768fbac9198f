//! The table that decides what a failure means: kind, outcome and advice, from what was seen and when.
//!
//! Pure: no I/O, no clock, no driver type. It does not retry anything; it says what would be safe.
//! Codes are matched one by one. Prefix rules such as "all of class 08" are known to retry what must not be.

use serde::Serialize;

use crate::SqlState;

/// What was seen, and in which phase of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What was seen.
    pub cause: Cause,
    /// When it was seen.
    pub phase: Phase,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No usable connection came about: name resolution, refusal, time-out or TLS failure while connecting.
    Unreachable,
    /// The server's certificate was refused.
    CertificateRefused,
    /// The statement provably never left this process.
    Unsent,
    /// The connection ended, or time ran out, after the statement was sent.
    Lost,
    /// The server reported an error.
    Server {
        /// Its code.
        sqlstate: SqlState,
        /// Its severity.
        severity: Severity,
        /// Whether it came from the revalidation of a cached plan, which shares its code with other errors.
        stale_plan: bool,
    },
    /// The call was wrong before anything was sent: parameters that do not fit the statement, or, while connecting,
    /// settings that cannot work.
    Misuse,
    /// A defect: something panicked.
    Defect,
    /// The statement ran, but its result was not what the caller asked for.
    UnexpectedResult,
    /// No connection became free in time, or the queue was full.
    PoolBusy,
    /// The pool is closed.
    PoolClosed,
    /// The deadline of a transaction passed before its COMMIT was sent.
    DeadlinePassed,
    /// Connecting has failed so often that it is not tried for a while.
    CircuitOpen,
}

/// Severity of a server error, as far as it matters here. Complete: a session either goes on or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The session goes on.
    Error,
    /// The session is gone.
    Fatal,
}

/// When something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for a pooled connection.
    Acquire,
    /// Opening a connection: name resolution, TCP, TLS, authentication.
    Connect,
    /// Running a statement.
    Execute,
    /// Committing a transaction.
    Commit,
}

/// The four types of error that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The way to the server, or the server itself.
    Connection,
    /// The statement or its data.
    Query,
    /// Too slow, too many, too contended, or out of resources.
    Performance,
    /// The schema is not the one the statement expects.
    Schema,
}

/// What became of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The server never began it.
    NotExecuted,
    /// The server undid it.
    RolledBack,
    /// It took effect; what failed is the reading of its result.
    Executed,
    /// Only the server knows.
    Unknown,
}

/// What the failed call was going to do, as its caller knows it. Complete: advice exists for exactly these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A single statement that changes nothing.
    Read,
    /// A single write that may safely happen twice.
    IdempotentWrite,
    /// Any other single write.
    Write,
    /// The COMMIT of a transaction.
    Commit,
}

/// What may be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Trying again is useless or unsafe.
    Never,
    /// Try the same again, on a new connection or another host.
    Retry,
    /// Try the same again, with longer pauses: the server has too many connections.
    RetrySlowly,
    /// Ask for fresh credentials and try once more.
    RefreshCredentials,
    /// Prepare the statement again and run it once more.
    Reprepare,
    /// This server cannot take writes: find the one that can.
    Rediscover,
    /// Run the whole transaction again.
    RetryTransaction,
    /// Ask the server whether it took effect before anything else.
    Resolve,
}

/// What may be done, for each kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// For [`Operation::Read`].
    pub read: Action,
    /// For [`Operation::IdempotentWrite`].
    pub idempotent_write: Action,
    /// For [`Operation::Write`].
    pub write: Action,
    /// For [`Operation::Commit`].
    pub commit: Action,
}

/// The verdict on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// Which of the four types it is.
    pub kind: Kind,
    /// What became of the statement.
    pub outcome: Outcome,
    /// What may be done.
    pub advice: Advice,
}

impl Advice {
    /// Trying again is useless or unsafe, whatever the operation.
    pub const NEVER: Self = Self::of(Action::Never, Action::Never, Action::Never, Action::Never);

    /// The advice for one operation.
    #[must_use]
    pub fn on(&self, operation: Operation) -> Action {
        match operation {
            Operation::Read => self.read,
            Operation::IdempotentWrite => self.idempotent_write,
            Operation::Write => self.write,
            Operation::Commit => self.commit,
        }
    }

    const fn of(read: Action, idempotent_write: Action, write: Action, commit: Action) -> Self {
        Self { read, idempotent_write, write, commit }
    }
}

impl Signal {
    /// A signal without an error of the server.
    #[must_use]
    pub const fn new(cause: Cause, phase: Phase) -> Self {
        Self { cause, phase }
    }

    /// An error that the server reported at severity `ERROR`.
    #[must_use]
    pub const fn server(sqlstate: SqlState, phase: Phase) -> Self {
        Self::new(Cause::Server { sqlstate, severity: Severity::Error, stale_plan: false }, phase)
    }

    /// Decides what the signal means.
    #[must_use]
    pub fn classify(self) -> Class {
        use Action::{Never, RefreshCredentials, Resolve, Retry, RetrySlowly, RetryTransaction};
        use Kind::{Connection, Performance, Query};
        use Outcome::{Executed, NotExecuted, RolledBack, Unknown};

        let class = |kind, outcome, advice| Class { kind, outcome, advice };
        match self.cause {
            Cause::Unreachable => class(Connection, NotExecuted, Advice::of(Retry, Retry, Retry, Never)),
            Cause::CertificateRefused => class(Connection, NotExecuted, Advice::NEVER),
            Cause::Unsent => {
                class(Connection, NotExecuted, Advice::of(Retry, Retry, Retry, RetryTransaction))
            }
            Cause::Lost if self.phase == Phase::Connect => {
                class(Connection, NotExecuted, Advice::of(Retry, Retry, Retry, Never))
            }
            Cause::Lost => class(Connection, Unknown, Advice::of(Retry, Retry, Resolve, Resolve)),
            Cause::Misuse | Cause::Defect if self.phase == Phase::Connect => {
                class(Connection, NotExecuted, Advice::NEVER)
            }
            Cause::Defect => class(Connection, Unknown, Advice::of(Never, Never, Never, Resolve)),
            Cause::Misuse => class(Query, NotExecuted, Advice::NEVER),
            Cause::UnexpectedResult => class(Query, Executed, Advice::NEVER),
            Cause::PoolBusy => {
                class(Performance, NotExecuted, Advice::of(RetrySlowly, RetrySlowly, RetrySlowly, Never))
            }
            Cause::PoolClosed => class(Connection, NotExecuted, Advice::NEVER),
            Cause::DeadlinePassed => class(Performance, RolledBack, Advice::NEVER),
            Cause::CircuitOpen => {
                class(Connection, NotExecuted, Advice::of(RetrySlowly, RetrySlowly, RetrySlowly, Never))
            }
            Cause::Server { sqlstate, .. } if self.phase == Phase::Connect => {
                let advice = match sqlstate.as_str() {
                    "28000" | "28P01" => {
                        Advice::of(RefreshCredentials, RefreshCredentials, RefreshCredentials, Never)
                    }
                    "53300" => Advice::of(RetrySlowly, RetrySlowly, RetrySlowly, Never),
                    "57P01" | "57P02" | "57P03" | "08000" | "08003" | "08006" => {
                        Advice::of(Retry, Retry, Retry, Never)
                    }
                    _ => Advice::NEVER,
                };
                class(Connection, NotExecuted, advice)
            }
            Cause::Server { sqlstate, severity, stale_plan } => {
                server(sqlstate, severity, stale_plan).at(self.phase, severity)
            }
        }
    }
}

/// The rows for errors that a server reports about a statement.
fn server(sqlstate: SqlState, severity: Severity, stale_plan: bool) -> Class {
    use Action::{Never, Rediscover, Reprepare, Resolve, Retry, RetrySlowly, RetryTransaction};
    use Kind::{Connection, Performance, Query, Schema};
    use Outcome::{NotExecuted, RolledBack, Unknown};

    let (kind, outcome, advice) = match sqlstate.as_str() {
        "57P03" => (Connection, NotExecuted, Advice::of(Retry, Retry, Retry, Never)),
        "53300" => (Connection, NotExecuted, Advice::of(RetrySlowly, RetrySlowly, RetrySlowly, Never)),
        "08000" | "08003" | "08006" | "08007" | "40003" | "57P02" => {
            (Connection, Unknown, Advice::of(Retry, Retry, Resolve, Resolve))
        }
        "57P01" => (Connection, RolledBack, Advice::of(Retry, Retry, RetryTransaction, Resolve)),
        "57P05" | "25P03" => (Performance, RolledBack, Advice::of(Retry, Retry, RetryTransaction, Resolve)),
        "25P04" => (Performance, RolledBack, Advice::of(Retry, Retry, Never, Resolve)),
        // A standby reports a conflict with recovery under the same code; when it also ends the session
        // (severity FATAL) the read belongs on another host, which `Retry` allows and the pool arranges.
        "40001" | "40P01" if severity == Severity::Fatal => {
            (Performance, RolledBack, Advice::of(Retry, RetryTransaction, RetryTransaction, Resolve))
        }
        "40001" | "40P01" => {
            (Performance, RolledBack, Advice::of(Retry, RetryTransaction, RetryTransaction, RetryTransaction))
        }
        "55P03" => (Performance, RolledBack, Advice::of(Retry, RetryTransaction, RetryTransaction, Never)),
        "57014" => (Performance, RolledBack, Advice::NEVER),
        "25006" => (Connection, NotExecuted, Advice::of(Never, Rediscover, Rediscover, Never)),
        "53100" | "53200" | "53400" => (Performance, RolledBack, Advice::NEVER),
        "58000" | "58030" | "58P01" | "XX000" | "XX001" | "XX002" => {
            (Performance, RolledBack, Advice::of(Never, Never, Never, Resolve))
        }
        "26000" | "42P05" => (Schema, NotExecuted, Advice::of(Reprepare, Reprepare, Reprepare, Never)),
        "0A000" if stale_plan => (Schema, NotExecuted, Advice::of(Reprepare, Reprepare, Reprepare, Never)),
        "08P01" => (Connection, Unknown, Advice::of(Never, Never, Never, Resolve)),
        // The schema lacks, or has too much of, what the statement names.
        "42P01" | "42703" | "42704" | "42883" | "42P06" | "42P07" | "42701" | "42710" | "3F000" => {
            (Schema, RolledBack, Advice::NEVER)
        }
        // The session ended for a reason that is not known to leave things undone.
        _ if severity == Severity::Fatal => (Connection, Unknown, Advice::of(Retry, Retry, Resolve, Resolve)),
        _ => (Query, RolledBack, Advice::NEVER),
    };
    Class { kind, outcome, advice }
}

impl Class {
    /// The verdict when the statement belonged to a transaction whose COMMIT was never sent: whatever became of the
    /// statement, the server has undone it with the rest.
    #[must_use]
    pub fn before_commit(mut self) -> Self {
        if self.outcome == Outcome::Unknown {
            let again = |action| if action == Action::Resolve { Action::RetryTransaction } else { action };
            let Advice { read, idempotent_write, write, commit } = self.advice;
            self.advice = Advice::of(again(read), again(idempotent_write), again(write), again(commit));
            self.outcome = Outcome::RolledBack;
        }
        self
    }

    /// The verdict when the statement was a read: nothing of it can be in doubt.
    #[must_use]
    pub fn of_read(mut self) -> Self {
        if self.outcome == Outcome::Unknown {
            self.outcome = Outcome::NotExecuted;
        }
        self
    }

    /// Whatever a COMMIT must be resolved for has an unknown outcome during a COMMIT. So has everything that ends the
    /// session in the middle of one: a server can fail after the commit is written.
    fn at(mut self, phase: Phase, severity: Severity) -> Self {
        if phase != Phase::Commit {
            return self;
        }
        if severity == Severity::Fatal && self.outcome != Outcome::NotExecuted {
            self.advice.commit = Action::Resolve;
        }
        if self.advice.commit == Action::Resolve {
            self.outcome = Outcome::Unknown;
        }
        self
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
