//! What is said of a transaction that did not go as its body meant: why it cannot be committed, whether a statement of its own
//! has ended it, and what an error of one statement means for the whole.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use db_core::{Cause, Error, Kind, Outcome, Phase, Result, Signal, SqlState};

use super::Tx;
use crate::statements::contains;
use crate::wire::Ends;

impl Tx<'_> {
    /// The first error that ended what this transaction could do, if there was one: whatever the body makes of it, this is why
    /// the whole could not be committed. One that was undone by going back to a savepoint is none.
    #[must_use]
    pub fn first_error(&self) -> Option<Error> {
        self.error().as_ref().map(Error::duplicate)
    }

    /// Whether a statement of its own has ended it, by COMMIT or ROLLBACK. Something of it may be committed then, and nothing
    /// more runs in it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let Ends { commits, restarts, .. } = self.conn.ends();
        (commits, restarts) != (self.ends.commits, self.ends.restarts)
            || self.is_chained.load(Ordering::Relaxed)
            || self.conn.is_outside()
    }

    /// What runs where no transaction is, or another, would be committed without us.
    pub(super) fn still_runs(&self) -> Result<()> {
        if self.has_ended() { Err(self.ended(Phase::Execute)) } else { Ok(()) }
    }

    pub(super) fn ended(&self, phase: Phase) -> Error {
        let is_committed = self.conn.ends().commits != self.ends.commits;
        let how = if is_committed { "committed" } else { "rolled back" };
        let (cause, message) = match phase {
            Phase::Commit if is_committed => (Cause::UnexpectedResult, "the transaction was"),
            Phase::Commit => (Cause::Misuse, "the transaction was"),
            _ => (Cause::Misuse, "not sent: the transaction was"),
        };
        Error::new(Signal::new(cause, phase), format!("{message} {how} by a statement of its own"))
    }

    /// The deadline came before COMMIT: what has run is rolled back.
    pub(super) fn late(&self) -> Error {
        let may_be_committed = self.has_ended() || self.is_in_doubt();
        let cause = if may_be_committed { Cause::Lost } else { Cause::DeadlinePassed };
        Error::new(Signal::new(cause, Phase::Execute), "the deadline of the transaction has passed")
    }

    /// Whether a statement that may have ended it got no answer, and nothing else has shown what became of it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::Relaxed) && !self.has_ended()
    }

    /// Runs a statement of the body, unless there is no transaction any more that it would belong to.
    pub(super) async fn statement<T>(
        &self,
        sql: &str,
        may_commit: bool,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.still_runs()?;
        let before = self.conn.ends().rollbacks;
        if may_commit {
            self.is_in_doubt.store(true, Ordering::Relaxed);
        }
        let result = operation.await;
        let is_answered = result.as_ref().err().is_none_or(|error| error.outcome() != Outcome::Unknown);
        if may_commit && is_answered {
            self.is_in_doubt.store(false, Ordering::Relaxed);
        }
        if self.conn.ends().rollbacks != before && contains(sql, "chain") {
            self.is_chained.store(true, Ordering::Relaxed);
        }
        self.note(may_commit, result)
    }

    /// Remembers the first error, and reports it in place of "the transaction is aborted". What is unknown of a statement is
    /// known of its transaction: without a COMMIT nothing of it stays.
    pub(crate) fn note<T>(&self, may_commit: bool, result: Result<T>) -> Result<T> {
        let error = match result {
            Ok(value) => {
                if self.conn.is_open() {
                    // A failed transaction runs nothing: whatever there was is undone.
                    *self.error() = None;
                }
                return Ok(value);
            }
            Err(error) if may_commit || self.has_ended() => error,
            Err(error) => error.before_commit(),
        };
        let mut first = self.error();
        match (&*first, error.sqlstate()) {
            (Some(first), Some(SqlState::IN_FAILED_TRANSACTION)) => Err(first.duplicate()),
            (None, sqlstate) if sqlstate.is_some() || error.kind() == Kind::Connection => {
                *first = Some(error.duplicate());
                Err(error)
            }
            _ => Err(error),
        }
    }

    pub(super) fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a single statement may end the transaction: by its first word, or when a comment hides that.
pub(super) fn is_commit(sql: &str) -> bool {
    let sql = sql.trim_start();
    let first = sql.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    first.is_empty() || may_commit(first)
}

/// Whether a text may hold a statement that ends the transaction. Said too often only leaves in doubt what is not.
pub(super) fn may_commit(sql: &str) -> bool {
    let mut words = sql.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.any(|word| ["commit", "end", "prepare"].iter().any(|end| word.eq_ignore_ascii_case(end)))
}

/// The server refuses whatever comes after an error whose text we have not seen.
pub(super) fn aborted() -> Error {
    Error::new(Signal::server(SqlState::IN_FAILED_TRANSACTION, Phase::Execute), "the transaction is aborted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_end_a_transaction_is_known_by_its_words() {
        let check =
            |sql, single, several| assert_eq!((is_commit(sql), may_commit(sql)), (single, several), "{sql}");
        check("INSERT INTO t VALUES (1)", false, false);
        check("UPDATE t SET spend = 1 WHERE end_date < now()", false, false);
        check("UPDATE t SET n = CASE WHEN n > 1 THEN 2 END", false, true);
        check("INSERT INTO t VALUES (1); commit", false, true);
        check(" Commit", true, true);
        check("END", true, true);
        check("PREPARE TRANSACTION 'x'", true, true);
        check("/* now */ COMMIT", true, true);
        check("-- SELECT\nSELECT 1", true, false);
    }
}
