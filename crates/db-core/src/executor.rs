//! Running statements: the small trait that connections implement, and the verbs that everything gets from it.

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Answer, FromRow, Result};

/// Parameters of a statement. Values travel apart from the SQL text; there is no string-built form.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Rows as they arrive.
pub type RowStream<'a> = BoxStream<'a, Result<Row>>;

/// Something that runs statements: a database, a connection, a transaction.
///
/// Implement this; call the verbs of [`Query`]. It can be a trait object: `&dyn Executor` has all verbs.
///
/// # Cancel safety
/// Dropping a future of any method abandons the statement; whether it took effect is then unknown. An
/// implementation must make sure that what is left of it never reaches the next user of the connection.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Runs a statement and collects its rows.
    ///
    /// # Errors
    /// The server's error, or that of the way to it, classified.
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>>;

    /// Runs a statement and gives its rows as they arrive, without holding all of them in memory.
    ///
    /// # Errors
    /// As [`Executor::fetch`]; an error after the first row is an item of the stream.
    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>>;

    /// Runs a statement and gives the number of rows it changed.
    ///
    /// # Errors
    /// As [`Executor::fetch`].
    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64>;

    /// Runs several statements, separated by semicolons, without parameters.
    ///
    /// # Errors
    /// As [`Executor::fetch`]; the statements after the failed one did not run.
    async fn batch_execute(&self, sql: &str) -> Result<()>;
}

/// The verbs. Each gives whatever implements [`FromRow`]: a struct, a tuple, a single value, or the [`Row`] itself.
///
/// A number of rows that the verb does not allow is an error that says how many there were. The statement has run
/// by then ([`Outcome::Executed`](crate::Outcome::Executed)); inside a transaction it can still be rolled back.
pub trait Query: Executor {
    /// Any number of rows.
    ///
    /// # Errors
    /// The statement's error, or a row that does not fit `T`.
    fn query<T: FromRow + Send>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        async move { Answer::from(self.fetch(sql, params).await?).query() }
    }

    /// Exactly one row.
    ///
    /// # Errors
    /// As [`Query::query`], and when there is no row or more than one.
    fn one<T: FromRow + Send>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<T>> + Send {
        async move { Answer::from(self.fetch(sql, params).await?).one() }
    }

    /// One row or none.
    ///
    /// # Errors
    /// As [`Query::query`], and when there is more than one row.
    fn one_or_none<T: FromRow + Send>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        async move { Answer::from(self.fetch(sql, params).await?).one_or_none() }
    }

    /// At least one row.
    ///
    /// # Errors
    /// As [`Query::query`], and when there is no row.
    fn many<T: FromRow + Send>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        async move { Answer::from(self.fetch(sql, params).await?).many() }
    }

    /// No row.
    ///
    /// # Errors
    /// The statement's error, and when there is a row.
    fn none(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<()>> + Send {
        async move { Answer::from(self.fetch(sql, params).await?).none() }
    }

    /// Rows as they arrive.
    ///
    /// # Errors
    /// As [`Query::query`]; an error after the first row is an item of the stream.
    fn stream<T: FromRow + Send + 'static>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<BoxStream<'_, Result<T>>>> + Send {
        async move {
            let rows = self.fetch_stream(sql, params).await?;
            Ok(rows.map(|row| T::from_row(row?)).boxed())
        }
    }
}

impl<E: Executor + ?Sized> Query for E {}
