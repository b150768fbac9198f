//! A connection with a caller: the guard that runs statements and decides, when dropped, whether the connection may
//! serve anybody else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use db_core::{CloseReason, Error, Executor, Params, Phase, Released, Result, RowStream};
use futures_util::stream::{StreamExt, TryStreamExt, try_unfold};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, NoTls, Row};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Tx;
use crate::connector::Connector;
use crate::pool::Shared;

/// A connection of its own for one caller; it goes back when it is dropped.
///
/// # Cancel safety
/// Dropping the future of a statement leaves the connection in an unknown state. It then does not go back: the
/// statement is cancelled on the server and the connection is closed. A connection that is dropped inside a
/// transaction is closed too, and the server rolls back.
///
/// Session state set by hand (`SET`, a `BEGIN` sent as a statement) is the caller's to undo.
pub struct Conn {
    /// Taken when the guard is dropped, never before.
    held: Option<Held>,
    acquired: Instant,
    unfinished: Unfinished,
    in_transaction: bool,
}

/// What goes back, in this order: the connection before the permit, so that whoever is admitted next finds it.
struct Held {
    physical: bb8::PooledConnection<'static, Connector>,
    _permit: OwnedSemaphorePermit,
    _checkout: TaskTrackerToken,
    shared: Arc<Shared>,
}

impl Conn {
    pub(crate) fn new(
        mut physical: bb8::PooledConnection<'static, Connector>,
        permit: OwnedSemaphorePermit,
        shared: Arc<Shared>,
    ) -> Self {
        physical.checked_out();
        let checkout = shared.checkouts.token();
        Self {
            held: Some(Held { physical, _permit: permit, _checkout: checkout, shared }),
            acquired: Instant::now(),
            unfinished: Unfinished::default(),
            in_transaction: false,
        }
    }

    /// Runs `body` in a transaction: commits when it gives `Ok`, rolls back when it gives `Err`.
    ///
    /// # Errors
    /// What `body` gives, or the error of BEGIN or COMMIT. When a statement failed and `body` gave `Ok` all the same,
    /// the transaction is rolled back and the first error is reported: the server would not have committed it. An
    /// error of COMMIT whose [outcome](Error::outcome) is `Unknown` must not be taken for a rollback.
    ///
    /// # Cancel safety
    /// Dropping the future rolls back, except during COMMIT, where the outcome is unknown.
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

    pub(crate) fn client(&self) -> &Client {
        match &self.held {
            Some(held) => &held.physical.client,
            None => unreachable!("a connection is held until it is dropped"),
        }
    }

    pub(crate) fn set_in_transaction(&mut self, in_transaction: bool) {
        self.in_transaction = in_transaction;
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
        let statement = self.unfinished.begin();
        match self.client().query_raw(sql, params.iter().copied()).await {
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
        self.run(self.client().fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let (statement, rows) = self.start_stream(sql, params).await?;
        Ok(until_the_end((), statement, rows))
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.run(Executor::execute(self.client(), sql, params)).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.run(self.client().batch(sql)).await
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let is_unfinished = self.unfinished.any();
        if is_unfinished || self.in_transaction {
            held.physical.discard = Some(CloseReason::Unclean);
        }
        held.physical.checked_in();
        let shared = Arc::clone(&held.shared);
        let about = &shared.about;
        about.observer.released(&Released::new(&about.pool, self.acquired.elapsed()));
        if is_unfinished {
            // The server would go on working for nobody. The permit stays taken until it was told to stop.
            let limit = shared.settings.connect_timeout;
            let cancel = held.physical.client.cancel_token();
            shared.runtime.spawn(async move {
                if !matches!(timeout(limit, cancel.cancel_query(NoTls)).await, Ok(Ok(()))) {
                    tracing::debug!(target: "db::pool", "an abandoned statement could not be cancelled");
                }
                drop(held);
            });
        } else {
            drop(held);
        }
        shared.check_use();
    }
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
