//! Connection strings in both forms of libpq. The forms take a string apart; what the options mean is elsewhere. Where
//! libpq's documentation is silent, its source was followed: which byte ends what, and that a later option wins.
//!
//! One difference is wanted: a URL with a bare `@` or `/` in its password is refused, where libpq would look for a host
//! that is named like the password's rest.

mod pairs;
mod url;

#[cfg(test)]
mod generated_tests;
#[cfg(test)]
mod parse_tests;

use std::str::FromStr;

use super::{ConfigError, Target, TargetBuilder};

/// A connection string, `postgres://user:password@host:5432/database` or `host=... user=...`, as libpq understands them.
///
/// Without `sslmode` the server's certificate is [verified](crate::TlsMode::VerifyFull), unless every server is on this
/// machine. Options that are not supported are errors, never ignored; no error holds a piece of the string that could be
/// one of its password.
impl FromStr for Target {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        text.parse::<TargetBuilder>()?.build()
    }
}

/// As for [`Target`]; what is missing, or makes no sense together, is noticed by [`TargetBuilder::build`].
impl FromStr for TargetBuilder {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.contains('\0') {
            return Err(ConfigError::Syntax("it has a NUL byte"));
        }
        let mut builder = Self::default();
        match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            Some(rest) => url::read(rest, &mut builder)?,
            None if has_scheme(text) => return Err(ConfigError::Scheme),
            None => pairs::read(text, &mut builder)?,
        }
        Ok(builder)
    }
}

fn has_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
    text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(is_part))
}
