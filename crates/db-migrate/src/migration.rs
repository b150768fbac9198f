//! One migration and the set of all, in order and without duplicates. Where their text comes from is `source`'s.

use std::collections::BTreeMap;

use crate::source::{DOWN, Layout, half};
use crate::{Script, SourceError, Version};

/// One step of the schema: the way up, and mostly the way down.
#[derive(Clone, Debug)]
pub struct Migration {
    version: Version,
    name: String,
    file: String,
    down_file: String,
    up: Script,
    down: Option<Script>,
}

/// All migrations there are, ordered by version.
#[derive(Clone, Debug, Default)]
pub struct Migrations(BTreeMap<Version, Migration>);

impl Migration {
    /// A migration from values; `stem` is the file name without its ending, for example `001_users`.
    ///
    /// # Errors
    /// A stem that is not a version, an underscore and a name; a statement that may not run.
    pub fn new(stem: &str, up: &str, down: Option<&str>) -> Result<Self, SourceError> {
        let (file, down_file) = Layout::Suffix.files(stem);
        if stem.ends_with(DOWN) {
            return Err(SourceError::Name { file });
        }
        let up = half(&file, up)?;
        let down = down.map(|text| half(&down_file, text)).transpose()?;
        Self::from_parts(stem, file, down_file, up, down)
    }

    /// From files that are read already, whatever their names.
    pub(crate) fn from_parts(
        stem: &str,
        file: String,
        down_file: String,
        up: Script,
        down: Option<Script>,
    ) -> Result<Self, SourceError> {
        let Some((version, name)) = split_stem(stem) else {
            return Err(SourceError::Name { file });
        };
        Ok(Self { version, name: name.to_owned(), file, down_file, up, down })
    }

    /// The number in front.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The name behind the number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the file that goes up; with its directory, if each migration has one.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Name of the file that goes down, whether it exists or not.
    #[must_use]
    pub fn down_file(&self) -> &str {
        &self.down_file
    }

    /// The way up.
    #[must_use]
    pub fn up(&self) -> &Script {
        &self.up
    }

    /// The way down, if there is one.
    #[must_use]
    pub fn down(&self) -> Option<&Script> {
        self.down.as_ref()
    }
}

impl Migrations {
    /// Orders migrations.
    ///
    /// # Errors
    /// Two migrations of the same version.
    pub fn new(migrations: impl IntoIterator<Item = Migration>) -> Result<Self, SourceError> {
        let mut all = BTreeMap::<Version, Migration>::new();
        for migration in migrations {
            if let Some(first) = all.get(&migration.version) {
                return Err(SourceError::Duplicate { first: first.file.clone(), second: migration.file });
            }
            all.insert(migration.version.clone(), migration);
        }
        Ok(Self(all))
    }

    /// The migration of a version.
    #[must_use]
    pub fn find(&self, version: &Version) -> Option<&Migration> {
        self.0.get(version)
    }

    /// All of them, oldest version first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Migration> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `001_users` or `2023-01-02-030405_users` as its version and its name.
pub(crate) fn split_stem(stem: &str) -> Option<(Version, &str)> {
    let (version, name) = stem.split_once('_')?;
    let version = version.parse().ok()?;
    (!name.is_empty()).then_some((version, name))
}
