//! Statements that are sent together in a transaction, and what their answers say of the whole. How they are sent is the
//! session's.
//!
//! # Why a guard
//! Everything is on its way before BEGIN is answered. Should BEGIN fail, for a cancel that was meant for another statement, the
//! rest would run all the same, each statement committed by itself. So a second message follows which is nothing inside a
//! transaction, and outside ends the session: what comes after it is not run then.

use std::pin::pin;

use db_core::{Action, Answer, Batch, Cause, Error, Outcome, Phase, Result, Severity, Signal};
use tokio::time::Instant;

use super::refused::{refuse, sets};
use super::verdict::aborted;
use super::{Tx, TxOptions};
use crate::Conn;
use crate::session::{Around, Report};
use crate::statements::contains;
use crate::wire::{Effects, Ends};

/// Outside of a transaction SAVEPOINT fails, and a failure ends the session.
const GUARD: &str = "SET LOCAL exit_on_error = on; SAVEPOINT db_batch; RELEASE db_batch; \
                     SET LOCAL exit_on_error = off";

/// What has come of a batch.
struct Came {
    ran: Result<()>,
    sent_after: Option<u32>,
    total: u32,
    answers: Vec<Answer>,
    failed: Option<(Option<usize>, Error)>,
    committed: Option<Result<()>>,
}

impl Tx<'_> {
    /// Runs statements in one round trip, and gives what each of them gave, in order. None of them may end the transaction or go
    /// back to a savepoint, and none can name what another one makes.
    ///
    /// # Errors
    /// That of the first statement that failed, with its number; the transaction has failed with it. Parameters that do not
    /// fit are found before anything is sent.
    ///
    /// # Cancel safety
    /// As that of a statement.
    pub async fn batch(&self, statements: Batch<'_>) -> Result<Vec<Answer>> {
        refuse(statements, None)?;
        self.still_runs()?;
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let came = self.send(&Around::default(), statements, false).await?;
        let result = match (came.failed, came.ran) {
            (Some(failed), _) => Err(named(failed, statements.len())),
            (None, ran) => ran.map(|()| came.answers),
        };
        self.note(false, result)
    }

    /// Runs statements together with COMMIT, in one round trip. Gives what they gave, and what COMMIT said. For layers above
    /// the pool.
    ///
    /// # Errors
    /// As [`Conn::batch_until_commit`] and [`Tx::commit`].
    ///
    /// # Cancel safety
    /// As [`Tx::commit`].
    pub async fn commit_with(mut self, statements: Batch<'_>) -> Result<(Vec<Answer>, Result<()>)> {
        refuse(statements, None)?;
        self.check_commit().await?;
        self.run_batch(None, statements).await
    }

    /// Runs a batch to its COMMIT, from its BEGIN on if there are `options`.
    pub(crate) async fn run_batch(
        mut self,
        options: Option<&TxOptions>,
        statements: Batch<'_>,
    ) -> Result<(Vec<Answer>, Result<()>)> {
        let mut may_heal = options.is_some();
        loop {
            let before = self.conn.ends();
            let around = Around { before: self.before(options)?, commits: true };
            let came = self.send(&around, statements, may_heal).await?;
            let is_stale = came.failed.as_ref().is_some_and(|(_, error)| is_stale(error));
            if !(is_stale && may_heal && self.conn.is_outside()) {
                let is_read_only = options.is_some_and(|options| options.read_only);
                return self.concluded(came, before, statements.len(), is_read_only);
            }
            may_heal = false;
        }
    }

    /// What is sent ahead of the statements.
    fn before(&self, options: Option<&TxOptions>) -> Result<Vec<String>> {
        let Some(options) = options else { return Ok(Vec::new()) };
        let session = self.conn.usable(Phase::Execute)?;
        // Apart from BEGIN, which does not run in a message that has a mistake elsewhere.
        let begin = TxOptions { first: None, ..options.clone() };
        let begin = begin.begin(session.begin(), session.statement_timeout(), Instant::now());
        Ok([begin, GUARD.to_owned()].into_iter().chain(options.first.clone()).collect())
    }

    async fn send(&self, around: &Around, statements: Batch<'_>, may_heal: bool) -> Result<Came> {
        let session = self.conn.usable(Phase::Execute)?;
        let tellings = statements.iter().map(|(sql, _)| Some(self.conn.telling(sql))).collect();
        let mut report = Report { tellings, may_heal, ..Report::default() };
        let phase = if around.commits { Phase::Commit } else { Phase::Execute };
        let effects = session.wire.effects();
        let ran = self.conn.run(phase, pin!(session.batch(around, statements, &mut report))).await;
        if let Err(why) = &ran {
            report.unanswered(why);
        }
        let is_set = around.before.iter().skip(2).any(|first| contains(first, "set"))
            || statements.iter().any(|(sql, _)| sets(sql));
        if around.begins() && !effects.has(Effects::SETTING) && !is_set {
            // Settings that come with BEGIN end with the transaction.
            session.wire.forget(Effects::SETTING);
        }
        let Report { sent_after, total, answers, failed, committed, .. } = report;
        if failed.as_ref().is_some_and(|(_, error)| is_stale(error)) {
            session.forget(statements, around.begins() && !may_heal);
        }
        Ok(Came { ran, sent_after, total, answers, failed, committed })
    }

    /// Says what became of a batch with its COMMIT.
    fn concluded(
        &mut self,
        came: Came,
        before: Ends,
        count: usize,
        is_read_only: bool,
    ) -> Result<(Vec<Answer>, Result<()>)> {
        let is_committed = self.conn.ends().commits != before.commits;
        self.is_over = self.conn.is_outside();
        if came.sent_after.is_none() {
            return Err(unsent(came, count));
        }
        let is_whole = came.answers.len() == count;
        match is_committed {
            true if is_whole => return Ok((came.answers, Ok(()))),
            true => return Err(unread(came, count)),
            false => {}
        }
        let is_pooled = self.conn.session().is_pooled();
        let is_rolled_back = matches!(came.committed, Some(Ok(())));
        match came.failed {
            Some(failed) if is_rolled_back || proves(&failed.1, is_pooled) => {
                return Err(named(failed, count).rolled_back());
            }
            None if is_rolled_back => return Err(aborted()),
            _ => {}
        }
        let refused = match came.committed {
            Some(Err(error)) if is_answer(&error) => return Ok((came.answers, Err(error.context("commit")))),
            Some(Err(error)) => Some(error),
            _ => None,
        };
        // The first is what happened, and the others follow from it.
        let error = came.failed.map(|(_, error)| error).or(came.ran.err()).or(refused);
        let error = self.lost(came.sent_after, came.total, is_read_only, error);
        match error {
            // There was nothing to commit.
            _ if is_whole && is_read_only => Ok((came.answers, Ok(()))),
            error if is_whole => Ok((came.answers, Err(error))),
            error => Err(error),
        }
    }

    /// No answer came that says what became of it: only what did not leave this process whole was surely not committed.
    fn lost(&self, sent_after: Option<u32>, total: u32, is_read_only: bool, error: Option<Error>) -> Error {
        let session = self.conn.session();
        // Of a connection that goes on, more might leave.
        let sent = sent_after.filter(|_| session.client.is_closed());
        let sent = sent.map(|before| session.wire.requests().wrapping_sub(before));
        // A server that has not seen the COMMIT ends the transaction with the connection.
        self.conn.hang_up();
        let error = error.unwrap_or_else(aborted);
        let failed = |cause, phase| Error::new(Signal::new(cause, phase), error.to_string());
        match (sent, error.server()) {
            (Some(0), _) => failed(Cause::Unsent, Phase::Execute).context("not sent"),
            (Some(sent), _) if sent < total => failed(Cause::Lost, Phase::Execute).before_commit(),
            _ if is_read_only => failed(Cause::Lost, Phase::Execute).before_commit(),
            (_, Some(server)) => in_doubt(Error::server_error(server.clone(), Phase::Commit)),
            (_, None) => in_doubt(failed(Cause::Lost, Phase::Commit)),
        }
    }
}

fn in_doubt(error: Error) -> Error {
    error.context("commit: whether it took effect is unknown")
}

impl<'c> Tx<'c> {
    /// A batch in a transaction of its own.
    pub(crate) async fn of_batch(
        conn: &'c mut Conn,
        options: &TxOptions,
        statements: Batch<'_>,
    ) -> Result<(Vec<Answer>, Result<()>)> {
        refuse(statements, options.first.as_deref())?;
        if statements.is_empty() {
            return Ok((Vec::new(), Ok(())));
        }
        let tx = Tx::enter(conn, options).await?;
        Box::pin(tx.run_batch(Some(options), statements)).await
    }
}

/// Whether an error of a statement shows that its COMMIT found nothing to commit: the server said it before it came to that.
/// What a pooler says when it loses its server may come after.
fn proves(error: &Error, is_pooled: bool) -> bool {
    match error.server() {
        Some(server) => {
            error.outcome() != Outcome::Unknown && !(is_pooled && server.severity == Severity::Fatal)
        }
        None => error.outcome() == Outcome::NotExecuted,
    }
}

/// Whether COMMIT was answered by an error that leaves no doubt.
fn is_answer(error: &Error) -> bool {
    error.outcome() != Outcome::Unknown && error.server().is_some()
}

fn is_stale(error: &Error) -> bool {
    error.advice().read == Action::Reprepare
}

/// The error of a statement, with its number.
fn named((at, error): (Option<usize>, Error), count: usize) -> Error {
    match at {
        Some(at) => error.context(format_args!("statement {} of {count}", at + 1)),
        None => error,
    }
}

/// Nothing was sent.
fn unsent(came: Came, count: usize) -> Error {
    match (came.failed, came.ran) {
        (Some(failed), _) => named(failed, count),
        (None, Err(silent)) => {
            let message = format!("the statements were not prepared: {silent}");
            Error::new(Signal::new(Cause::Unsent, Phase::Execute), message)
        }
        (None, Ok(())) => unreachable!("what ran was sent"),
    }
}

/// It is committed, but not all answers could be read.
fn unread(came: Came, count: usize) -> Error {
    let why = came.failed.map(|failed| named(failed, count)).or(came.ran.err());
    let why = why.map_or_else(|| "no answer".to_owned(), |why| why.to_string());
    let signal = Signal::new(Cause::UnexpectedResult, Phase::Commit);
    Error::new(signal, format!("committed, but not all answers were received: {why}"))
}
