//! Standard output of the program. A reader that goes away (`| head -1`) stops nothing; anything else that keeps text
//! from being written makes the program fail at its end.

use std::fmt;
use std::io::{ErrorKind, Write, stdout};
use std::sync::Mutex;

use anyhow::Result;
use serde::Serialize;

/// The first error of writing that was not a closed pipe.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line, like `println!`, and never panics.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: fmt::Arguments<'_>) {
    let written = writeln!(stdout(), "{text}");
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failed) = FAILED.lock()
    {
        failed.get_or_insert(error);
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Why not everything could be written, if so.
pub(crate) fn failure() -> Option<std::io::Error> {
    FAILED.lock().ok()?.take()
}
