//! The number in front of a migration's name. Not an integer type: timestamps with fractions are longer than any.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A version: digits of any length, compared as a number and shown as written, so `001` equals `1`. Dashes between the
/// digits are accepted and dropped: `2023-01-02-030405` is `20230102030405`.
#[derive(Clone)]
pub struct Version(String);

/// The text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version, expected digits only")]
pub struct InvalidVersion(String);

impl Version {
    /// As written, but without dashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is in front of every other version.
    pub(crate) fn is_zero(&self) -> bool {
        self.significant().is_empty()
    }

    fn significant(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !text.split('-').all(is_number) {
            return Err(InvalidVersion(text.to_owned()));
        }
        Ok(Self(text.replace('-', "")))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right) = (self.significant(), other.significant());
        left.len().cmp(&right.len()).then_with(|| left.cmp(right))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let check = |left: &str, right: &str, expect| {
            let parse = |text: &str| text.parse::<Version>().expect(text);
            assert_eq!(parse(left).cmp(&parse(right)), expect, "{left} {right}");
            assert_eq!(parse(left) == parse(right), expect == Ordering::Equal, "{left} {right}");
        };
        check("1", "2", Ordering::Less);
        check("9", "10", Ordering::Less);
        check("001", "1", Ordering::Equal);
        check("0", "000", Ordering::Equal);
        check("010", "9", Ordering::Greater);
        check("99999999999999999999999", "100000000000000000000000", Ordering::Less);
        check("2023-01-02-030405", "20230102030405", Ordering::Equal);
        check("20260101120000123456", "20260101120000123457", Ordering::Less);
    }

    #[test]
    fn only_digits_are_a_version() {
        for bad in ["", "1a", "-1", "1-", "1--2", "-", "1.2", " 1", "١"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
