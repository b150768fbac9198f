//! One member of a cluster under Patroni: its addresses, its files, and the Patroni that runs for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::files::File;
use super::guarded::Guarded;
use super::programs::User;
use super::{ANSWER, LATE};
use crate::Error;
use crate::database::connect;

/// A member of the cluster.
#[derive(Debug)]
pub struct Member {
    name: String,
    /// Of etcd, of the REST interface, and of PostgreSQL.
    ports: [u16; 3],
    password: String,
    admin: String,
    url: String,
    folder: PathBuf,
    guarded: Option<Guarded>,
}

/// How often a server is asked whether it was promoted.
const POLL: Duration = Duration::from_millis(5);

impl Member {
    pub(super) fn new(file: &File<'_>, user: Option<&User>) -> Result<Self, Error> {
        let File { name, ports, password, folder, .. } = *file;
        let url = |role: &str, database: &str| {
            format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", ports[2])
        };
        let this = Self {
            name: name.to_owned(),
            ports,
            password: password.to_owned(),
            admin: url("postgres", "postgres"),
            url: url("app", "app"),
            folder: folder.to_owned(),
            guarded: None,
        };
        fs::write(this.file(), file.text())?;
        user.map_or(Ok(()), |user| user.own(&this.file()))?;
        Ok(this)
    }

    /// Its name: `node-0`, and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its PostgreSQL listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports[2]
    }

    /// Where its REST interface listens.
    #[must_use]
    pub fn rest(&self) -> u16 {
        self.ports[1]
    }

    /// The URL of the role `app`. It stays the same, whatever becomes of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the superuser.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// What Patroni is told of it, in YAML.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("patroni.yml")
    }

    /// Where Patroni and PostgreSQL write what they have to say.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn etcd(&self) -> u16 {
        self.ports[0]
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn start(&mut self, patroni: &Path, user: Option<&User>) -> Result<(), Error> {
        let arguments = [self.file().display().to_string()];
        self.guarded = Some(Guarded::spawn(patroni, &arguments, Some(&self.data()), user, &self.log())?);
        Ok(())
    }

    pub(super) fn take(&mut self) -> Option<Guarded> {
        self.guarded.take()
    }

    /// Kills PostgreSQL, and lets go of Patroni, which is then killed at once.
    pub(super) fn kill(&mut self) -> Result<Option<Guarded>, Error> {
        let no_server = || Error::Patroni(format!("{} has no PostgreSQL that runs", self.name));
        let postmaster = self.postmaster().ok_or_else(no_server)?;
        kill(Pid::from_raw(postmaster), Signal::SIGKILL)
            .map_err(|error| Error::Signal(format!("{postmaster}: {error}")))?;
        let mut guarded = self.take();
        guarded.iter_mut().for_each(Guarded::let_go);
        Ok(guarded)
    }

    /// The process that runs on its data, and no other that has got the number meanwhile.
    fn postmaster(&self) -> Option<i32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let process = file.lines().next()?.trim().parse().ok()?;
        let its_folder = fs::read_link(format!("/proc/{process}/cwd")).ok()?;
        (process > 0 && its_folder == self.data()).then_some(process)
    }

    /// Waits until it is a primary by its own word. One connection outlives the promotion, so that the moment is known well.
    pub(super) async fn promoted(&self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let answer = match timeout(ANSWER, self.is_in_recovery_no_more(start)).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(false)) | Err(_) => "no".to_owned(),
            };
            let waited = start.elapsed();
            if waited > LATE {
                let what = format!("{} is a primary", self.name);
                return Err(Error::Late { what, waited, answer });
            }
            sleep(POLL).await;
        }
    }

    /// Asks on one connection for as long as it lasts.
    async fn is_in_recovery_no_more(&self, start: Instant) -> Result<bool, Error> {
        let (client, _driver) = connect(&self.admin).await?;
        while start.elapsed() < LATE {
            if !client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get::<_, bool>(0)? {
                return Ok(true);
            }
            sleep(POLL).await;
        }
        Ok(false)
    }

    /// The last lines of its log.
    pub(super) fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let mut last: Vec<_> = log.lines().rev().take(8).collect();
        last.reverse();
        last.join("\n")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}
