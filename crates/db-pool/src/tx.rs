//! A transaction on one connection. Run once; retrying a whole transaction is another layer's.

use std::sync::OnceLock;

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Result, RowStream, Severity, Signal, SqlState};
use futures_util::StreamExt;
use tokio_postgres::Row;

use crate::Conn;

/// A transaction, lent to the body of [`Conn::tx`].
#[derive(Debug)]
pub struct Tx<'c> {
    conn: &'c mut Conn,
    /// The first error of the server: it has aborted the transaction.
    first_error: OnceLock<Error>,
}

impl<'c> Tx<'c> {
    pub(crate) async fn begin(conn: &'c mut Conn) -> Result<Self> {
        // Set before anything is sent: a future dropped in between must not leave an open transaction behind.
        conn.set_in_transaction(true);
        let begun = conn.batch("BEGIN").await;
        if let Err(error) = begun {
            // A session that reported an error of its own at BEGIN is not in a transaction.
            conn.set_in_transaction(!session_survived(&error));
            return Err(error);
        }
        Ok(Self { conn, first_error: OnceLock::new() })
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Some(first) = self.first_error.take() {
            self.rollback().await;
            return Err(first.context("the transaction was rolled back"));
        }
        let client = self.conn.client();
        if client.is_closed() {
            let signal = Signal::new(Cause::Unsent, Phase::Commit);
            return Err(Error::new(signal, "the connection was lost before COMMIT was sent"));
        }
        match self.conn.run(client.batch_execute("COMMIT")).await {
            Ok(()) => {
                self.conn.set_in_transaction(false);
                Ok(())
            }
            Err(error) => {
                let error = Error::from_driver(&error, Phase::Commit).context("commit");
                self.conn.set_in_transaction(!session_survived(&error));
                Err(error)
            }
        }
    }

    /// Rolls back. When that fails the connection is closed, and the server rolls back.
    pub(crate) async fn rollback(self) {
        if self.conn.batch("ROLLBACK").await.is_ok() {
            self.conn.set_in_transaction(false);
        }
    }

    fn note<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.note_error(error))
    }

    /// Remembers the first error of the server, and reports it in place of "the transaction is aborted".
    fn note_error(&self, error: Error) -> Error {
        match (self.first_error.get(), error.sqlstate()) {
            (Some(first), Some(SqlState::IN_FAILED_TRANSACTION)) => first.duplicate(),
            (None, Some(_)) => {
                // Statements may run side by side; whichever comes first is kept.
                self.first_error.set(error.duplicate()).ok();
                error
            }
            _ => error,
        }
    }
}

/// Whether the server answered with an error and kept the session: then no transaction is open any more.
fn session_survived(error: &Error) -> bool {
    error.server().is_some_and(|server| server.severity == Severity::Error)
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
