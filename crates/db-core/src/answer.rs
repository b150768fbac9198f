//! What one statement of several gave: its rows, read by the verbs of [`Query`](crate::Query), and how many it changed. Nothing
//! is run here.

use tokio_postgres::Row;

use crate::{Cause, Error, FromRow, Params, Phase, Result, Signal};

/// Statements that are sent together, each with its parameters.
///
/// ```
/// use db_core::Batch;
///
/// let (from, cents) = (7_i64, 100_i64);
/// let transfer: Batch<'_> = &[
///     ("UPDATE accounts SET cents = cents - $2 WHERE id = $1", &[&from, &cents]),
///     ("INSERT INTO journal DEFAULT VALUES", &[]),
/// ];
/// # assert_eq!(transfer.len(), 2);
/// ```
pub type Batch<'a> = &'a [(&'a str, Params<'a>)];

/// What one statement of a [`Batch`] gave.
///
/// The verbs are those of [`Query`](crate::Query), for a statement that has run and been committed already: a number of rows that
/// the verb does not allow is an error, and undoes nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// Its rows, in order.
    pub rows: Vec<Row>,
    rows_affected: u64,
}

impl Answer {
    /// Of a statement that gave `rows` and said that it concerned `rows_affected`.
    #[must_use]
    pub fn new(rows: Vec<Row>, rows_affected: u64) -> Self {
        Self { rows, rows_affected }
    }

    /// How many rows it changed; of a `SELECT` how many it gave.
    #[must_use]
    pub fn rows_affected(&self) -> u64 {
        self.rows_affected
    }

    /// Any number of rows.
    ///
    /// # Errors
    /// A row that does not fit `T`.
    pub fn query<T: FromRow>(self) -> Result<Vec<T>> {
        self.rows.into_iter().map(T::from_row).collect()
    }

    /// Exactly one row.
    ///
    /// # Errors
    /// As [`Answer::query`], and when there is no row or more than one.
    pub fn one<T: FromRow>(mut self) -> Result<T> {
        match (self.rows.pop(), self.rows.len()) {
            (Some(row), 0) => T::from_row(row),
            (None, _) => Err(cardinality("exactly one row", 0)),
            (Some(_), more) => Err(cardinality("exactly one row", more + 1)),
        }
    }

    /// One row or none.
    ///
    /// # Errors
    /// As [`Answer::query`], and when there is more than one row.
    pub fn one_or_none<T: FromRow>(mut self) -> Result<Option<T>> {
        match (self.rows.pop(), self.rows.len()) {
            (Some(row), 0) => T::from_row(row).map(Some),
            (None, _) => Ok(None),
            (Some(_), more) => Err(cardinality("at most one row", more + 1)),
        }
    }

    /// At least one row.
    ///
    /// # Errors
    /// As [`Answer::query`], and when there is no row.
    pub fn many<T: FromRow>(self) -> Result<Vec<T>> {
        let rows = self.query()?;
        if rows.is_empty() { Err(cardinality("at least one row", 0)) } else { Ok(rows) }
    }

    /// No row.
    ///
    /// # Errors
    /// When there is a row.
    pub fn none(self) -> Result<()> {
        match self.rows.len() {
            0 => Ok(()),
            rows => Err(cardinality("no row", rows)),
        }
    }
}

/// The rows of a statement that nobody counted.
impl From<Vec<Row>> for Answer {
    fn from(rows: Vec<Row>) -> Self {
        let rows_affected = rows.len() as u64;
        Self { rows, rows_affected }
    }
}

fn cardinality(expected: &str, rows: usize) -> Error {
    let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
    Error::new(signal, format!("expected {expected}, got {rows}"))
}
