//! Why a connection string, or the parts of a target, cannot be used. No variant holds a value that was given, since any
//! piece of a malformed string may be a piece of a password.

use thiserror::Error;

/// Why a connection string, or the parts of a [`Target`](crate::Target), cannot be used. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A URL of something else.
    #[error("the scheme is not postgres")]
    Scheme,
    /// It cannot be taken apart; says what is wrong.
    #[error("{0}")]
    Syntax(&'static str),
    /// A bare `@` where none may be.
    #[error("it has an @ too many: in a password it is written %40")]
    AtSign,
    /// A bare `/` in front of the `@`.
    #[error("it has a / before the @: in a password it is written %2F")]
    Slash,
    /// An option that nobody knows; its name, if that cannot be a piece of a password.
    #[error("it has an unknown option{}", .0.as_ref().map(|name| format!(", `{name}`")).unwrap_or_default())]
    UnknownOption(Option<String>),
    /// An option of libpq that is not supported here: to ignore it would be less than was asked for.
    #[error("`{setting}` is not supported{instead}")]
    Unsupported {
        /// Its name.
        setting: &'static str,
        /// What to do about it.
        instead: &'static str,
    },
    /// A value that cannot be used.
    #[error("`{setting}` must be {accepts}")]
    Value {
        /// The option.
        setting: &'static str,
        /// What it may be.
        accepts: String,
    },
    /// Lists that do not belong together.
    #[error("`{setting}` has {given} values for {hosts} hosts")]
    Count {
        /// The option.
        setting: &'static str,
        /// How many values it has.
        given: usize,
        /// How many hosts there are.
        hosts: usize,
    },
    /// Settings that contradict each other; says which.
    #[error("{0}")]
    Conflict(&'static str),
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// No user.
    #[error("it names no user")]
    NoUser,
}

impl ConfigError {
    pub(crate) fn value(setting: &'static str, accepts: impl Into<String>) -> Self {
        Self::Value { setting, accepts: accepts.into() }
    }

    /// The option concerned, under libpq's name, when it is one.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported { setting, .. } | Self::Value { setting, .. } | Self::Count { setting, .. } => {
                Some(setting)
            }
            _ => None,
        }
    }

    /// Without the name of an unknown option, where that may be a piece of a password.
    pub(crate) fn unnamed(self) -> Self {
        match self {
            Self::UnknownOption(_) => Self::UnknownOption(None),
            other => other,
        }
    }
}
