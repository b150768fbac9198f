//! Seeds: rows for one kind of installation, put there again and again without harm. Where the files are found is decided here;
//! how they run is in `run`. They are no migrations: nothing is recorded, and nothing is undone.

pub(crate) mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{Refusal, Script, Version};

/// Environments that need no folder of their own; any other name without one is taken for a misspelt name.
pub(crate) const KNOWN: [&str; 4] = ["development", "test", "staging", "production"];

/// The seed files of one environment, in order.
#[derive(Clone, Debug)]
pub struct Seeds {
    environment: String,
    /// By version, and those of every environment before those of this one.
    files: BTreeMap<(Version, Folder), Seed>,
}

/// One seed file.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) version: Version,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) script: Script,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Folder {
    Common,
    Environment,
}

/// Why seeds did not run. Nothing is left of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// A file or folder cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The environment cannot name a folder.
    #[error("{environment:?} is no name of an environment, expected letters, digits, dashes and underscores")]
    Environment {
        /// What was given.
        environment: String,
    },
    /// An environment that is not known has no folder.
    #[error("{} does not exist, and {environment} is not one of {}", path.display(), KNOWN.join(", "))]
    UnknownEnvironment {
        /// The folder that would hold its files.
        path: PathBuf,
        /// What was given.
        environment: String,
    },
    /// A file is not text in UTF-8.
    #[error("{file} is not UTF-8 text")]
    NotUtf8 {
        /// Its name below the folder of seeds.
        file: String,
    },
    /// A `.sql` file does not say when its turn is.
    #[error("{file} fits no seed, expected NNN_name.sql")]
    Name {
        /// Its name below the folder of seeds.
        file: String,
    },
    /// Two files in one folder have the same version.
    #[error("{first} and {second} have the same version")]
    Duplicate {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A statement may not run in the runner's transaction.
    #[error("{file}:{line} {refusal}")]
    Refused {
        /// The file.
        file: String,
        /// The statement's line.
        line: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A file asks to run without a transaction.
    #[error("{file} says no-transaction, but a seed must leave all or nothing: remove the directive")]
    NoTransaction {
        /// The file.
        file: String,
    },
    /// The schema is older than the seeds.
    #[error("{} pending, and seeds are written for the newest schema: migrate first", pending(.versions))]
    Pending {
        /// Versions of the migrations that are not applied.
        versions: Vec<Version>,
    },
    /// Running it again inserts or deletes rows.
    #[error("{file} is not idempotent: run again it {effect}; {ADVICE}")]
    NotIdempotent {
        /// The file.
        file: String,
        /// What the second run did, by table.
        effect: String,
    },
    /// Running it again fails.
    #[error("{file}{} is not idempotent: run again it fails; {ADVICE}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
    FailsAgain {
        /// The file.
        file: String,
        /// The line, unless the failure belongs to no statement.
        line: Option<u32>,
        /// What the server said.
        source: db_core::Error,
    },
    /// The server does not count rows, so that nothing can be proven.
    #[error(
        "the server's track_counts is off, so that it cannot be told whether a seed is idempotent: turn it on"
    )]
    NotCounted,
}

const ADVICE: &str = "use ON CONFLICT DO NOTHING or WHERE NOT EXISTS";

impl Seeds {
    /// Loads `NNN_name.sql` from the folder, which run everywhere, and from its subfolder named like the environment, which run
    /// only there. Versions count across both; at the same version the one that runs everywhere is first. The folders of
    /// other environments are not looked at.
    ///
    /// # Errors
    /// A folder or file that cannot be read, a `.sql` file whose place is not clear, and statements that may not run in a
    /// transaction. `development`, `test`, `staging` and `production` may do without a folder.
    pub fn from_dir(dir: impl AsRef<Path>, environment: &str) -> Result<Self, SeedError> {
        let word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if environment.is_empty() || !environment.chars().all(word) {
            return Err(SeedError::Environment { environment: environment.to_owned() });
        }
        let dir = dir.as_ref();
        let mut files = BTreeMap::new();
        read(dir, "", Folder::Common, &mut files)?;
        let own = dir.join(environment);
        if own.is_dir() {
            read(&own, &format!("{environment}/"), Folder::Environment, &mut files)?;
        } else if !KNOWN.contains(&environment) {
            return Err(SeedError::UnknownEnvironment { path: own, environment: environment.to_owned() });
        }
        Ok(Self { environment: environment.to_owned(), files })
    }

    /// The environment.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The files in their order, as named below the folder of seeds.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|seed| seed.file.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.files.values()
    }
}

fn read(
    dir: &Path,
    prefix: &str,
    folder: Folder,
    files: &mut BTreeMap<(Version, Folder), Seed>,
) -> Result<(), SeedError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SeedError::Read { path, source }
    };
    let entries = fs::read_dir(dir).map_err(failed(dir))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed(dir)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !name.to_ascii_lowercase().ends_with(".sql") || path.is_dir() {
            continue;
        }
        let text = fs::read(&path).map_err(failed(&path))?;
        let seed = Seed::new(&name, format!("{prefix}{name}"), text)?;
        let key = (seed.version.clone(), folder);
        if let Some(first) = files.get(&key) {
            return Err(SeedError::Duplicate { first: first.file.clone(), second: seed.file });
        }
        files.insert(key, seed);
    }
    Ok(())
}

impl Seed {
    fn new(name: &str, file: String, text: Vec<u8>) -> Result<Self, SeedError> {
        let place = name.strip_suffix(".sql").and_then(|stem| stem.split_once('_'));
        // A down file would be a sign of somebody's wrong expectation.
        let place = place.filter(|(_, name)| !name.is_empty() && !name.ends_with("-down"));
        let version = place.and_then(|(version, _)| version.parse().ok());
        let Some(((_, name), version)) = place.zip(version) else {
            return Err(SeedError::Name { file });
        };
        let Ok(text) = String::from_utf8(text) else {
            return Err(SeedError::NotUtf8 { file });
        };
        let script = match Script::parse(&text) {
            Ok(script) => script,
            Err((line, refusal)) => return Err(SeedError::Refused { file, line, refusal }),
        };
        if script.directives().no_transaction {
            return Err(SeedError::NoTransaction { file });
        }
        Ok(Self { version, name: name.to_owned(), file, script })
    }
}

fn pending(versions: &[Version]) -> String {
    let shown: Vec<_> = versions.iter().take(MOST_SHOWN).map(Version::as_str).collect();
    let more = versions.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let (noun, verb) = if versions.len() == 1 { ("migration", "is") } else { ("migrations", "are") };
    format!("{noun} {}{more} {verb}", shown.join(", "))
}

/// A new database has all of them pending.
const MOST_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)], environment: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().expect("directory");
        for (file, text) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("file");
        }
        let seeds = Seeds::from_dir(dir.path(), environment)
            .map_err(|error| error.to_string().replace(&*dir.path().to_string_lossy(), "seeds"))?;
        Ok(seeds.files().map(str::to_owned).collect())
    }

    /// A9: each environment has its own.
    #[test]
    fn an_environment_gets_what_is_everybodys_and_what_is_its_own() {
        let files = [
            ("2_roles.sql", "SELECT 1"),
            ("10_zones.sql", "SELECT 1"),
            ("development/1_first.sql", "SELECT 1"),
            ("development/002_users.sql", "SELECT 1"),
            ("demo/3_demo.sql", "SELECT 1"),
            ("README.md", ""),
            (".3_hidden.sql", "COMMIT"),
        ];
        let check = |environment: &str, expect: &[&str]| {
            assert_eq!(load(&files, environment).expect(environment), expect, "{environment}");
        };
        check(
            "development",
            &["development/1_first.sql", "2_roles.sql", "development/002_users.sql", "10_zones.sql"],
        );
        check("demo", &["2_roles.sql", "demo/3_demo.sql", "10_zones.sql"]);
        check("production", &["2_roles.sql", "10_zones.sql"]);
        check("test", &["2_roles.sql", "10_zones.sql"]);
    }

    #[test]
    fn what_is_not_clear_is_named() {
        let check = |file: &str, text: &str, environment: &str, expect: &str| {
            let files = [("1_first.sql", "SELECT 1"), (file, text)];
            assert_eq!(load(&files, environment).expect_err(expect), expect, "{file} {text}");
        };
        check("users.sql", "", "test", "users.sql fits no seed, expected NNN_name.sql");
        check("test/1_a-down.sql", "", "test", "test/1_a-down.sql fits no seed, expected NNN_name.sql");
        check("01_users.sql", "", "test", "01_users.sql and 1_first.sql have the same version");
        let ends = "begins or ends a transaction, which only the runner may do: remove the statement";
        check("test/2_a.sql", "SELECT 1;\nCOMMIT", "test", &format!("test/2_a.sql:2 {ends}"));
        let whole = "says no-transaction, but a seed must leave all or nothing: remove the directive";
        check("2_a.sql", "-- no-transaction\nSELECT 1", "test", &format!("2_a.sql {whole}"));
        check("test/2_a.sql", "-- +goose NO TRANSACTION", "test", &format!("test/2_a.sql {whole}"));
        let known = "is not one of development, test, staging, production";
        check(
            "2_a.sql",
            "",
            "developmnet",
            &format!("seeds/developmnet does not exist, and developmnet {known}"),
        );
        let name = "is no name of an environment, expected letters, digits, dashes and underscores";
        check("2_a.sql", "", "../production", &format!("\"../production\" {name}"));
        check("2_a.sql", "", "", &format!("\"\" {name}"));
        let error = Seeds::from_dir("/no/such/folder", "test").expect_err("no folder");
        assert_eq!(error.to_string(), "could not read /no/such/folder");
    }

    #[test]
    fn pending_migrations_are_counted() {
        let check = |count: usize, expect: &str| {
            let versions: Vec<_> = (1..=count).map(|n| n.to_string().parse().expect("version")).collect();
            assert_eq!(pending(&versions), expect, "{count}");
        };
        check(1, "migration 1 is");
        check(2, "migrations 1, 2 are");
        check(7, "migrations 1, 2, 3, 4, 5 and 2 more are");
    }
}
