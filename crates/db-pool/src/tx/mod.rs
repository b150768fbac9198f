//! A transaction on one connection. Run once; retrying a whole transaction is another layer's, and so is finding out what
//! became of a COMMIT whose answer was lost.

mod batch;
mod nested;
mod options;
mod refused;
mod verdict;

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Outcome, Params, Phase, Result, RowStream, Severity, Signal};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use self::verdict::{aborted, is_commit, may_commit};
use crate::statements::contains;
use crate::wire::{Effects, Ends, Transaction};
use crate::{Conn, CopyIn, CopyOut};

pub use options::{Isolation, TxOptions};

/// A transaction: lent to the body of [`Conn::tx`], or begun by [`Conn::begin`].
///
/// Its body must not end it by SQL of its own, such as `COMMIT` or `ROLLBACK AND CHAIN`: it takes no further statement then, and
/// its end is an error. Savepoints by hand are fine.
///
/// # Cancel safety
/// One that is dropped before its end is rolled back before anybody else gets the connection.
#[derive(Debug)]
pub struct Tx<'c> {
    conn: &'c mut Conn,
    /// The deadline of the connection, which comes back into force.
    outer: Option<Instant>,
    /// The first error of the server: it has aborted the transaction. None again once somebody went back to a savepoint.
    first_error: Mutex<Option<Error>>,
    /// What had ended on the session when it began.
    ends: Ends,
    /// A text said that a ROLLBACK begins the next transaction at once, which the server does not say.
    is_chained: AtomicBool,
    /// A statement that may have ended it got no answer.
    is_in_doubt: AtomicBool,
    /// How many savepoints are around what runs.
    depth: usize,
    is_over: bool,
}

impl<'c> Tx<'c> {
    pub(crate) async fn begin(conn: &'c mut Conn, options: &TxOptions) -> Result<Self> {
        let mut tx = Self::enter(conn, options).await?;
        tx.send_begin(options).await.map_err(|error| match &options.first {
            Some(first) if may_commit(first) => error,
            _ => error.before_commit(),
        })?;
        tx.ends = tx.conn.ends();
        Ok(tx)
    }

    /// What is there before BEGIN. One that is dropped leaves the connection abandoned.
    async fn enter(conn: &'c mut Conn, options: &TxOptions) -> Result<Self> {
        let misuse = |message| Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
        if conn.has_unfinished() {
            return misuse("a statement on this connection was abandoned: give it back and acquire another");
        }
        if conn.transaction(Phase::Execute).await.map_err(Error::before_commit)? != Transaction::None {
            return misuse("a transaction is open on this connection already");
        }
        let outer = conn.deadline();
        conn.set_deadline(earlier(outer, options.deadline));
        Ok(Self {
            conn,
            outer,
            first_error: Mutex::new(None),
            ends: Ends::default(),
            is_chained: AtomicBool::new(false),
            is_in_doubt: AtomicBool::new(false),
            depth: 0,
            is_over: false,
        })
    }

    async fn send_begin(&self, options: &TxOptions) -> Result<()> {
        let session = self.conn.usable(Phase::Execute)?;
        if *options == TxOptions::default() {
            return self.conn.run(Phase::Execute, session.simple(session.begin(), Phase::Execute)).await;
        }
        let begin = options.begin(session.begin(), session.statement_timeout(), Instant::now());
        let before = session.wire.effects();
        self.conn.run(Phase::Execute, session.simple(&begin, Phase::Execute)).await?;
        let is_set_for_longer = options.first.as_deref().is_some_and(|first| contains(first, "set"));
        if !before.has(Effects::SETTING) && !is_set_for_longer {
            // Settings that BEGIN brings end with the transaction.
            session.wire.forget(Effects::SETTING);
        }
        Ok(())
    }

    /// Runs `body` and ends the transaction.
    pub(crate) async fn run<T, E, F>(mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        match self.in_time(body).await {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Runs `body`, for no longer than until the deadline; whatever it waits for. The transaction goes on.
    ///
    /// # Errors
    /// What `body` gives, and that the deadline has passed.
    ///
    /// # Cancel safety
    /// As that of `body`.
    pub async fn in_time<T, E, F>(&mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let Some(deadline) = self.conn.deadline() else { return body(self).await };
        match timeout_at(deadline, body(self)).await {
            Ok(result) => result,
            Err(_) => Err(self.late().into()),
        }
    }

    /// Sets when it must have ended, in place of [`TxOptions::deadline`]; the time-outs that the server knows stay.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.conn.set_deadline(earlier(self.outer, deadline));
    }

    /// Commits.
    ///
    /// # Errors
    /// When a statement failed, the first error: the server answers such a COMMIT as if all were well, but rolls back. When a
    /// statement was abandoned, or when the server refuses the COMMIT. When a statement ended the transaction; if that was a
    /// COMMIT, the [outcome](Error::outcome) is `Executed`. One whose outcome is `Unknown` must not be taken for a rollback:
    /// the answer was lost, and the connection is closed at once, so that the server learns of it.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves the outcome unknown.
    pub async fn commit(mut self) -> Result<()> {
        self.check_commit().await?;
        let session = self.conn.usable(Phase::Commit)?;
        match self.conn.run(Phase::Commit, session.simple("COMMIT", Phase::Commit)).await {
            Ok(()) => {
                self.is_over = true;
                Ok(())
            }
            Err(error) => {
                if error.server().is_some_and(|server| server.severity == Severity::Error) {
                    self.is_over = true;
                }
                if error.outcome() == Outcome::Unknown {
                    // A server that has not seen the COMMIT ends the transaction with the connection.
                    self.conn.hang_up();
                    return Err(error.context("commit: whether it took effect is unknown"));
                }
                Err(error.context("commit"))
            }
        }
    }

    /// Whether a COMMIT would commit all that the body did.
    async fn check_commit(&mut self) -> Result<()> {
        if self.is_in_doubt() {
            // A server that has not read the statement to its COMMIT rolls back with the connection.
            self.conn.hang_up();
            let message =
                "whether it took effect is unknown: a statement that may have committed it got no answer";
            return Err(Error::new(Signal::new(Cause::Lost, Phase::Commit), message));
        }
        if self.conn.has_unfinished() {
            // It may still fail, and the server answers the COMMIT of a failed transaction as if all were well.
            let message = "not committed: a statement of the transaction was abandoned before its end";
            return Err(Error::new(Signal::new(Cause::Misuse, Phase::Commit), message));
        }
        let state = self.conn.transaction(Phase::Execute).await;
        if self.has_ended() {
            self.is_over = matches!(state, Ok(Transaction::None));
            return Err(self.ended(Phase::Commit));
        }
        if !matches!(state, Ok(Transaction::Open)) {
            let first = self.error().take().map(|first| first.context("the transaction was rolled back"));
            // Without an answer there is no COMMIT either: the server rolls back.
            let why = state.map_or_else(Error::before_commit, |_| aborted());
            self.roll_back().await;
            return Err(first.unwrap_or(why));
        }
        Ok(())
    }

    /// Rolls back. What cannot be, because something is still under way, is rolled back as the connection goes back.
    ///
    /// # Cancel safety
    /// As when it is dropped.
    pub async fn rollback(mut self) {
        self.roll_back().await;
    }

    async fn roll_back(&mut self) {
        if self.conn.has_unfinished() {
            return;
        }
        let Ok(session) = self.conn.usable(Phase::Execute) else { return };
        if self.conn.run(Phase::Execute, session.simple("ROLLBACK", Phase::Execute)).await.is_ok() {
            self.is_over = true;
        }
    }

    /// [`Conn::copy_in`] in this transaction.
    ///
    /// # Errors
    /// As [`Conn::copy_in`].
    ///
    /// # Cancel safety
    /// As [`Conn::copy_in`].
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.still_runs()?;
        let begun = self.conn.begin_copy_in(sql).await;
        self.note(false, begun).map(|copy| copy.noted_by(self))
    }

    /// [`Conn::copy_out`] in this transaction.
    ///
    /// # Errors
    /// As [`Conn::copy_out`].
    ///
    /// # Cancel safety
    /// As [`Conn::copy_out`].
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.still_runs()?;
        let begun = self.conn.begin_copy_out(sql).await;
        self.note(false, begun).map(|copy| copy.noted_by(self))
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.conn.set_deadline(self.outer);
        if !self.is_over {
            self.conn.abandon();
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[async_trait]
impl Executor for Tx<'_> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.statement(sql, is_commit(sql), pin!(self.conn.fetch_here(sql, params))).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = self.statement(sql, is_commit(sql), self.conn.fetch_stream(sql, params)).await?;
        // What has rows does not end the transaction.
        Ok(rows.map(|row| self.note(false, row)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.statement(sql, is_commit(sql), pin!(self.conn.execute_here(sql, params))).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.statement(sql, may_commit(sql), pin!(self.conn.batch_here(sql))).await
    }
}
