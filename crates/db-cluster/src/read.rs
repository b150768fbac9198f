//! The view that reads, as callers hold it. Which server is tried, and what happens when it fails, is in `route`.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Acquire, Cause, Error, Executor, Params, Phase, Result, Row, RowStream, Signal};
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Attempt, Batch, Execute, Fetch, Stream};
use crate::{Cluster, ConsistencyToken, Preference};

/// A view of a cluster that reads. It has the verbs of [`Query`](db_core::Query), for statements that change nothing. One that
/// does fails on a replica, and is carried out where the primary answers.
///
/// A read that fails because of its server goes on elsewhere by itself, as does one whose server goes out of use meanwhile:
/// each server is tried once, within the deadline if there is one. After two connections were lost under a statement it is not
/// tried any more, since it may be what servers break of. A stream goes on elsewhere until it has begun; `execute` and
/// `batch_execute` are not repeated on a primary.
pub struct Read<'c, P: Acquire> {
    pub(crate) cluster: &'c Cluster<P>,
    pub(crate) preference: Preference,
    pub(crate) token: Option<ConsistencyToken>,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) is_exclusive: bool,
}

impl<'c, P: Acquire> Read<'c, P> {
    pub(crate) fn new(cluster: &'c Cluster<P>) -> Self {
        Self {
            cluster,
            preference: Preference::default(),
            token: None,
            max_staleness: None,
            deadline: None,
            is_exclusive: false,
        }
    }

    /// Sets where it may go.
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.preference = preference;
        self
    }

    /// Sees everything that was committed when the token was made. A replica that has not replayed it is waited for a little,
    /// then the primary is asked. An expired token asks for nothing.
    ///
    /// A token of another cluster sends the read to the primary, with a warning. One of a later history says that there is a newer
    /// primary, which is waited for.
    #[must_use]
    pub fn after(mut self, token: ConsistencyToken) -> Self {
        self.token = Some(self.token.map_or(token, |other| other.max(token)));
        self
    }

    /// Sees everything that was committed so long ago, as far as the looks at the primary can tell: an answer may be staler than
    /// this only by the time that the read itself takes. While the primary is not to be seen, replicas grow stale.
    #[must_use]
    pub fn no_staler_than(mut self, staleness: Duration) -> Self {
        self.max_staleness = Some(staleness);
        self
    }

    /// Acquires a connection of its own for each statement, also where a pool could have several share one.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// Sets one deadline, so far from now, for everything: finding a server, waiting for a connection, and all attempts.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.deadline = Instant::now().checked_add(limit);
        self
    }

    async fn run<T, F>(&self, mut attempt: F) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let run = self.run_until(&mut attempt);
        match self.deadline {
            None => run.await,
            Some(deadline) => timeout_at(deadline, run).await.unwrap_or_else(|_| {
                let what = format!("the deadline passed; {}", self.cluster.shared.describe());
                Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), what).of_read())
            }),
        }
    }
}

#[async_trait]
impl<P: Acquire> Executor for Read<'_, P> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.run(Fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.run(Stream(sql, params)).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.run(Execute(sql, params)).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.run(Batch(sql)).await
    }
}

impl<P: Acquire> fmt::Debug for Read<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("preference", &self.preference)
            .field("token", &self.token)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
