//! A transaction on one connection. Run once; retrying a whole transaction is another layer's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Result, RowStream, Severity, Signal, SqlState};
use futures_util::StreamExt;
use tokio_postgres::Row;

use crate::Conn;

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
        if conn.has_unfinished() {
            let message = "a statement on this connection was abandoned: give it back and acquire another";
            return Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
        }
        // Like every BEGIN it marks the connection before anything is sent. From here on a future that is dropped leaves
        // the connection abandoned.
        let tx = Self { conn, first_error: Mutex::new(None), is_over: false };
        tx.conn.batch("BEGIN").await?;
        Ok(tx)
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        if self.conn.has_unfinished() {
            // It may still fail, and the server answers the COMMIT of a failed transaction as if all were well.
            let message = "not committed: a statement of the transaction was abandoned before its end";
            return Err(Error::new(Signal::new(Cause::Misuse, Phase::Commit), message));
        }
        if self.is_aborted().await {
            let first = self.error().take();
            self.rollback().await;
            let aborted =
                || Error::new(Signal::server(SqlState::IN_FAILED_TRANSACTION, Phase::Commit), "aborted");
            return Err(first.unwrap_or_else(aborted).context("the transaction was rolled back"));
        }
        let client = self.conn.usable(Phase::Commit)?;
        match self.conn.run(client.batch_execute("COMMIT")).await {
            Ok(()) => {
                self.end();
                Ok(())
            }
            Err(error) => {
                let error = Error::from_driver(&error, Phase::Commit).context("commit");
                if error.server().is_some_and(|server| server.severity == Severity::Error) {
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Rolls back. What cannot be, because something is still under way, is rolled back as the connection goes back.
    pub(crate) async fn rollback(mut self) {
        if !self.conn.has_unfinished() && self.conn.batch("ROLLBACK").await.is_ok() {
            self.end();
        }
    }

    /// Asks the server when there is reason to: after an error the transaction is aborted, but for a savepoint.
    async fn is_aborted(&self) -> bool {
        if self.error().is_none() {
            return false;
        }
        // Without an answer there is no COMMIT either: the server rolls back.
        self.conn.fetch("SELECT 1", &[]).await.is_err()
    }

    /// The session is in no transaction any more.
    fn end(&mut self) {
        self.is_over = true;
        self.conn.set_in_transaction(false);
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
        self.note(self.conn.fetch(sql, params).await)
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = self.note(self.conn.fetch_stream(sql, params).await)?;
        Ok(rows.map(|row| self.note(row)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.note(self.conn.execute(sql, params).await)
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.note(self.conn.batch(sql).await)
    }
}
