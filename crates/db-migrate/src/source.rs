//! Migrations from files, in a directory or embedded: which file is which half of which migration, in the four layouts
//! that are in use. What is in the files is `script`'s.

mod directory;
mod layout;
mod markers;
mod pairing;

use std::io;
use std::path::{Path, PathBuf};

use crate::{Migrations, Refusal, Script};

pub(crate) use self::layout::{DOWN, Layout};
pub use self::markers::MarkerProblem;
pub(crate) use self::pairing::Loaded;

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
    /// A new file or directory cannot be written.
    #[error("could not write {}", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A new migration cannot be named so.
    #[error("{name:?} cannot name a migration, expected letters and digits")]
    NewName {
        /// What was given.
        name: String,
    },
    /// A file is not text in UTF-8.
    #[error("{file} is not UTF-8 text")]
    NotUtf8 {
        /// Its name.
        file: String,
    },
    /// A `.sql` file is neither the one nor the other half of a migration.
    #[error(
        "{file} fits no migration, expected NNN_name.sql and NNN_name-down.sql, NNN_name.up.sql and NNN_name.down.sql, \
         or NNN_name/up.sql and NNN_name/down.sql"
    )]
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
    /// Files that are named after different conventions.
    #[error("{first} and {second} follow different layouts: one directory has one")]
    Mixed {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// The directory of a migration without `up.sql`.
    #[error("{directory} is named like a migration, but has no up.sql")]
    NoUp {
        /// Its name.
        directory: String,
    },
    /// The lines `-- migrate:up` and `-- migrate:down` are not where they may be.
    #[error("{file}:{line} {problem}")]
    Marker {
        /// Name of the file.
        file: String,
        /// The line.
        line: u32,
        /// What is wrong.
        problem: MarkerProblem,
    },
    /// A statement or a directive that may not be.
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
    /// Loads a directory, in one of these layouts:
    /// - `001_users.sql` and `001_users-down.sql`
    /// - `001_users.up.sql` and `001_users.down.sql`
    /// - `001_users.sql` alone, with the lines `-- migrate:up` and `-- migrate:down` (or `-- +goose Up`, `-- +goose Down`)
    /// - `001_users/up.sql` and `001_users/down.sql`
    ///
    /// The way down may be missing. Ignored are files that do not end in `.sql`, hidden ones, and directories that are not
    /// named like a migration, `seeds` among them. Symbolic links are followed.
    ///
    /// # Errors
    /// A directory or file that cannot be read, and every `.sql` file whose place is not clear; see [`SourceError`].
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        Ok(Loaded::from_dir(path.as_ref())?.migrations)
    }

    /// Like [`from_dir`](Self::from_dir), from paths below the directory (`001_users.sql`, `001_users/up.sql`) and what
    /// is in the files.
    ///
    /// # Errors
    /// Every `.sql` file whose place is not clear; see [`SourceError`].
    pub fn from_files<P: Into<String>, T: Into<String>>(
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Self, SourceError> {
        let files = files.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
        Ok(Loaded::from_files(files, Vec::new())?.migrations)
    }
}

/// Reads a file that holds one way, up or down.
pub(crate) fn half(file: &str, text: &str) -> Result<Script, SourceError> {
    if let Some((line, problem)) = markers::must_be_absent(text) {
        return Err(SourceError::Marker { file: file.to_owned(), line, problem });
    }
    Script::parse(text).map_err(refused(file))
}

fn refused(file: &str) -> impl FnOnce((u32, Refusal)) -> SourceError {
    move |(line, refusal)| SourceError::Refused { file: file.to_owned(), line, refusal }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "source/fixtures_tests.rs"]
mod fixtures_tests;
