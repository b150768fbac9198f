//! Parameters in the form in which they travel. A lane outlives those who use it, so what it sends must not be borrowed from them.

use bytes::BytesMut;
use db_core::Params;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// The parameters of one statement.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    bytes: BytesMut,
    /// The format of each, and where it ends in `bytes`; none is NULL.
    parts: Vec<(Format, Option<usize>)>,
}

impl Encoded {
    /// None when they do not fit the types, of which whoever sends them by another way says what is wrong.
    pub(crate) fn new(params: Params<'_>, types: &[Type]) -> Option<Self> {
        if params.len() != types.len() {
            return None;
        }
        let (mut bytes, mut parts) = (BytesMut::new(), Vec::with_capacity(params.len()));
        for (param, type_) in params.iter().zip(types) {
            let end = match param.to_sql_checked(type_, &mut bytes).ok()? {
                IsNull::No => Some(bytes.len()),
                IsNull::Yes => None,
            };
            parts.push((param.encode_format(type_), end));
        }
        Some(Self { bytes, parts })
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Part<'_>> + Clone {
        let mut begin = 0;
        self.parts.iter().map(move |(format, end)| {
            let bytes = end.map(|end| &self.bytes[std::mem::replace(&mut begin, end)..end]);
            Part { bytes, format: *format }
        })
    }
}

/// One of them. Whether it fits its type was looked at before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'e> {
    bytes: Option<&'e [u8]>,
    format: Format,
}

impl ToSql for Part<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(bytes) = self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        self.format
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_bytes_and_their_order() {
        let types = [Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT];
        let params: Params<'_> = &[&7_i64, &None::<String>, &"", &"tea"];
        let encoded = Encoded::new(params, &types).expect("they fit");
        let parts: Vec<_> = encoded.iter().map(|part| part.bytes.map(<[u8]>::to_vec)).collect();
        assert_eq!(
            parts,
            [Some(7_i64.to_be_bytes().to_vec()), None, Some(Vec::new()), Some(b"tea".to_vec())]
        );
        assert_eq!(encoded.iter().len(), 4);
    }

    #[test]
    fn what_does_not_fit_is_left_to_others() {
        assert!(Encoded::new(&[&7_i32], &[Type::INT8]).is_none());
        assert!(Encoded::new(&[], &[Type::INT8]).is_none());
    }
}
