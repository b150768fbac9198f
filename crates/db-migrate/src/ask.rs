//! Questions to the server in one message each, as text and without a name: behind a pooler the next one may come to
//! another session, where a prepared statement is unknown. Values go in as [`literal`](crate::history::literal)s.

use db_core::{Cause, Error, FromRow, Phase, Result, Signal};
use tokio_postgres::Client;

/// Every row.
pub(crate) async fn all<T: FromRow>(client: &Client, sql: &str) -> Result<Vec<T>> {
    let rows = client.query_typed(sql, &[]).await;
    let rows = rows.map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters())?;
    rows.into_iter().map(T::from_row).collect()
}

/// The only row, if there is one.
pub(crate) async fn one_or_none<T: FromRow>(client: &Client, sql: &str) -> Result<Option<T>> {
    Ok(all(client, sql).await?.pop())
}

/// The only row.
pub(crate) async fn one<T: FromRow>(client: &Client, sql: &str) -> Result<T> {
    one_or_none(client, sql).await?.ok_or_else(|| {
        Error::new(
            Signal::new(Cause::UnexpectedResult, Phase::Execute),
            "expected one row, the server gave none",
        )
    })
}
