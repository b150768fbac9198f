//! What a caller may decide about a server. Read no further than here: nothing comes from the environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::standby::Leader;
use crate::{Error, Search, Server};

/// How a server is found, made, started and stopped.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) folder: PathBuf,
    pub(crate) search: Search,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) port: Option<u16>,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) download_folder: Option<PathBuf>,
    pub(crate) leader: Option<Leader>,
}

impl Settings {
    /// A server in `folder`, which is made if it does not exist, with every other setting at its default.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            search: Search::default(),
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            parameters: Vec::new(),
            port: None,
            start_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            download_folder: None,
            leader: None,
        }
    }

    /// Where to look for the programs. Default: [`Search::default`], which has no `PATH`.
    #[must_use]
    pub fn search(self, search: Search) -> Self {
        Self { search, ..self }
    }

    /// Name of the superuser. Default: `postgres`. It is fixed when the folder is made; a folder that exists keeps its
    /// own.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// Name of the database in [`Server::url`](crate::Server::url). Default: `postgres`. The owner of the server makes
    /// it if it does not exist; an attached server has the owner's.
    #[must_use]
    pub fn database(self, database: impl Into<String>) -> Self {
        Self { database: database.into(), ..self }
    }

    /// Adds a parameter of PostgreSQL, as `-c name=value` would. Default: none. What this crate relies on (addresses,
    /// port, logging to standard error) cannot be overridden. With `fsync` set to `off` a new database is not synced either.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// The port to listen on, and no other. Default: the port of the last start if it is free, else any free one.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// How long PostgreSQL may take until it accepts connections, recovery from a crash included. Default: 30 s. An
    /// attached server waits as long for its owner's.
    #[must_use]
    pub fn start_timeout(self, start_timeout: Duration) -> Self {
        Self { start_timeout, ..self }
    }

    /// How long a fast shutdown may take before it becomes an immediate one. Default: 10 s.
    #[must_use]
    pub fn stop_timeout(self, stop_timeout: Duration) -> Self {
        Self { stop_timeout, ..self }
    }

    /// Has a new folder begin as a copy of `leader`, which has to run meanwhile, and the server be its streaming standby,
    /// known to it as `name`. User, password, database and programs are the leader's. Default: an empty database. It is
    /// decided when the folder is made; a folder that exists stays what it is.
    #[must_use]
    pub fn standby_of(self, leader: &Server, name: impl Into<String>) -> Self {
        let leader = Leader::new(leader, name.into());
        Self { user: leader.user.clone(), database: leader.database.clone(), leader: Some(leader), ..self }
    }

    /// Where a downloaded PostgreSQL is put and looked for, shared by any number of servers. Default: `download` in
    /// the server's folder.
    #[cfg(feature = "download")]
    #[must_use]
    pub fn download_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { download_folder: Some(folder.into()), ..self }
    }

    /// Whether the content need not survive a crash of the system, as in tests.
    pub(crate) fn waives_durability(&self) -> bool {
        waives_durability(&self.parameters)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("user", &self.user)?;
        check_name("database", &self.database)?;
        for (name, value) in &self.parameters {
            let known = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
            if name.is_empty() || !name.chars().all(known) || value.contains('\0') {
                let accepted = "a name of letters, digits, _ and . with a value without a zero byte";
                return Err(Error::Setting { name: "parameter", value: name.clone(), accepted });
            }
        }
        self.leader.as_ref().map_or(Ok(()), Leader::check)?;
        if self.port == Some(0) {
            return Err(Error::Setting { name: "port", value: "0".to_owned(), accepted: "1 to 65535" });
        }
        Ok(())
    }
}

/// Whether parameters say so; later ones win.
pub(crate) fn waives_durability(parameters: &[(String, String)]) -> bool {
    let fsync = parameters.iter().rev().find(|(name, _)| name == "fsync");
    fsync.is_some_and(|(_, value)| value == "off")
}

/// Names are kept to what needs no quoting in a URL, and no escape in SQL once in double quotes.
pub(crate) fn check_name(name: &'static str, value: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=63).contains(&value.len()) && value.chars().all(known) {
        return Ok(());
    }
    let accepted = "1 to 63 of the letters a-z and A-Z, digits, _, - and .";
    Err(Error::Setting { name, value: value.to_owned(), accepted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_need_quoting() {
        fn check(settings: &Settings, expect: Option<&str>) {
            assert_eq!(settings.check().err().map(|it| it.to_string()).as_deref(), expect);
        }
        let new = || Settings::new("/folder");
        let names = "1 to 63 of the letters a-z and A-Z, digits, _, - and .";
        check(&new(), None);
        check(&new().user("app-1.x").database("App_db").parameter("auto_explain.log_analyze", "on"), None);
        check(&new().user(""), Some(&format!("user is \"\", accepted is {names}")));
        check(&new().database("a\"b"), Some(&format!("database is \"a\\\"b\", accepted is {names}")));
        check(&new().port(0), Some("port is \"0\", accepted is 1 to 65535"));
        check(
            &new().parameter("a=b", "c"),
            Some(
                "parameter is \"a=b\", accepted is a name of letters, digits, _ and . with a value without a zero byte",
            ),
        );
    }
}
