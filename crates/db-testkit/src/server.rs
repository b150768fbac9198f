//! A server for tests, whatever it runs on.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use db_embedded::{Search, Server, Settings, Shutdown};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::database::version;
use crate::{Backend, Error, TestDatabase, processes};

/// A PostgreSQL for tests. Dropping it ends what was started for it and removes its data.
pub struct TestServer {
    url: String,
    origin: String,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Given,
    /// The server is dropped before its folder.
    Local(Box<Server>, TempDir),
    #[cfg(feature = "docker")]
    Docker(Box<crate::docker::Container>),
    #[cfg(feature = "docker")]
    Member(Box<crate::docker::Member>),
}

impl TestServer {
    /// Starts a server, or takes the given one.
    ///
    /// # Errors
    /// When it does not start; the error says why.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(backend: &Backend) -> Result<Self, Error> {
        match backend {
            Backend::Url(url) => Self::given(url).await,
            #[cfg(feature = "docker")]
            Backend::Docker(image) => {
                let container = crate::docker::Container::start(image).await?;
                let version = version(&container.url()).await?;
                let origin = format!("docker, image {image}, PostgreSQL {version}");
                Ok(Self { url: container.url(), origin, running: Running::Docker(Box::new(container)) })
            }
            Backend::Local(search) => Self::local(search, |settings| settings).await,
        }
    }

    /// The URL of a superuser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it runs on, for people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Makes an empty database for one test.
    ///
    /// # Errors
    /// When the server cannot be reached or the role may not create databases.
    ///
    /// # Cancel safety
    /// Dropping the future may leave an empty database on a given server.
    pub async fn database(&self) -> Result<TestDatabase, Error> {
        TestDatabase::create(&self.url).await
    }

    /// Ends what was started for it and waits until it is gone. Dropping does the same in the background, for which a
    /// container needs a runtime that goes on.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(self) -> Result<(), Error> {
        match self.running {
            Running::Given => Ok(()),
            Running::Local(server, _folder) => Ok(server.stop().await?),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.remove().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.remove().await,
        }
    }

    /// Takes the server away, in an orderly way.
    ///
    /// # Errors
    /// On a given server, and when it does not stop.
    pub async fn halt(&mut self) -> Result<(), Error> {
        match &mut self.running {
            Running::Given => Err(Error::Given),
            Running::Local(server, _) => Ok(server.halt(Shutdown::Fast).await?),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.halt().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.halt().await,
        }
    }

    /// Takes the server away at once, as a crash does: nobody is told, and the next start recovers from the log. What was
    /// committed stays, also with `fsync` off: what a process has written outlives it in the memory of the system.
    ///
    /// # Errors
    /// On a given server, and when it does not stop.
    pub async fn halt_at_once(&mut self) -> Result<(), Error> {
        match &mut self.running {
            Running::Given => Err(Error::Given),
            Running::Local(server, _) => Ok(server.halt(Shutdown::Immediate).await?),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.halt_at_once().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.halt_at_once().await,
        }
    }

    /// Stops all its processes in their tracks (`SIGSTOP`), until [`thaw`](Self::thaw): sockets stay open, and nobody answers.
    ///
    /// # Errors
    /// On a given server, and when its processes are not found.
    pub async fn freeze(&self) -> Result<(), Error> {
        match &self.running {
            Running::Given => Err(Error::Given),
            Running::Local(server, _) => processes::signal_all(server.pid(), Signal::SIGSTOP),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.freeze().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.freeze().await,
        }
    }

    /// Lets them go on, as if no time had passed.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub async fn thaw(&self) -> Result<(), Error> {
        match &self.running {
            Running::Given => Err(Error::Given),
            Running::Local(server, _) => processes::signal_all(server.pid(), Signal::SIGCONT),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.thaw().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.thaw().await,
        }
    }

    /// Brings it back under the same address.
    ///
    /// # Errors
    /// On a given server, and when it does not start.
    pub async fn resume(&mut self) -> Result<(), Error> {
        match &mut self.running {
            Running::Given => Err(Error::Given),
            Running::Local(server, _) => Ok(server.resume().await?),
            #[cfg(feature = "docker")]
            Running::Docker(container) => container.resume().await,
            #[cfg(feature = "docker")]
            Running::Member(member) => member.resume().await,
        }
    }

    async fn given(url: &str) -> Result<Self, Error> {
        let not_a_url = || Error::Url("it is not postgres://user:password@host/database".to_owned());
        let config: Config = url.parse().map_err(|_| not_a_url())?;
        let place = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => return Err(not_a_url()),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let version = version(url).await?;
        let origin = format!("the given server {place}:{port}, PostgreSQL {version}");
        Ok(Self { url: url.to_owned(), origin, running: Running::Given })
    }

    /// On binaries of this machine, with the settings of tests as changed.
    pub(crate) async fn local(
        search: &Search,
        change: impl FnOnce(Settings) -> Settings + Send,
    ) -> Result<Self, Error> {
        remove_left_overs();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // The server may run as another user, who must be able to enter.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let settings = PARAMETERS
            .iter()
            .fold(Settings::new(folder.path().join("postgres")), |settings, (name, value)| {
                settings.parameter(*name, *value)
            })
            .search(search.clone());
        let server = Server::start(change(settings)).await?;
        let installation = server.installation();
        let origin = format!(
            "local binaries, PostgreSQL {} from {}",
            installation.version,
            installation.bin_dir.display()
        );
        let url = server.url().expose_secret().to_owned();
        Ok(Self { url, origin, running: Running::Local(Box::new(server), folder) })
    }
}

/// What a cluster needs of its servers.
impl TestServer {
    /// In a container of a cluster.
    #[cfg(feature = "docker")]
    pub(crate) async fn member(member: crate::docker::Member) -> Result<Self, Error> {
        let url = member.url();
        let origin = format!("docker, image {}, PostgreSQL {}", member.image(), version(&url).await?);
        Ok(Self { url, origin, running: Running::Member(Box::new(member)) })
    }

    /// Has the server of these settings be a streaming standby of this one.
    pub(crate) fn lead(&self, settings: Settings, name: &str) -> Settings {
        match &self.running {
            Running::Local(server, _) => settings.standby_of(server, name),
            _ => settings,
        }
    }

    /// Throws its data away and begins again as a streaming standby of `leader`, under the same address.
    pub(crate) async fn follow(&mut self, leader: &Self, name: &str) -> Result<(), Error> {
        match (&mut self.running, &leader.running) {
            (Running::Local(server, _), Running::Local(leader, _)) => Ok(server.follow(leader, name).await?),
            #[cfg(feature = "docker")]
            (Running::Member(member), Running::Member(leader)) => member.follow(leader).await,
            _ => Err(Error::Given),
        }
    }

    /// Has every packet from it and to it get lost.
    pub(crate) async fn partition(&mut self) -> Result<(), Error> {
        match &mut self.running {
            #[cfg(feature = "docker")]
            Running::Member(member) => member.partition().await,
            _ => Err(Error::NoNetwork),
        }
    }

    /// Ends a partition, if there is one.
    pub(crate) async fn heal(&mut self) -> Result<(), Error> {
        match &mut self.running {
            #[cfg(feature = "docker")]
            Running::Member(member) => member.heal().await,
            _ => Ok(()),
        }
    }

    /// The process of a server on this machine, as long as it is not halted.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        match &self.running {
            Running::Local(server, _) => server.pid(),
            _ => None,
        }
    }
}

/// Without the URL, which holds a password.
impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What the folders of servers are called.
pub(crate) const PREFIX: &str = "db-test-";

/// Removes the folders of processes that were killed before they could. A folder in use has its lock held; one that was
/// used a moment ago may still have a server on its way out.
pub(crate) fn remove_left_overs() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        // That of one server, or of several.
        let locks = ["postgres/lock", "lock"].map(|name| path.join(name));
        let Some(lock) = locks.iter().find_map(|lock| File::open(lock).ok()) else { continue };
        let age = path.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > Duration::from_secs(60)) && lock.try_lock().is_ok() {
            std::fs::remove_dir_all(&path).ok();
        }
    }
}

/// Test data need not survive a crash of the machine; everything else is as in production.
pub(crate) const PARAMETERS: [(&str, &str); 2] =
    [("fsync", "off"), ("shared_preload_libraries", "pg_stat_statements")];
