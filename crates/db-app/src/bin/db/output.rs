//! Standard output of the program. A reader that goes away (`| head -1`) stops nothing; anything else that keeps text
//! from being written makes the program fail at its end.
//!
//! With `--json` it is one document, whatever happens: the result, or `{"error": ...}` when there is none. Only a command that is
//! told to look again and again prints many, each in a line.

use std::fmt;
use std::io::{ErrorKind, Write, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

/// The first error of writing that was not a closed pipe.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Whether nobody reads any more.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether a document was printed.
static IS_PRINTED: AtomicBool = AtomicBool::new(false);

/// Prints a line, like `println!`, and never panics.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: fmt::Arguments<'_>) {
    let Err(error) = writeln!(stdout(), "{text}") else { return };
    IS_CLOSED.store(true, Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failed) = FAILED.lock()
    {
        failed.get_or_insert(error);
    }
}

/// Whether nothing can be written any more, so that whoever would go on for ever should not.
pub(crate) fn is_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}

pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    IS_PRINTED.store(true, Ordering::Relaxed);
    say!("{text}");
    Ok(())
}

/// One of many documents, each in a line of its own.
pub(crate) fn json_line(value: &Value) {
    IS_PRINTED.store(true, Ordering::Relaxed);
    say!("{value}");
}

/// Says that something was not done, and why: for people, and as JSON where that is asked for and nothing was printed.
pub(crate) fn refuse(lines: &[String], is_json: bool) {
    for line in lines {
        eprintln!("error: {line}");
    }
    if is_json {
        error_json(&json!({ "message": lines.join("\n") }));
    }
}

/// Says that a signal ended it, and what that left.
pub(crate) fn interrupted(text: &str, is_json: bool) {
    eprintln!("{text}");
    if is_json {
        error_json(&json!({ "message": text, "interrupted": true }));
    }
}

/// Misuse of the command line, as JSON; its text was printed.
pub(crate) fn misuse(error: &clap::Error) {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    error_json(&json!({ "message": line.trim_start_matches("error: ") }));
}

/// Says what failed, as [`refuse`] does, with what is known of it.
pub(crate) fn fail(error: &anyhow::Error, is_json: bool) {
    eprintln!("error: {error:#}");
    if !is_json {
        return;
    }
    let mut fields = json!({ "message": format!("{error:#}") });
    if let Some(migration) = error.downcast_ref::<db_migrate::Error>() {
        if let db_migrate::Error::Failed { file, version, line, hint, .. } = migration {
            fields["file"] = json!(file);
            fields["version"] = json!(version);
            fields["line"] = json!(line);
            fields["hint"] = json!(hint);
        }
        if let Some(database) = migration.database() {
            fields["database"] = json!(database.report());
        }
    } else if let Some(database) = error.downcast_ref::<db_app::core::Error>() {
        fields["database"] = json!(database.report());
    }
    error_json(&fields);
}

fn error_json(fields: &Value) {
    if !IS_PRINTED.load(Ordering::Relaxed) {
        say!("{:#}", json!({ "error": fields }));
    }
}

/// Why not everything could be written, if so.
pub(crate) fn failure() -> Option<std::io::Error> {
    FAILED.lock().ok()?.take()
}
