//! A transaction on one connection. Run once; retrying a whole transaction is another layer's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Result, RowStream, Severity, Signal, SqlState};
use futures_util::StreamExt;
use tokio_postgres::Row;

use crate::wire::Transaction;
use crate::{Conn, CopyIn, CopyOut};

/// A transaction, lent to the body of [`Conn::tx`].
#[derive(Debug)]
pub struct Tx<'c> {
    conn: &'c mut Conn,
    /// The first error of the server: it has aborted the transaction, unless somebody went back to a savepoint.
    first_error: Mutex<Option<Error>>,
    is_over: bool,
}

impl<'c> Tx<'c> {
    pub(crate) async fn begin(conn: &'c mut Conn) -> Result<Self> {
        let misuse = |message| Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
        if conn.has_unfinished() {
            return misuse("a statement on this connection was abandoned: give it back and acquire another");
        }
        if conn.transaction(Phase::Execute).await? != Transaction::None {
            return misuse("a transaction is open on this connection already");
        }
        // From here on a future that is dropped leaves the connection abandoned.
        let tx = Self { conn, first_error: Mutex::new(None), is_over: false };
        let session = tx.conn.usable(Phase::Execute)?;
        tx.conn.run(Phase::Execute, session.simple(session.begin(), Phase::Execute)).await?;
        Ok(tx)
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        if self.conn.has_unfinished() {
            // It may still fail, and the server answers the COMMIT of a failed transaction as if all were well.
            let message = "not committed: a statement of the transaction was abandoned before its end";
            return Err(Error::new(Signal::new(Cause::Misuse, Phase::Commit), message));
        }
        // Without an answer there is no COMMIT either: the server rolls back.
        match self.conn.transaction(Phase::Execute).await? {
            Transaction::Open => {}
            Transaction::Failed => {
                let first = self.error().take();
                self.rollback().await;
                let aborted =
                    || Error::new(Signal::server(SqlState::IN_FAILED_TRANSACTION, Phase::Commit), "aborted");
                return Err(first.unwrap_or_else(aborted).context("the transaction was rolled back"));
            }
            Transaction::None => {
                self.is_over = true;
                let message = "the transaction was ended by a statement of its own";
                return Err(Error::new(Signal::new(Cause::Misuse, Phase::Commit), message));
            }
        }
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
                Err(error.context("commit"))
            }
        }
    }

    /// Rolls back. What cannot be, because something is still under way, is rolled back as the connection goes back.
    pub(crate) async fn rollback(mut self) {
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
        self.conn.copy_in(sql).await
    }

    /// [`Conn::copy_out`] in this transaction.
    ///
    /// # Errors
    /// As [`Conn::copy_out`].
    ///
    /// # Cancel safety
    /// As [`Conn::copy_out`].
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.conn.copy_out(sql).await
    }

    /// Remembers the first error, and reports it in place of "the transaction is aborted".
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let mut first = self.error();
            match (&*first, error.sqlstate()) {
                (Some(first), Some(SqlState::IN_FAILED_TRANSACTION)) => first.duplicate(),
                (None, Some(_)) => {
                    *first = Some(error.duplicate());
                    error
                }
                _ => error,
            }
        })
    }

    fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.conn.abandon();
        }
    }
}

#[async_trait]
impl Executor for Tx<'_> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.note(self.conn.fetch_here(sql, params).await)
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = self.note(self.conn.fetch_stream(sql, params).await)?;
        Ok(rows.map(|row| self.note(row)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.note(self.conn.execute_here(sql, params).await)
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.note(self.conn.batch_here(sql).await)
    }
}
