//! Where passwords come from while a pool is open: a file, a command, or a closure. What knows the password beforehand is in
//! `db-core`. Nothing here reads the environment.

mod closure;
mod command;
mod file;

use std::fmt;

use db_core::{Cause, Error, Phase, Result, SecretString, Signal};

pub use closure::PasswordFn;
pub use command::CommandPassword;
pub use file::FilePassword;

/// No password is longer; tokens of the clouds have 2 KiB.
const LONGEST: usize = 64 * 1024;

/// The password in what was read: without the newline that editors and `echo` put at the end.
fn password(mut bytes: Vec<u8>, origin: impl fmt::Display) -> Result<SecretString, Reason> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    let wrong = match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => "is empty",
        Ok(text) if text.contains('\0') => "has a NUL byte",
        Ok(text) if text.len() > LONGEST => "is longer than 64 KiB",
        Ok(text) => return Ok(SecretString::from(text)),
        Err(_) => "is not UTF-8",
    };
    Err(format!("the password {origin} {wrong}"))
}

/// Why there is no password.
type Reason = String;

fn error(cause: Cause, reason: Reason) -> Error {
    Error::new(Signal::new(cause, Phase::Connect), reason)
}
