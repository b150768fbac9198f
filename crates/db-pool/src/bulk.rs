//! Many rows in one statement, from columns: `INSERT ... SELECT * FROM unnest(...)`.

use db_core::{Cause, Error, Executor, Phase, Query, Result, Signal};
use tokio_postgres::types::ToSql;

/// The values of one column, for [`insert_columns`].
pub struct Column<'a> {
    name: &'a str,
    values: Box<dyn ToSql + Sync + Send + 'a>,
    length: usize,
}

impl<'a> Column<'a> {
    /// The column `name` with these values.
    #[must_use]
    pub fn new<T: ToSql + Sync>(name: &'a str, values: &'a [T]) -> Self {
        Self { name, length: values.len(), values: Box::new(values) }
    }
}

/// Inserts a row for each index of `columns` with one statement, and gives the number of rows. Works on a pool, a
/// connection, or in a transaction. The types are those of the table: a first, small statement asks for them.
///
/// Faster than one INSERT a row by the round trips that it saves; for millions of rows take
/// [`Conn::copy_in`](crate::Conn::copy_in).
///
/// # Errors
/// When the columns are not equally long, the table or a column does not exist, or the rows cannot be stored; then none is.
///
/// # Cancel safety
/// As of any statement: all rows are stored or none.
pub async fn insert_columns<E: Executor + ?Sized>(
    on: &E,
    table: &str,
    columns: &[Column<'_>],
) -> Result<u64> {
    check(columns)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    // The server quotes its own names, and a name that it does not know is its error.
    let (target, known): (String, Vec<(String, String)>) = {
        let rows: Vec<(String, Option<String>, Option<String>)> = on
            .query(
                "SELECT $1::text::regclass::text, quote_ident(a.attname), format_type(a.atttypid, -1)
                 FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, position)
                 LEFT JOIN pg_attribute a
                   ON a.attrelid = $1::text::regclass AND a.attname = wanted.name
                      AND a.attnum > 0 AND NOT a.attisdropped
                 ORDER BY wanted.position",
                &[&table, &names],
            )
            .await?;
        let target = rows.first().map(|(target, ..)| target.clone()).unwrap_or_default();
        let known = rows.into_iter().zip(&names).map(|((_, name, kind), wanted)| {
            name.zip(kind).ok_or_else(|| misuse(format!("table {table} has no column {wanted}")))
        });
        (target, known.collect::<Result<_>>()?)
    };
    let list = known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let arrays = known.iter().enumerate().map(|(at, (_, kind))| format!("${}::{kind}[]", at + 1));
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO {target} ({list}) SELECT * FROM unnest({arrays})");
    let values: Vec<&(dyn ToSql + Sync)> =
        columns.iter().map(|column| &*column.values as &(dyn ToSql + Sync)).collect();
    on.execute(&sql, &values).await
}

/// `unnest` would fill up what is short with nulls.
fn check(columns: &[Column<'_>]) -> Result<()> {
    let Some(first) = columns.first() else {
        return Err(misuse("there is no column to insert".to_owned()));
    };
    match columns.iter().find(|column| column.length != first.length) {
        Some(other) => Err(misuse(format!(
            "column {} has {} values and column {} has {}",
            first.name, first.length, other.name, other.length
        ))),
        None => Ok(()),
    }
}

fn misuse(message: String) -> Error {
    Error::new(Signal::new(Cause::Misuse, Phase::Execute), message)
}

impl std::fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
