//! Reads the files of a directory from disk. Which of them are migrations is decided by their names, in `layout`.

use std::fs;
use std::io;
use std::path::Path;

use super::{Loaded, SourceError, layout};
use crate::migration::split_stem;

impl Loaded {
    /// Loads a directory; see [`Migrations::from_dir`](crate::Migrations::from_dir).
    pub(crate) fn from_dir(path: &Path) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        let mut directories = Vec::new();
        for entry in entries(path)? {
            let Some(name) = entry.to_str() else {
                if entry.to_string_lossy().ends_with(".sql") {
                    return Err(SourceError::NotUtf8 { file: entry.to_string_lossy().into_owned() });
                }
                continue;
            };
            let full = path.join(name);
            if full.is_dir() {
                if !layout::is_ignored_directory(name) {
                    read_directory(&full, name, &mut files)?;
                    directories.extend(split_stem(name).map(|_| name.to_owned()));
                }
            } else if layout::parts(name).is_some() {
                files.push((name.to_owned(), read(&full, name)?));
            }
        }
        Self::from_files(files, directories)
    }
}

/// Adds what may belong to a migration that has a directory of its own.
fn read_directory(path: &Path, name: &str, files: &mut Vec<(String, String)>) -> Result<(), SourceError> {
    // A directory of another kind may be anything, and need not be readable.
    let is_migration = split_stem(name).is_some();
    if !is_migration && !path.join("up.sql").is_file() {
        return Ok(());
    }
    for entry in entries(path)? {
        let file = format!("{name}/{}", entry.to_string_lossy());
        let full = path.join(&entry);
        if layout::parts(&file).is_some() && !full.is_dir() {
            let text = read(&full, &file)?;
            files.push((file, text));
        }
    }
    Ok(())
}

/// Names, in order: what an error names must not depend on the file system.
fn entries(path: &Path) -> Result<Vec<std::ffi::OsString>, SourceError> {
    let failed = |source: io::Error| SourceError::Read { path: path.to_owned(), source };
    let names = fs::read_dir(path).map_err(failed)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    names.sort();
    Ok(names)
}

fn read(path: &Path, name: &str) -> Result<String, SourceError> {
    let bytes = fs::read(path).map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|_| SourceError::NotUtf8 { file: name.to_owned() })
}
