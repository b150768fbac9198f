//! The checksum of a file's content. Its algorithm is part of its text, so that another one can follow.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::script::Lexeme;

/// A checksum as it is stored, for example `sha256:9f86d0…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    /// Of a text; a byte order mark and the line ends of Windows do not count.
    pub(crate) fn of(text: &str) -> Self {
        let text = text.strip_prefix(squawk_lexer::BOM).unwrap_or(text);
        let mut hash = Sha256::new();
        update(&mut hash, text);
        Self::written("sha256", hash)
    }

    /// Of the tokens that were hashed.
    pub(crate) fn of_tokens(tokens: &TokenHash) -> Self {
        Self::written("sha256-tokens", tokens.hash.clone())
    }

    fn written(algorithm: &str, hash: Sha256) -> Self {
        let mut text = format!("{algorithm}:");
        for byte in hash.finalize() {
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

/// The tokens of statements while they are hashed: their texts, but not what is between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenHash {
    hash: Sha256,
    /// Where the last token ended, if it was part of an operator.
    operator_end: Option<usize>,
}

/// No text that is hashed holds either of them: the first cannot be sent to a server, the second starts no token.
const END_OF_TOKEN: [u8; 1] = [0];
const END_OF_STATEMENT: [u8; 1] = [1];

impl TokenHash {
    pub(crate) fn push(&mut self, lexeme: &Lexeme<'_>) {
        // `<=` is two tokens here but one for the server, and `< =` is two for both.
        let is_operator = is_operator(lexeme.text);
        if !(is_operator && self.operator_end == Some(lexeme.start)) {
            self.hash.update(END_OF_TOKEN);
        }
        update(&mut self.hash, lexeme.text);
        self.operator_end = is_operator.then_some(lexeme.range().end);
    }

    /// Whether a semicolon was behind the last statement of a file does not matter.
    pub(crate) fn end_statement(&mut self) {
        self.hash.update(END_OF_TOKEN);
        self.hash.update(END_OF_STATEMENT);
        self.operator_end = None;
    }
}

fn is_operator(text: &str) -> bool {
    text.bytes().all(|byte| b"~!@#^&|`?+-*/%<>=:".contains(&byte))
}

/// Adds a text with the line ends of Unix.
fn update(hash: &mut Sha256, text: &str) {
    let mut lines = text.split("\r\n");
    if let Some(first) = lines.next() {
        hash.update(first);
    }
    for line in lines {
        hash.update(b"\n");
        hash.update(line);
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
