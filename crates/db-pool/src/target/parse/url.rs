//! The form `postgres://user:password@host:5432,[::1]:5433/database?name=value`.

use super::{ConfigError, TargetBuilder};

/// Reads what follows the scheme.
pub(super) fn read(text: &str, builder: &mut TargetBuilder) -> Result<(), ConfigError> {
    // As in libpq the user's part ends at the first `@`, if no `/` comes before it.
    let rest = match text.find(['@', '/']).filter(|end| text[*end..].starts_with('@')) {
        Some(end) => {
            user(&text[..end], builder)?;
            &text[end + 1..]
        }
        None => text,
    };
    let (location, query) = match rest.split_once('?') {
        Some((location, query)) => (location, Some(query)),
        None => (rest, None),
    };
    if location.contains('@') {
        let is_slash = rest.len() == text.len();
        return Err(if is_slash { ConfigError::Slash } else { ConfigError::AtSign });
    }
    let (hosts, database) = location.split_once('/').unwrap_or((location, ""));
    servers(hosts, builder)?;
    set(builder, "dbname", database)?;
    // Whatever is in front of an `@` may be a piece of a password, `?` and `=` included.
    let is_suspect = query.is_some_and(|query| query.contains('@'));
    match query {
        Some(query) => {
            options(query, builder).map_err(|error| if is_suspect { error.unnamed() } else { error })
        }
        None => Ok(()),
    }
}

/// `user:password`.
fn user(text: &str, builder: &mut TargetBuilder) -> Result<(), ConfigError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    if user.contains('?') {
        // `postgres://db?user=app&password=p@ss`: what libpq takes for a user has a piece of the password in it.
        return Err(ConfigError::Syntax("it has a ? in front of the @: there it is written %3F, and @ %40"));
    }
    set(builder, "user", user)?;
    set(builder, "password", password)
}

/// `host:port,[address]:port`.
fn servers(text: &str, builder: &mut TargetBuilder) -> Result<(), ConfigError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for server in text.split(',') {
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest
                    .split_once(']')
                    .ok_or(ConfigError::Syntax("a bracket around an address in it is not closed"))?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => port,
                    None if rest.is_empty() => "",
                    None => {
                        return Err(ConfigError::Syntax("behind an address in brackets a port is expected"));
                    }
                };
                if address.is_empty() {
                    return Err(ConfigError::Syntax("brackets in it are without an address"));
                }
                (address, port)
            }
            None => server.split_once(':').unwrap_or((server, "")),
        };
        hosts.push(host);
        ports.push(port);
    }
    set(builder, "host", &hosts.join(","))?;
    set(builder, "port", &ports.join(","))
}

/// `name=value&name=value`.
fn options(text: &str, builder: &mut TargetBuilder) -> Result<(), ConfigError> {
    const SYNTAX: ConfigError =
        ConfigError::Syntax("behind its ? options are expected as name=value, joined by &");
    if text.is_empty() {
        return Ok(());
    }
    for option in text.strip_suffix('&').unwrap_or(text).split('&') {
        let (name, value) = option.split_once('=').ok_or(SYNTAX)?;
        if value.contains('=') {
            return Err(SYNTAX);
        }
        builder.set(&decoded(name)?, &decoded(value)?)?;
    }
    Ok(())
}

/// Sets what is there.
fn set(builder: &mut TargetBuilder, name: &str, value: &str) -> Result<(), ConfigError> {
    if value.is_empty() { Ok(()) } else { builder.set(name, &decoded(value)?) }
}

fn decoded(text: &str) -> Result<String, ConfigError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(0), Some(0)) => return Err(ConfigError::Syntax("it has a NUL byte")),
            // Two digits are one byte.
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => {
                return Err(ConfigError::Syntax(
                    "a % in it is not followed by two hexadecimal digits: in a password it is written %25",
                ));
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| ConfigError::Syntax("what it encodes by % is not UTF-8"))
}
