//! The names of files: which layout they follow, and which half of which migration they are. Nothing is read here.

use crate::SourceError;
use crate::migration::split_stem;

/// How the name of a down file ends in our own layout, in front of `.sql`.
pub(crate) const DOWN: &str = "-down";

/// How the files of a directory are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layout {
    /// `001_users.sql` and `001_users-down.sql`, our own.
    Suffix,
    /// `001_users.up.sql` and `001_users.down.sql`.
    Extension,
    /// `001_users.sql` with both ways in it.
    Markers,
    /// `001_users/up.sql` and `001_users/down.sql`.
    Directory,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Up,
    Down,
    Both,
}

/// The place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) layout: Layout,
    /// Version and name, `001_users`.
    pub(super) stem: String,
    pub(super) part: Part,
}

impl Layout {
    /// The names of both files of a migration.
    pub(crate) fn files(self, stem: &str) -> (String, String) {
        match self {
            Self::Suffix => (format!("{stem}.sql"), format!("{stem}{DOWN}.sql")),
            Self::Extension => (format!("{stem}.up.sql"), format!("{stem}.down.sql")),
            Self::Markers => (format!("{stem}.sql"), format!("{stem}.sql")),
            Self::Directory => (format!("{stem}/up.sql"), format!("{stem}/down.sql")),
        }
    }
}

/// The directory and the name of a file; the directory is empty for one at the top. `None` for what is ignored.
pub(super) fn parts(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches("./");
    let (directory, file) = path.split_once('/').unwrap_or(("", path));
    let is_ignored = is_ignored_directory(directory)
        || file.contains('/')
        || file.starts_with('.')
        || !file.to_ascii_lowercase().ends_with(".sql");
    (!is_ignored).then_some((directory, file))
}

/// Seeds are data of their own; what is hidden belongs to other programs.
pub(super) fn is_ignored_directory(name: &str) -> bool {
    name.starts_with('.') || name == "seeds"
}

/// Where a file belongs; `None` for one in a directory that is not named like a migration.
///
/// # Errors
/// A name that fits nowhere.
pub(super) fn place(directory: &str, file: &str, has_markers: bool) -> Result<Option<Place>, SourceError> {
    if !directory.is_empty() {
        return place_in(directory, file);
    }
    let error = || SourceError::Name { file: file.to_owned() };
    let stem = file.strip_suffix(".sql").ok_or_else(error)?;
    let (layout, stem, part) = if let Some(stem) = stem.strip_suffix(".up") {
        (Layout::Extension, stem, Part::Up)
    } else if let Some(stem) = stem.strip_suffix(".down") {
        (Layout::Extension, stem, Part::Down)
    } else if has_markers {
        (Layout::Markers, stem, Part::Both)
    } else if let Some(stem) = stem.strip_suffix(DOWN) {
        (Layout::Suffix, stem, Part::Down)
    } else {
        (Layout::Suffix, stem, Part::Up)
    };
    let is_odd = layout == Layout::Suffix && stem.ends_with(DOWN);
    if is_odd || split_stem(stem).is_none() {
        return Err(error());
    }
    Ok(Some(Place { layout, stem: stem.to_owned(), part }))
}

fn place_in(directory: &str, file: &str) -> Result<Option<Place>, SourceError> {
    let part = match file {
        "up.sql" => Part::Up,
        "down.sql" => Part::Down,
        _ => return Ok(None),
    };
    if split_stem(directory).is_none() {
        return Err(SourceError::Name { file: format!("{directory}/{file}") });
    }
    Ok(Some(Place { layout: Layout::Directory, stem: directory.to_owned(), part }))
}
