//! From a row to a value: single values, tuples by position, structs by name (derived).

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, WasNull, WrongType};

use crate::{Cause, Error, Phase, Result, Signal};

/// A value that a row can become.
///
/// Implemented for single values, for tuples (columns by position; the number must match) and for [`Row`]. Structs
/// derive it and take columns by name:
///
/// ```
/// use db_core::FromRow;
///
/// #[derive(FromRow)]
/// struct User {
///     id: i64,
///     #[row(rename = "mail")]
///     email: String,
///     zone: Option<String>,
/// }
/// ```
pub trait FromRow: Sized {
    /// Reads the row.
    ///
    /// # Errors
    /// When a column is missing, is of another type, or is null where the value cannot be.
    fn from_row(row: Row) -> Result<Self>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self> {
        Ok(row)
    }
}

/// Reads one column by name; what the derived form is made of.
#[doc(hidden)]
pub fn column<T: FromSqlOwned>(row: &Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(|error| mismatch(&format!("column \"{name}\""), &error))
}

fn position<T: FromSqlOwned>(row: &Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| {
        let name = row.columns().get(index).map_or("?", |column| column.name());
        mismatch(&format!("column {} \"{name}\"", index + 1), &error)
    })
}

fn mismatch(column: &str, error: &tokio_postgres::Error) -> Error {
    // Of the possible causes only these two are known to name types and no value.
    let reason = match std::error::Error::source(error) {
        None => error.to_string(),
        Some(cause) if cause.is::<WrongType>() || cause.is::<WasNull>() => cause.to_string(),
        Some(_) => "its value cannot be read".to_owned(),
    };
    let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
    Error::new(signal, format!("cannot read {column}: {reason}"))
}

fn expect_columns(row: &Row, expected: usize) -> Result<()> {
    if row.len() == expected {
        return Ok(());
    }
    let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
    Err(Error::new(signal, format!("expected {expected} columns, got {}", row.len())))
}

macro_rules! single_values {
    ($($type:ty),*) => {$(
        impl FromRow for $type {
            fn from_row(row: Row) -> Result<Self> {
                expect_columns(&row, 1)?;
                position(&row, 0)
            }
        }

        impl FromRow for Option<$type> {
            fn from_row(row: Row) -> Result<Self> {
                expect_columns(&row, 1)?;
                position(&row, 0)
            }
        }
    )*};
}

single_values!(bool, i8, i16, i32, i64, u32, f32, f64, String, Timestamp, serde_json::Value);
single_values!(Vec<u8>, Vec<bool>, Vec<i16>, Vec<i32>, Vec<i64>, Vec<f64>, Vec<String>);

macro_rules! tuples {
    ($($count:literal: $($type:ident $index:tt),*;)*) => {$(
        impl<$($type: FromSqlOwned),*> FromRow for ($($type,)*) {
            fn from_row(row: Row) -> Result<Self> {
                expect_columns(&row, $count)?;
                Ok(($(position::<$type>(&row, $index)?,)*))
            }
        }
    )*};
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}
