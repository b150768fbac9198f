//! A pool as far as whoever chooses between several needs to know it. How it keeps its connections is its own.

use std::time::Instant;

use futures_util::stream::{StreamExt as _, iter};

use tokio_postgres::Row;

use crate::{Executor, Params, Result, RowStream};

/// A pool of connections to one server.
///
/// One method makes any pool one. The others are for pools that can do more.
pub trait Acquire: Send + Sync + 'static {
    /// A connection, which goes back by being dropped.
    type Conn: Executor + 'static;

    /// Acquires a connection, waiting until `deadline`, or for as long as the pool itself would, for one to come back. That the
    /// server cannot be connected to is better said at once: whoever chooses between servers has others, and tries again.
    ///
    /// # Errors
    /// Those of the pool. That all connections are in use is of kind [`Performance`](crate::Kind::Performance), as
    /// [`Cause::PoolBusy`](crate::Cause::PoolBusy) makes it; whoever watches the server does not take that for its silence.
    ///
    /// # Cancel safety
    /// Dropping the future must leave nothing behind.
    fn acquire(&self, deadline: Option<Instant>) -> impl Future<Output = Result<Self::Conn>> + Send;

    /// Runs a statement on a connection and gives its rows as they arrive; the connection goes back with the last one. Unless
    /// it is overridden, all rows are in memory before the first one comes.
    ///
    /// # Errors
    /// As [`Executor::fetch_stream`].
    ///
    /// # Cancel safety
    /// As [`Executor::fetch_stream`].
    fn stream(
        conn: Self::Conn,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<RowStream<'static>>> + Send {
        async move { Ok(iter(conn.fetch(sql, params).await?.into_iter().map(Ok)).boxed()) }
    }

    /// Runs a statement that needs nothing of its connection, and collects its rows: a transaction of its own. Unless it is
    /// overridden, on a connection that is acquired for it.
    ///
    /// # Errors
    /// As [`Acquire::acquire`] and [`Executor::fetch`].
    ///
    /// # Cancel safety
    /// As [`Executor::fetch`].
    fn fetch_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<Row>>> + Send {
        async move { self.acquire(deadline).await?.fetch(sql, params).await }
    }

    /// [`Acquire::fetch_autocommit`] for the number of rows that were changed.
    ///
    /// # Errors
    /// As [`Acquire::acquire`] and [`Executor::execute`].
    ///
    /// # Cancel safety
    /// As [`Executor::execute`].
    fn execute_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<u64>> + Send {
        async move { self.acquire(deadline).await?.execute(sql, params).await }
    }

    /// Has everything that runs on a connection from now on run in one session of the server, to read there. A session is kept as it
    /// is, and this does nothing, unless a pooler stands before the server and gives each transaction another one: what a
    /// statement has found out there need not be so for the next one, since the server behind may have been started again or
    /// be another one by then.
    ///
    /// A pool behind such a pooler begins a transaction that only reads, in which each statement sees the latest, and rolls it back
    /// when the connection comes back.
    ///
    /// # Errors
    /// Those of a statement.
    ///
    /// # Cancel safety
    /// Whoever drops the future must drop the connection too.
    fn keep_session(_conn: &Self::Conn) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Replaces every connection, without an error to anybody: the server is not any more what it was when they were opened.
    fn rotate(&self) {}

    /// Hears that the server is the primary from now on, or is it no longer. Called in the order of the changes and before anybody
    /// else hears of them, so it must not wait.
    fn is_primary_now(&self, _is_primary: bool) {}

    /// Ends every connection at once, also under those who use it: nothing more may reach this server.
    fn sever(&self) {
        self.rotate();
    }
}
