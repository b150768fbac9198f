//! A connection to the server that was chosen, which knows whose it is.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Acquire, Cause, Error, Executor, Params, Phase, Result, Row, RowStream, Signal};

use crate::ConsistencyToken;
use crate::endpoint::Flight;
use crate::shared::Shared;

/// A connection of the pool of one endpoint, to be used as that pool's own: it derefs to it.
///
/// The verbs used on it directly refuse when the server is not the primary any more, and their errors are told to the cluster, so
/// that a failover is noticed at once. A transaction of the connection's own is not seen by it: see [`Routed::report`]; what ends
/// that one is the pool's [`sever`](Acquire::sever).
pub struct Routed<P: Acquire> {
    conn: P::Conn,
    shared: Arc<Shared<P>>,
    index: usize,
    flight: Flight,
}

impl<P: Acquire> Routed<P> {
    pub(crate) fn new(conn: P::Conn, shared: Arc<Shared<P>>, index: usize, flight: Flight) -> Self {
        Self { conn, shared, index, flight }
    }

    /// The name of the server that it goes to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoints[self.index].name
    }

    /// Tells the cluster of an error that its user met. Costs nothing; a server that it speaks against is looked at now
    /// instead of within the next half second.
    pub fn report(&self, error: &Error) {
        self.shared.failed(self.index, error);
    }

    /// A token for everything that was committed up to now on this primary, by anybody. To be asked for after the COMMIT.
    ///
    /// # Errors
    /// On a server that is no primary (any more), and when it does not answer. What was committed stays committed.
    ///
    /// # Cancel safety
    /// Dropping the future loses the token and nothing else.
    pub async fn token(&self) -> Result<ConsistencyToken> {
        self.check()?;
        let asked = ConsistencyToken::ask(&self.conn, self.shared.settings.token_validity).await;
        asked.inspect_err(|error| self.report(error))
    }

    pub(crate) fn into_parts(self) -> (P::Conn, usize, Flight) {
        (self.conn, self.index, self.flight)
    }

    /// Refuses what would go to one that is not the primary any more: also over a pool that cannot sever its connections.
    fn check(&self) -> Result<()> {
        if self.shared.board.borrow().writer == Some(self.index) {
            return Ok(());
        }
        let signal = Signal::new(Cause::Unsent, Phase::Execute);
        Err(Error::new(signal, format!("{} is not the primary any more", self.endpoint())))
    }

    fn told<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.flight.served(false),
            Err(error) => self.report(error),
        }
        result
    }
}

impl<P: Acquire> Deref for Routed<P> {
    type Target = P::Conn;

    fn deref(&self) -> &P::Conn {
        &self.conn
    }
}

impl<P: Acquire> DerefMut for Routed<P> {
    fn deref_mut(&mut self) -> &mut P::Conn {
        &mut self.conn
    }
}

#[async_trait]
impl<P: Acquire> Executor for Routed<P> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.check()?;
        self.told(self.conn.fetch(sql, params).await)
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.check()?;
        self.told(self.conn.fetch_stream(sql, params).await)
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.check()?;
        self.told(self.conn.execute(sql, params).await)
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.check()?;
        self.told(self.conn.batch_execute(sql).await)
    }
}

impl<P: Acquire> fmt::Debug for Routed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}
