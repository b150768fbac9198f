//! The checksum of a file's content. Its algorithm is part of its text, so that another one can follow.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A checksum as it is stored, for example `sha256:9f86d0…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    /// Of text whose byte order mark and line ends are normalised already.
    pub(crate) fn of(normalised: &str) -> Self {
        let mut text = "sha256:".to_owned();
        for byte in Sha256::digest(normalised) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// As read from the history, whatever wrote it.
    pub(crate) fn recorded(text: String) -> Self {
        Self(text)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sha256_that_other_tools_compute() {
        let expect = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Checksum::of("abc").as_str(), expect);
    }
}
