//! The verbs with retries: a view of the database that knows what its caller is going to do. Transactions are elsewhere.

use std::time::Duration;

use async_trait::async_trait;
use db_core::{Executor, Params, Result, RowStream};
use db_pool::{Autocommit, Pool};
use db_retry::Retry;
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::transact::FOR_EVER;

/// A database whose single statements are run again as far as is safe for what they do: see
/// [`Database::primary`](crate::Database::primary) and [`Database::idempotent_writes`](crate::Database::idempotent_writes).
///
/// A stream is begun again when it could not begin, and never when one of its rows fails. What may be more than one
/// transaction is run once: [`batch_execute`](Executor::batch_execute), `CALL`, `DO`, `VACUUM`, `CLUSTER`, `REINDEX`, and whatever runs
/// `CONCURRENTLY`.
#[derive(Clone, Debug)]
pub struct Retrying<'d> {
    on: Autocommit<'d>,
    retry: Retry,
}

impl<'d> Retrying<'d> {
    pub(crate) fn new(pool: &'d Pool, retry: Retry) -> Self {
        Self { on: pool.autocommit(), retry }
    }

    /// The same with one deadline, so far from now, for waiting for a connection, all attempts, and their pauses. What still
    /// runs then is cancelled on the server.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use db_app::prelude::*;
    /// # async fn example(db: &Database) -> db_app::core::Result<()> {
    /// let within = Duration::from_millis(300);
    /// db.idempotent_writes().within(within).execute("UPDATE users SET zone = 'south'", &[]).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        let deadline = Instant::now() + limit.min(FOR_EVER);
        (self.retry, self.on) = (self.retry.until(deadline), self.on.until(deadline));
        self
    }

    /// The same, with a connection of its own for each statement: see [`Database::exclusive`](crate::Database::exclusive).
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.on = self.on.exclusive();
        self
    }
}

#[async_trait]
impl Executor for Retrying<'_> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        repeat(&self.retry, sql, || self.on.fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        repeat(&self.retry, sql, || self.on.fetch_stream(sql, params)).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        repeat(&self.retry, sql, || self.on.execute(sql, params)).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.on.batch_execute(sql).await
    }
}

/// Runs a statement, again if need be, but for those that are run once.
pub(crate) async fn repeat<T, F, Fut>(retry: &Retry, sql: &str, mut run: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    if is_run_once(sql) { run().await } else { retry.run(run).await }
}

/// Whether a statement may commit in its middle, so that its error does not say what of it stays: by its words, or when the
/// first is hidden.
pub(crate) fn is_run_once(sql: &str) -> bool {
    let mut sql = sql.trim_start();
    loop {
        let after = match sql.get(..2) {
            Some("--") => sql.split_once('\n').map(|(_, after)| after),
            // One that holds another is not followed to its end.
            Some("/*") => {
                let whole = sql[2..].split_once("*/").filter(|(comment, _)| !comment.contains("/*"));
                whole.map(|(_, after)| after)
            }
            _ => break,
        };
        let Some(after) = after else { return true };
        sql = after.trim_start();
    }
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let is_one_of = |words: &[&str]| words.iter().any(|it| word.eq_ignore_ascii_case(it));
    word.is_empty()
        || is_one_of(&["call", "do", "vacuum", "cluster", "reindex"])
        || is_one_of(&["create", "drop", "alter"]) && is_concurrent(sql)
}

/// Whether the statement is split into several transactions so that it locks less.
fn is_concurrent(sql: &str) -> bool {
    let mut words = sql.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| word.eq_ignore_ascii_case("concurrently"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_commit_in_its_middle_is_run_once() {
        let check = |sql, expect| assert_eq!(is_run_once(sql), expect, "{sql}");
        check("SELECT 1", false);
        check("  insert into t values (1)", false);
        check("DOMAIN", false);
        check("create index i on t (n)", false);
        check("CREATE INDEX concurrently i ON t (n)", true);
        check("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", true);
        check("SELECT 'concurrently'", false);
        check("VACUUM t", true);
        check("reindex table t", true);
        check("call p()", true);
        check("DO $$ BEGIN COMMIT; END $$", true);
        check("-- why\n/* how */ CALL p()", true);
        check("-- why\n/* how */ SELECT 1", false);
        check("/* a /* b */ c */ CALL p()", true);
        check("/* never ends", true);
        check("", true);
        check("(SELECT 1)", true);
    }
}
