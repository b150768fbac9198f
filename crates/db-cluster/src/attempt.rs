//! A statement in each of the forms in which it can be run, to be run again on another connection if need be.

use std::time::Instant;

use db_core::{Acquire, Executor as _, Params, Result, Row, RowStream};

/// One attempt of a read on a connection, which may be made again on another.
pub(crate) trait Attempt<P: Acquire, T>: Send {
    /// Whether it may be run again on a server that takes writes, once it was sent: what is asked for rows is a read, what is
    /// asked to be done may be none.
    const IS_REPEATABLE: bool;

    fn run(&mut self, conn: P::Conn) -> impl Future<Output = Result<T>> + Send;

    /// The same on any connection of a pool, perhaps one that others use too.
    fn run_anywhere(
        &mut self,
        pool: &P,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<T>> + Send {
        async move { self.run(pool.acquire(deadline).await?).await }
    }
}

/// For all rows at once.
pub(crate) struct Fetch<'s>(pub(crate) &'s str, pub(crate) Params<'s>);

/// For rows as they arrive.
pub(crate) struct Stream<'s>(pub(crate) &'s str, pub(crate) Params<'s>);

/// For the number of rows.
pub(crate) struct Execute<'s>(pub(crate) &'s str, pub(crate) Params<'s>);

/// For several statements.
pub(crate) struct Batch<'s>(pub(crate) &'s str);

impl<P: Acquire> Attempt<P, Vec<Row>> for Fetch<'_> {
    const IS_REPEATABLE: bool = true;

    async fn run(&mut self, conn: P::Conn) -> Result<Vec<Row>> {
        conn.fetch(self.0, self.1).await
    }

    async fn run_anywhere(&mut self, pool: &P, deadline: Option<Instant>) -> Result<Vec<Row>> {
        pool.fetch_autocommit(deadline, self.0, self.1).await
    }
}

impl<'r, P: Acquire> Attempt<P, RowStream<'r>> for Stream<'_> {
    const IS_REPEATABLE: bool = true;

    async fn run(&mut self, conn: P::Conn) -> Result<RowStream<'r>> {
        P::stream(conn, self.0, self.1).await
    }
}

impl<P: Acquire> Attempt<P, u64> for Execute<'_> {
    const IS_REPEATABLE: bool = false;

    async fn run(&mut self, conn: P::Conn) -> Result<u64> {
        conn.execute(self.0, self.1).await
    }

    async fn run_anywhere(&mut self, pool: &P, deadline: Option<Instant>) -> Result<u64> {
        pool.execute_autocommit(deadline, self.0, self.1).await
    }
}

impl<P: Acquire> Attempt<P, ()> for Batch<'_> {
    const IS_REPEATABLE: bool = false;

    async fn run(&mut self, conn: P::Conn) -> Result<()> {
        conn.batch_execute(self.0).await
    }
}
