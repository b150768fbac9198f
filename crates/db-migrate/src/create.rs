//! New migrations: two files with the next number, named like those that are there. What goes into them is the author's.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::source::{Layout, Loaded};
use crate::{SourceError, Version};

/// Versions of this many digits or more are times: `20240131235959`.
const TIMESTAMP: usize = 14;

/// What [`create`] wrote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Created {
    /// The file that goes up.
    pub up: PathBuf,
    /// The file that goes down; the same one in a directory where a file holds both ways.
    pub down: PathBuf,
}

/// Writes the files of a new migration into a directory, which is made if there is none.
///
/// They are named like the files that are there. The version is one more than the newest, as wide as it; where versions are
/// times (14 digits or more) it is `now`, which is the current time unless given.
///
/// # Errors
/// A name without letters and digits, a directory whose migrations do not load, and whatever writing fails with. No file
/// is overwritten, and none is left when one of them cannot be written.
pub fn create(dir: impl AsRef<Path>, name: &str, now: Option<Timestamp>) -> Result<Created, SourceError> {
    let dir = dir.as_ref();
    let name = snake_case(name).ok_or_else(|| SourceError::NewName { name: name.to_owned() })?;
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let Loaded { migrations, layout } = Loaded::from_dir(dir)?;
    let newest = migrations.iter().next_back();
    let newest_file = newest.map_or("", |newest| newest.file());
    let version = next(newest.map(|newest| newest.version()), now.unwrap_or_else(Timestamp::now));
    let version = if has_dashes(newest_file) { dashed(&version) } else { version };

    let layout = layout.unwrap_or(Layout::Suffix);
    let stem = format!("{version}_{name}");
    let (up, down) = layout.files(&stem);
    let created = Created { up: dir.join(&up), down: dir.join(&down) };
    if layout == Layout::Markers {
        let is_goose = newest.is_some_and(|newest| newest.up().sql().contains("-- +goose"));
        let (up, down) = if is_goose { ("+goose Up", "+goose Down") } else { ("migrate:up", "migrate:down") };
        write_new(&created.up, &format!("-- {up}\n{UP}\n-- {down}\n{DOWN}"))?;
        return Ok(created);
    }
    let folder = (layout == Layout::Directory).then(|| dir.join(&stem));
    if let Some(folder) = &folder {
        fs::create_dir(folder).map_err(failed(folder))?;
    }
    let written = write_new(&created.up, UP).and_then(|()| {
        // Not before the first is ours: what was there already stays.
        write_new(&created.down, DOWN).inspect_err(|_| drop(fs::remove_file(&created.up)))
    });
    if let (Err(_), Some(folder)) = (&written, &folder) {
        // It was made above, and is empty unless somebody else uses it by now, and then it stays.
        drop(fs::remove_dir(folder));
    }
    written.map(|()| created)
}

const UP: &str =
    "-- What changes. The file runs in one transaction, so it takes effect as a whole or not at all.\n";
const DOWN: &str = "-- What undoes it, in reverse order.\n";

fn write_new(path: &Path, text: &str) -> Result<(), SourceError> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed(path))?;
    file.write_all(text.as_bytes()).map_err(|error| {
        drop(fs::remove_file(path));
        failed(path)(error)
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Write { path, source }
}

/// `Add Phone!` becomes `add_phone`. `None` when nothing is left.
fn snake_case(name: &str) -> Option<String> {
    let words: Vec<String> = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    (!words.is_empty()).then(|| words.join("_"))
}

fn next(newest: Option<&Version>, now: Timestamp) -> String {
    let Some(newest) = newest.map(Version::as_str) else {
        return "001".to_owned();
    };
    let following = increment(newest);
    if newest.len() < TIMESTAMP {
        return following;
    }
    let mut time = now.strftime("%Y%m%d%H%M%S").to_string();
    // Some tools add fractions of a second.
    let _ = write!(time, "{:09}", now.subsec_nanosecond());
    time.extend(std::iter::repeat_n('0', newest.len()));
    time.truncate(newest.len());
    // The newest may be of this very second, or of a clock that is ahead.
    if time.as_str() > newest { time } else { following }
}

/// One more, as wide as before if it fits.
fn increment(number: &str) -> String {
    let kept = number.trim_end_matches('9');
    let nines = number.len() - kept.len();
    let mut digits = kept.to_owned();
    let last = digits.pop().and_then(|last| last.to_digit(10)).unwrap_or(0);
    let _ = write!(digits, "{}", last + 1);
    digits.extend(std::iter::repeat_n('0', nines));
    digits
}

fn has_dashes(file: &str) -> bool {
    file.split_once('_').is_some_and(|(version, _)| version.len() > TIMESTAMP && version.contains('-'))
}

/// `20230102030405` as `2023-01-02-030405`.
fn dashed(version: &str) -> String {
    match (version.get(..4), version.get(4..6), version.get(6..8), version.get(8..)) {
        (Some(year), Some(month), Some(day), Some(time)) => format!("{year}-{month}-{day}-{time}"),
        _ => version.to_owned(),
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
