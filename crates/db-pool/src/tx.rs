//! A transaction on one connection. Run once; retrying a whole transaction is another layer's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Result, RowStream, Signal, SqlState};
use futures_util::StreamExt;
use tokio_postgres::Row;

use crate::Conn;

/// A transaction, lent to the body of [`Conn::tx`].
#[derive(Debug)]
pub struct Tx<'c> {
    conn: &'c mut Conn,
    /// The error of the server that has aborted the transaction.
    first_error: Mutex<Option<Error>>,
}

impl<'c> Tx<'c> {
    pub(crate) async fn begin(conn: &'c mut Conn) -> Result<Self> {
        // Like every batch it marks the connection before anything is sent: a future that is dropped in between must not
        // leave an open transaction behind.
        conn.batch("BEGIN").await?;
        Ok(Self { conn, first_error: Mutex::new(None) })
    }

    pub(crate) async fn commit(self) -> Result<()> {
        let first_error = self.error().take();
        if let Some(first) = first_error {
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
            Err(error) => Err(Error::from_driver(&error, Phase::Commit).context("commit")),
        }
    }

    /// Rolls back. When that fails it is tried once more as the connection goes back, which closes it otherwise.
    pub(crate) async fn rollback(self) {
        if self.conn.batch("ROLLBACK").await.is_ok() {
            self.conn.set_in_transaction(false);
        }
    }

    /// Remembers the error that aborted the transaction, and reports it in place of "the transaction is aborted".
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        let mut first = self.error();
        match result {
            Ok(value) => {
                // The server runs nothing in an aborted transaction: somebody went back to a savepoint.
                *first = None;
                Ok(value)
            }
            Err(error) => Err(match (&*first, error.sqlstate()) {
                (Some(first), Some(SqlState::IN_FAILED_TRANSACTION)) => first.duplicate(),
                (None, Some(_)) => {
                    *first = Some(error.duplicate());
                    error
                }
                _ => error,
            }),
        }
    }

    fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner)
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
