//! What is wrong with a directive. The text goes on after `file:line`.

use super::header::KNOWN;

/// A comment that was meant to say how the file runs, and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// It is nearly one that is known.
    #[error("says `{text}`, which is no directive: did you mean `{meant}`? known are {}", KNOWN.join(", "))]
    Unknown {
        /// The comment.
        text: String,
        /// The nearest that is known.
        meant: &'static str,
    },
    /// Its value is none that is known.
    #[error("says `{text}`, expected `{expected}`")]
    Value {
        /// The comment.
        text: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// It is there twice.
    #[error("says `{text}`, but has said so before: one of the two must go")]
    Twice {
        /// The comment.
        text: String,
    },
    /// It is below the first statement.
    #[error("says `{text}`, which has no effect here: move it up, in front of the first statement")]
    Late {
        /// The comment.
        text: String,
    },
    /// Another tool would understand it.
    #[error("says `{text}`, which only another tool understands: {hint}")]
    Foreign {
        /// The comment.
        text: String,
        /// What to do instead.
        hint: &'static str,
    },
}
