//! Migrations from a directory. The one layout is `NNN_name.sql` beside `NNN_name-down.sql`; other layouts would be
//! further functions that list the same pairs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::migration::{DOWN, split_stem};
use crate::{Migration, Migrations, Refusal};

/// Why migrations could not be loaded. Nothing has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file or the directory cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not text in UTF-8.
    #[error("{file} is not UTF-8 text")]
    NotUtf8 {
        /// Its name.
        file: String,
    },
    /// A `.sql` file is neither the one nor the other half of a migration.
    #[error("{file} fits no migration, expected NNN_name.sql or NNN_name-down.sql")]
    Name {
        /// Its name.
        file: String,
    },
    /// Two files have the same version.
    #[error("{first} and {second} have the same version")]
    Duplicate {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A down file without its up file.
    #[error("{file} undoes {expected}, which does not exist")]
    OrphanDown {
        /// The down file.
        file: String,
        /// The up file that it would belong to.
        expected: String,
    },
    /// A statement may not run in the runner's transaction.
    #[error("{file}:{line} {refusal}")]
    Refused {
        /// Name of the file.
        file: String,
        /// The statement's line.
        line: u32,
        /// Why.
        refusal: Refusal,
    },
}

impl Migrations {
    /// Loads a directory. Files that do not end in `.sql`, hidden files and subdirectories are ignored.
    ///
    /// # Errors
    /// A directory or file that cannot be read, and every `.sql` file whose place is not clear; see [`SourceError`].
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let mut files = read_dir(path.as_ref())?;
        let downs = split_off_downs(&mut files);
        if let Some(stem) = downs.keys().find(|stem| !files.contains_key(*stem)) {
            let (file, expected) = (format!("{stem}{DOWN}.sql"), format!("{stem}.sql"));
            return Err(SourceError::OrphanDown { file, expected });
        }
        let migrations = files
            .iter()
            .map(|(stem, up)| Migration::new(stem, up, downs.get(stem).map(String::as_str)))
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(migrations)
    }
}

/// Moves the down files out of `files`; their keys become those of their up files.
fn split_off_downs(files: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut downs = BTreeMap::new();
    files.retain(|stem, text| {
        let up = stem.strip_suffix(DOWN);
        up.map(|up| downs.insert(up.to_owned(), std::mem::take(text))).is_none()
    });
    downs
}

/// The `.sql` files of a directory: their names without the ending, and their content.
fn read_dir(path: &Path) -> Result<BTreeMap<String, String>, SourceError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SourceError::Read { path, source }
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let path = entry.map_err(failed(path))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with('.') || !file.to_ascii_lowercase().ends_with(".sql") || path.is_dir() {
            continue;
        }
        let stem = file.strip_suffix(".sql").unwrap_or_default();
        let Some((_, name)) = split_stem(stem) else {
            return Err(SourceError::Name { file });
        };
        if name == DOWN || name.strip_suffix(DOWN).is_some_and(|up| up.ends_with(DOWN)) {
            return Err(SourceError::Name { file });
        }
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(SourceError::NotUtf8 { file });
        };
        files.insert(stem.to_owned(), text);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[&str]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().expect("directory");
        for file in files {
            fs::write(dir.path().join(file), "SELECT 1;").expect("file");
        }
        let migrations = Migrations::from_dir(dir.path()).map_err(|error| error.to_string())?;
        let show = |migration: &Migration| {
            let arrow = if migration.down().is_some() { "<>" } else { ">" };
            format!("{}{arrow}{}", migration.version(), migration.name())
        };
        Ok(migrations.iter().map(show).collect())
    }

    #[test]
    fn files_pair_up_in_the_order_of_their_numbers() {
        let check = |files: &[&str], expect: &[&str]| {
            assert_eq!(load(files).expect("loads"), expect, "{files:?}");
        };
        check(&[], &[]);
        check(&["001_a.sql", "001_a-down.sql"], &["001<>a"]);
        check(&["10_b.sql", "9_a_b-c.sql"], &["9>a_b-c", "10>b"]);
        check(&["20260101120000123456789_a.sql", "2_b.sql"], &["2>b", "20260101120000123456789>a"]);
        check(&["README.md", ".#001_a.sql", "001_a.sql~", "notes.txt"], &[]);
    }

    #[test]
    fn a_file_without_a_clear_place_is_named() {
        let check = |files: &[&str], expect: &str| {
            assert_eq!(load(files).expect_err(expect), expect, "{files:?}");
        };
        let name =
            |file: &str| format!("{file} fits no migration, expected NNN_name.sql or NNN_name-down.sql");
        check(&["users.sql"], &name("users.sql"));
        check(&["001.sql"], &name("001.sql"));
        check(&["001_.sql"], &name("001_.sql"));
        check(&["001-down.sql"], &name("001-down.sql"));
        check(&["001_-down.sql"], &name("001_-down.sql"));
        check(&["001_a.SQL"], &name("001_a.SQL"));
        check(&["v1_a.sql"], &name("v1_a.sql"));
        check(&["001_a.sql", "001_a-down-down.sql"], &name("001_a-down-down.sql"));
        check(&["001_a.sql", "1_b.sql"], "001_a.sql and 1_b.sql have the same version");
        check(&["001_a-down.sql"], "001_a-down.sql undoes 001_a.sql, which does not exist");
        check(&["001_a.sql", "001_b-down.sql"], "001_b-down.sql undoes 001_b.sql, which does not exist");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = Migrations::from_dir("/no/such/directory").expect_err("no directory");
        assert_eq!(error.to_string(), "could not read /no/such/directory");

        let dir = tempfile::tempdir().expect("directory");
        fs::write(dir.path().join("001_a.sql"), b"SELECT '\xff'").expect("file");
        let error = Migrations::from_dir(dir.path()).expect_err("not UTF-8");
        assert_eq!(error.to_string(), "001_a.sql is not UTF-8 text");

        fs::write(dir.path().join("001_a.sql"), "SELECT 1;\nCOMMIT;").expect("file");
        let error = Migrations::from_dir(dir.path()).expect_err("commits");
        assert!(error.to_string().starts_with("001_a.sql:2 begins or ends a transaction"), "{error}");
    }
}
