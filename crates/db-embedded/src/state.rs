//! What an owner leaves in the folder for those who attach and for the next owner. Holds no secret.

use std::fs;
use std::path::PathBuf;

use crate::folder::Folder;
use crate::{Error, Installation, Version};

/// The content of the file `state`: lines of `key=value`. Unknown lines are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Process id of the owner; none after a clean end.
    pub(crate) owner: Option<u32>,
    /// Process id of PostgreSQL once it has been ready; none after a clean end.
    pub(crate) postmaster: Option<u32>,
    /// The port of the last start; it is written before that start.
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) installation: Installation,
}

impl State {
    /// Reads the state of a folder; `None` if there is none that makes sense.
    pub(crate) fn read(folder: &Folder) -> Option<Self> {
        Self::parse(&fs::read_to_string(folder.state()).ok()?)
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<(), Error> {
        folder.replace(&folder.state(), &self.to_text(), None)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.split_once('=').filter(|(name, _)| *name == key)).map(|it| it.1)
        };
        Some(Self {
            owner: value("owner").and_then(|it| it.parse().ok()),
            postmaster: value("postmaster").and_then(|it| it.parse().ok()),
            port: value("port")?.parse().ok()?,
            user: value("user")?.to_owned(),
            database: value("database")?.to_owned(),
            installation: Installation {
                bin_dir: PathBuf::from(value("bin_dir")?),
                version: Version::parse(value("version")?)?,
            },
        })
    }

    fn to_text(&self) -> String {
        let Self { owner, postmaster, port, user, database, installation } = self;
        let id = |pid: &Option<u32>| pid.map_or_else(String::new, |it| it.to_string());
        format!(
            "owner={}\npostmaster={}\nport={port}\nuser={user}\ndatabase={database}\nbin_dir={}\nversion={}",
            id(owner),
            id(postmaster),
            installation.bin_dir.display(),
            installation.version,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let installation =
            Installation { bin_dir: PathBuf::from("/pg=1/bin"), version: Version::parse("15.18").unwrap() };
        let (user, database) = ("postgres".to_owned(), "app".to_owned());
        let state = State { owner: Some(7), postmaster: None, port: 5999, user, database, installation };
        assert_eq!(State::parse(&state.to_text()), Some(state.clone()));
        assert_eq!(State::parse(""), None);
        assert_eq!(State::parse(&state.to_text().replace("5999", "x")), None);
    }
}
