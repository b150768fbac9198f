//! Finds installations of PostgreSQL on this machine. Does not choose among them and installs none.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Version;

/// Where distributions put the programs of PostgreSQL. One `*` per component stands for any text.
const KNOWN_FOLDERS: &[&str] = &[
    // Debian, Ubuntu
    "/usr/lib/postgresql/*/bin",
    // Red Hat and PGDG's packages for it
    "/usr/pgsql-*/bin",
    // Fedora, Arch, SUSE
    "/usr/bin",
    // Alpine
    "/usr/libexec/postgresql*",
    // Homebrew on Apple silicon, on Intel, on Linux
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    // Built from source
    "/usr/local/pgsql/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// Where to look for a PostgreSQL.
#[derive(Clone, Debug)]
pub struct Search {
    /// A value in the form of `PATH`. Default: none.
    pub path: Option<OsString>,
    /// Folders that may hold `postgres` and `initdb`; one `*` per component stands for any text. Default: those of the
    /// known distributions, Homebrew and Postgres.app.
    pub folders: Vec<PathBuf>,
}

/// The known folders, without a `PATH`.
impl Default for Search {
    fn default() -> Self {
        Self { path: None, folders: KNOWN_FOLDERS.iter().map(PathBuf::from).collect() }
    }
}

impl Search {
    /// The known folders and a `PATH`, usually `std::env::var_os("PATH")`.
    #[must_use]
    pub fn with_path(path: Option<OsString>) -> Self {
        Self { path, ..Self::default() }
    }

    /// All places that are searched, patterns as they are given.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        let path = self.path.iter().flat_map(std::env::split_paths).filter(|it| it.is_absolute());
        path.chain(self.folders.iter().cloned()).collect()
    }
}

/// A PostgreSQL on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installation {
    /// The folder that holds `postgres` and `initdb`, without symbolic links.
    pub bin_dir: PathBuf,
    /// What `postgres --version` says.
    pub version: Version,
}

/// Lists the installations that a search finds, newest first, each once.
///
/// An entry counts when `postgres` and `initdb` are in the same folder after symbolic links are resolved, and
/// `postgres --version` works; so this runs programs and blocks for about 10 ms for each installation.
#[must_use]
pub fn installations(search: &Search) -> Vec<Installation> {
    let folders: BTreeSet<PathBuf> = search
        .places()
        .iter()
        .flat_map(|place| expand(place))
        .filter_map(|folder| bin_dir(&folder))
        .collect();
    let mut found: Vec<_> = folders.into_iter().filter_map(inspect).collect();
    found.sort_by(|a, b| b.version.cmp(&a.version));
    found
}

/// The real folder behind `folder/postgres`, if it is complete.
fn bin_dir(folder: &Path) -> Option<PathBuf> {
    let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
    let bin_dir = postgres.parent()?;
    bin_dir.join("initdb").is_file().then(|| bin_dir.to_path_buf())
}

fn inspect(bin_dir: PathBuf) -> Option<Installation> {
    let output = Command::new(bin_dir.join("postgres")).arg("--version").stdin(Stdio::null()).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let version = Version::parse_output(&text);
    if version.is_none() {
        tracing::debug!(bin_dir = %bin_dir.display(), output = text.trim(), "passed over: unknown version");
    }
    Some(Installation { version: version?, bin_dir })
}

/// Folders that exist and match a pattern.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for component in pattern.components() {
        let star = match component {
            Component::Normal(name) => name.to_str().and_then(|name| name.split_once('*')),
            _ => None,
        };
        paths = match star {
            Some((start, end)) => paths.iter().flat_map(|path| matching(path, start, end)).collect(),
            None => paths.into_iter().map(|path| path.join(component)).collect(),
        };
    }
    paths
}

fn matching(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let matches =
        |name: &str| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
    entries.filter(|it| it.file_name().to_str().is_some_and(matches)).map(|it| it.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_one_star_per_component() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["pg-15/bin", "pg-17/bin", "pg/bin", "other"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let check = |pattern: &str, expect: &[&str]| {
            let mut found = expand(&root.path().join(pattern));
            found.sort();
            assert_eq!(found, expect.iter().map(|it| root.path().join(it)).collect::<Vec<_>>(), "{pattern}");
        };
        check("pg-*/bin", &["pg-15/bin", "pg-17/bin"]);
        check("*/bin", &["other/bin", "pg/bin", "pg-15/bin", "pg-17/bin"]);
        check("pg-17*7/bin", &[]);
        check("none/*/bin", &[]);
        check("pg/bin", &["pg/bin"]);
    }
}
