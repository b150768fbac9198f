//! Parameters that are encoded before anything is sent, so that one that does not fit is found in time, and none is borrowed from
//! its caller. The driver encodes a statement's when it sends that statement.

use std::error::Error as StdError;
use std::fmt;

use bytes::BytesMut;
use db_core::{Cause, Error, Params, Phase, Result, Signal};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, WrongType};

/// What a message to the server may hold besides: its name, lengths, formats.
const HEADERS: usize = 1 << 20;

/// A value as the server reads it.
pub(crate) struct Encoded {
    /// `None` is NULL.
    bytes: Option<BytesMut>,
    format: Format,
}

/// Encodes the parameters of one statement.
pub(crate) fn encode(params: Params<'_>, types: &[Type]) -> Result<Vec<Encoded>> {
    if params.len() != types.len() {
        return Err(super::wrong_count(params.len(), types.len()));
    }
    let mut size = HEADERS;
    let mut encoded = Vec::with_capacity(params.len());
    for (at, (param, kind)) in params.iter().zip(types).enumerate() {
        let mut bytes = BytesMut::new();
        let is_null = param.to_sql_checked(kind, &mut bytes).map_err(|error| unfit(at, &*error))?;
        size = size.saturating_add(bytes.len());
        if i32::try_from(size).is_err() {
            return Err(misuse(format!("parameter {at} is too large")));
        }
        let bytes = matches!(is_null, IsNull::No).then_some(bytes);
        encoded.push(Encoded { bytes, format: param.encode_format(kind) });
    }
    Ok(encoded)
}

/// In the words of the driver. The cause may hold the value; the types that it names are what helps.
fn unfit(at: usize, cause: &(dyn StdError + 'static)) -> Error {
    let message = format!("error serializing parameter {at}");
    match cause.downcast_ref::<WrongType>() {
        Some(types) => misuse(format!("{message}: {types}")),
        None => misuse(message),
    }
}

fn misuse(message: String) -> Error {
    Error::new(Signal::new(Cause::Misuse, Phase::Execute), message)
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        self.format
    }

    fn to_sql_checked(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(kind, out)
    }
}

/// Without the value.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_without_the_value() {
        let check = |params: Params<'_>, types: &[Type], expect: &str| {
            assert_eq!(encode(params, types).expect_err("misuse").to_string(), expect);
        };
        check(&[&1_i32], &[], "expected 0 parameters but got 1");
        check(&[], &[Type::INT4], "expected 1 parameters but got 0");
        let types = "cannot convert between the Rust type `&str` and the Postgres type `int4`";
        let expect = format!("error serializing parameter 1: {types}");
        check(&[&1_i32, &"hunter2"], &[Type::INT4, Type::INT4], &expect);
    }

    #[test]
    fn a_value_is_the_same_when_it_is_sent() {
        let types = [Type::INT4, Type::INT4, Type::TEXT, Type::TEXT];
        let encoded = encode(&[&7_i32, &None::<i32>, &"", &"tea"], &types).expect("they fit");
        let mut out = BytesMut::new();
        assert!(matches!(encoded[0].to_sql(&Type::INT4, &mut out), Ok(IsNull::No)));
        assert_eq!(&out[..], [0, 0, 0, 7]);
        assert!(matches!(encoded[1].to_sql(&Type::INT4, &mut out), Ok(IsNull::Yes)));
        for (index, expect) in [(2, "".as_bytes()), (3, b"tea")] {
            out.clear();
            assert!(matches!(encoded[index].to_sql(&Type::TEXT, &mut out), Ok(IsNull::No)));
            assert_eq!(&out[..], expect);
        }
        assert_eq!(format!("{encoded:?}"), "[Encoded, Encoded, Encoded, Encoded]");
    }
}
