//! The pool as whoever routes between servers knows it.

use std::panic::Location;
use std::time::Instant;

use db_core::{Acquire, Params, Result, RowStream};
use tokio_postgres::Row;

use crate::checkout::Patience;
use crate::{Conn, Pool};

impl Acquire for Pool {
    type Conn = Conn;

    /// Fails with the first failure to connect: whoever routes has other servers, and tries this one again himself.
    #[track_caller]
    fn acquire(&self, deadline: Option<Instant>) -> impl Future<Output = Result<Conn>> + Send {
        self.acquire_patiently(Location::caller(), deadline.map(Into::into), Patience::none())
    }

    async fn stream(conn: Conn, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        conn.into_stream(sql, params).await
    }

    async fn fetch_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>> {
        self.autocommit_for_routing(deadline).fetch_here(sql, params).await
    }

    async fn execute_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> Result<u64> {
        self.autocommit_for_routing(deadline).execute_here(sql, params).await
    }

    async fn keep_session(conn: &Conn) -> Result<()> {
        conn.keep_session().await
    }

    fn rotate(&self) {
        Self::rotate(self);
    }

    fn sever(&self) {
        Self::sever(self);
    }
}
