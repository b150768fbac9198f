//! The form `host=db user=app password='it\'s'`.

use super::{ConfigError, TargetBuilder};

/// Reads all pairs.
pub(super) fn read(text: &str, builder: &mut TargetBuilder) -> Result<(), ConfigError> {
    let mut rest = text.trim_start_matches(is_space);
    let mut has_password = false;
    while !rest.is_empty() {
        let (name, after) = name(rest)?;
        let (value, after) = match after.strip_prefix('\'') {
            Some(after) => quoted(after)?,
            None => bare(after),
        };
        // An unquoted password ends at its first space: what follows may be the rest of it.
        builder.set(name, &value).map_err(|error| if has_password { error.unnamed() } else { error })?;
        has_password |= name == "password";
        rest = after.trim_start_matches(is_space);
    }
    Ok(())
}

/// The name in front, and what follows its `=`.
fn name(text: &str) -> Result<(&str, &str), ConfigError> {
    let end = text.find(|c| c == '=' || is_space(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.trim_start_matches(is_space).strip_prefix('=') {
        Some(rest) => Ok((name, rest.trim_start_matches(is_space))),
        None => Err(ConfigError::Syntax(
            "it is neither a postgres:// URL nor a list of name=value, or a value with spaces is not in quotes",
        )),
    }
}

/// A value up to the next space, and what follows.
fn bare(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            c if is_space(c) => break,
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

/// A value up to its closing quote, the opening one being read already, and what follows.
fn quoted(text: &str) -> Result<(String, &str), ConfigError> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next() {
            Some('\'') => return Ok((value, chars.as_str())),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
            None => return Err(ConfigError::Syntax("a quote in it is not closed")),
        }
    }
}

/// What C calls a space.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
