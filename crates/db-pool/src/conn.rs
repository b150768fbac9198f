//! A connection with a caller: the guard that runs statements and decides, when dropped, whether the connection may
//! serve anybody else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Released, Result, RowStream, Signal};
use futures_util::stream::{StreamExt, TryStreamExt, try_unfold};
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use crate::Tx;
use crate::connector::Connector;
use crate::pool::Shared;
use crate::release::{Held, Left, Place};

/// A connection of its own for one caller; it goes back when it is dropped.
///
/// # Cancel safety
/// Dropping the future of a statement leaves the connection in an unknown state. It then does not go back: the
/// statement is cancelled on the server and the connection is closed. A transaction that is open when the connection is
/// dropped is rolled back before anybody else gets it, also one that was begun by hand.
///
/// Settings of the session that were changed by hand (`SET`) are the caller's to undo.
pub struct Conn {
    /// Taken when the guard is dropped, never before.
    held: Option<Held>,
    acquired: Instant,
    unfinished: Unfinished,
    /// Whether a transaction is, or may be, open.
    in_transaction: AtomicBool,
    /// Whether a transaction was dropped in its middle: nothing more may run here.
    is_abandoned: bool,
}

impl Conn {
    pub(crate) fn new(
        physical: bb8::PooledConnection<'static, Connector>,
        place: Place,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            held: Some(Held::new(physical, place, shared)),
            acquired: Instant::now(),
            unfinished: Unfinished::default(),
            in_transaction: AtomicBool::new(false),
            is_abandoned: false,
        }
    }

    /// Runs `body` in a transaction: commits when it gives `Ok`, rolls back when it gives `Err`.
    ///
    /// # Errors
    /// What `body` gives, or the error of BEGIN or COMMIT. When a statement failed and `body` gave `Ok` all the same,
    /// the transaction is rolled back and the first error is reported: the server would not have committed it (going back
    /// to a savepoint undoes the failure). The same when a statement was dropped before its end, or a stream half-read. An
    /// error of COMMIT whose [outcome](Error::outcome) is `Unknown` must not be taken for a rollback.
    ///
    /// # Cancel safety
    /// A future that is dropped commits nothing, except during COMMIT, where the outcome is unknown. The connection takes
    /// no further statement; the rollback follows when it is given back.
    pub async fn tx<T, F>(&mut self, body: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.try_tx(body).await
    }

    /// [`Conn::tx`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn try_tx<T, E, F>(&mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let mut tx = Tx::begin(self).await?;
        match body(&mut tx).await {
            Ok(value) => {
                tx.commit().await?;
                Ok(value)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Rows as they arrive; the connection goes back when the stream ends or is dropped.
    pub(crate) async fn into_stream(self, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        let (statement, rows) = self.start_stream(sql, params).await?;
        Ok(until_the_end(self, statement, rows))
    }

    /// The driver's client, if something may be sent on it: what is not sent has no unknown outcome.
    pub(crate) fn usable(&self, phase: Phase) -> Result<&Client> {
        let client = match &self.held {
            Some(held) => &held.physical.client,
            None => unreachable!("a connection is held until it is dropped"),
        };
        if self.is_abandoned {
            let message = "a transaction on this connection was abandoned: give it back and acquire another";
            return Err(Error::new(Signal::new(Cause::Misuse, phase), message));
        }
        if client.is_closed() {
            return Err(Error::new(Signal::new(Cause::Unsent, phase), "the connection is closed"));
        }
        Ok(client)
    }

    /// Whether a statement was begun whose end was not seen.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.unfinished.any()
    }

    /// Notes that a transaction was dropped in its middle.
    pub(crate) fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    pub(crate) fn set_in_transaction(&self, in_transaction: bool) {
        self.in_transaction.store(in_transaction, Ordering::Relaxed);
    }

    /// Notes a statement that may open a transaction.
    fn note(&self, sql: &str) {
        if may_begin(sql) {
            self.set_in_transaction(true);
        }
    }

    /// Runs one operation of the driver, counted until its end was seen.
    pub(crate) async fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        let statement = self.unfinished.begin();
        let result = operation.await;
        statement.end();
        result
    }

    async fn start_stream(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<(Statement, tokio_postgres::RowStream)> {
        let client = self.usable(Phase::Execute)?;
        self.note(sql);
        let statement = self.unfinished.begin();
        match client.query_raw(sql, params.iter().copied()).await {
            Ok(rows) => Ok((statement, rows)),
            Err(error) => {
                statement.end();
                Err(Error::from_driver(&error, Phase::Execute))
            }
        }
    }
}

#[async_trait]
impl Executor for Conn {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let client = self.usable(Phase::Execute)?;
        self.note(sql);
        self.run(client.fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let (statement, rows) = self.start_stream(sql, params).await?;
        Ok(until_the_end((), statement, rows))
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let client = self.usable(Phase::Execute)?;
        self.note(sql);
        self.run(Executor::execute(client, sql, params)).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        let client = self.usable(Phase::Execute)?;
        // Any of several statements may be a BEGIN.
        if contains_begin(sql) {
            self.set_in_transaction(true);
        }
        self.run(client.batch(sql)).await
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let left = if self.unfinished.any() {
            Left::Statement
        } else if *self.in_transaction.get_mut() {
            Left::Transaction
        } else {
            Left::Clean
        };
        let shared = Arc::clone(&held.shared);
        let about = &shared.about;
        about.observer.released(&Released::new(&about.pool, self.acquired.elapsed()));
        held.release(left);
    }
}

/// Whether a single statement may open a transaction. A comment in front hides the first word; better once too often.
fn may_begin(sql: &str) -> bool {
    let sql = sql.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '(');
    let starts_with =
        |word: &str| sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    ["begin", "start", "--", "/*"].into_iter().any(starts_with)
}

/// Whether several statements may open a transaction; a rollback for nothing costs a round trip and a warning.
fn contains_begin(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    sql.contains("begin") || sql.contains("start")
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("in_transaction", &self.in_transaction).finish_non_exhaustive()
    }
}

/// Counts statements that were begun and whose end was not seen.
#[derive(Clone, Default)]
struct Unfinished(Arc<AtomicUsize>);

impl Unfinished {
    fn begin(&self) -> Statement {
        self.0.fetch_add(1, Ordering::Relaxed);
        Statement(self.clone())
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A statement under way. Merely dropping it leaves it counted: its end was not seen.
struct Statement(Unfinished);

impl Statement {
    fn end(self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The rows of a statement, which ends with them; `holder` is kept until then.
fn until_the_end<'a>(
    holder: impl Send + 'a,
    statement: Statement,
    rows: tokio_postgres::RowStream,
) -> RowStream<'a> {
    let state = (holder, statement, Box::pin(rows));
    try_unfold(state, |(holder, statement, mut rows)| async move {
        match rows.try_next().await {
            Ok(Some(row)) => Ok(Some((row, (holder, statement, rows)))),
            Ok(None) => {
                statement.end();
                Ok(None)
            }
            Err(error) => {
                statement.end();
                Err(Error::from_driver(&error, Phase::Execute))
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_may_begin_a_transaction() {
        let check = |sql, expect| assert_eq!(may_begin(sql), expect, "{sql:?}");
        check("BEGIN", true);
        check("  start TRANSACTION", true);
        check(";; BEGIN", true);
        check("-- hidden\nBEGIN", true);
        check("SELECT 1", false);
        check("", false);
        check("é", false);
    }
}
