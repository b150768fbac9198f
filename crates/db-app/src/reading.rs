//! The verbs for reads: on a replica where there is one that is fresh enough, with retries. Which server that is, is decided by
//! `db-cluster`.

use std::time::Duration;

use async_trait::async_trait;
use db_cluster::{ConsistencyToken, Preference, Read};
use db_core::{Executor, Params, Result, Row, RowStream};
use db_retry::Retry;
use tokio::time::Instant;

use crate::replicas::Server;
use crate::retrying::{Retrying, is_run_once, repeat};
use crate::transact::FOR_EVER;

/// A database that is read: see [`Database::reads`](crate::Database::reads).
///
/// With replicas (`DATABASE_REPLICA_URL`) a read goes to one of them, and elsewhere when that fails or goes out of use. Without any
/// it goes to the one server, and what is asked of replicas is given anyhow.
#[derive(Debug)]
pub struct Reads<'d> {
    primary: Retrying<'d>,
    retry: Retry,
    read: Option<Read<'d, Server>>,
}

impl<'d> Reads<'d> {
    pub(crate) fn new(primary: Retrying<'d>, retry: Retry, read: Option<Read<'d, Server>>) -> Self {
        Self { primary, retry, read }
    }

    /// The same with one deadline, so far from now, for finding a server, waiting for a connection, all attempts, and their
    /// pauses. What still runs then is cancelled on the server.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use db_app::prelude::*;
    /// # async fn example(db: &Database) -> db_app::core::Result<()> {
    /// let within = Duration::from_millis(300);
    /// let users: i64 = db.reads().within(within).one("SELECT count(*) FROM users", &[]).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        let limit = limit.min(FOR_EVER);
        self.primary = self.primary.within(limit);
        self.retry = self.retry.until(Instant::now() + limit);
        self.read = self.read.map(|read| read.within(limit));
        self
    }

    /// Sees everything that was committed when the token was made: see [`Database::write_token`](crate::Database::write_token).
    #[must_use]
    pub fn after(mut self, token: ConsistencyToken) -> Self {
        self.read = self.read.map(|read| read.after(token));
        self
    }

    /// The same, with a connection of its own for each statement: see [`Database::exclusive`](crate::Database::exclusive).
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.primary = self.primary.exclusive();
        self.read = self.read.map(Read::exclusive);
        self
    }

    /// Sets where the read may go.
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.read = self.read.map(|read| read.preference(preference));
        self
    }

    /// Sees everything that was committed so long ago, as far as the looks at the primary can tell.
    #[must_use]
    pub fn no_staler_than(mut self, staleness: Duration) -> Self {
        self.read = self.read.map(|read| read.no_staler_than(staleness));
        self
    }

    /// The view of replicas, for a statement of which is known that it may run again.
    fn replicas(&self, sql: &str) -> Option<&Read<'d, Server>> {
        self.read.as_ref().filter(|_| !is_run_once(sql))
    }
}

#[async_trait]
impl Executor for Reads<'_> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        match self.replicas(sql) {
            Some(read) => repeat(&self.retry, sql, || read.fetch(sql, params)).await,
            None => self.primary.fetch(sql, params).await,
        }
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        match self.replicas(sql) {
            Some(read) => repeat(&self.retry, sql, || read.fetch_stream(sql, params)).await,
            None => self.primary.fetch_stream(sql, params).await,
        }
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        match self.replicas(sql) {
            Some(read) => repeat(&self.retry, sql, || read.execute(sql, params)).await,
            None => self.primary.execute(sql, params).await,
        }
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.primary.batch_execute(sql).await
    }
}
