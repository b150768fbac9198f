//! All that a `deadpool-postgres` pool needs to be routed to: an adapter to copy. The examples share it; what they do with it is
//! theirs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use db_core::{Acquire, Cause, Error, Executor, Params, Phase, Result, Row, RowStream, Signal};
use deadpool_postgres::{Object, Pool, PoolError, TimeoutType, Timeouts};
use tokio_postgres::Client;

/// Somebody's own pool.
pub(crate) struct Own {
    pool: Pool,
    /// What was opened before is not to be used any more.
    rotated: Mutex<Instant>,
}

/// A connection of it.
pub(crate) struct OwnConn(Object);

impl Acquire for Own {
    type Conn = OwnConn;

    async fn acquire(&self, deadline: Option<Instant>) -> Result<OwnConn> {
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = limit.unwrap_or(Duration::from_secs(5));
        // Each for itself may take so long; whoever routes keeps to the deadline for all.
        let timeouts = Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) };
        loop {
            let object = self.pool.timeout_get(&timeouts).await.map_err(read)?;
            if Object::metrics(&object).created > *self.rotated() {
                return Ok(OwnConn(object));
            }
            // Out of the pool, which opens another one.
            drop(Object::take(object));
        }
    }

    /// What is in use is replaced when it comes back; this pool cannot end it.
    fn rotate(&self) {
        *self.rotated() = Instant::now();
        self.pool.retain(|_, _| false);
    }
}

impl Own {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, rotated: Mutex::new(Instant::now()) }
    }

    fn rotated(&self) -> MutexGuard<'_, Instant> {
        self.rotated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) => Error::from_driver(&error, Phase::Connect),
        // The pool is full, which is not the server's silence.
        PoolError::Timeout(TimeoutType::Wait) => {
            Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), error.to_string())
        }
        other => Error::new(Signal::new(Cause::Unreachable, Phase::Connect), other.to_string()),
    }
}

impl OwnConn {
    fn client(&self) -> &Client {
        &self.0
    }
}

#[async_trait]
impl Executor for OwnConn {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.client().fetch(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.client().fetch_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Executor::execute(self.client(), sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        Executor::batch_execute(self.client(), sql).await
    }
}
