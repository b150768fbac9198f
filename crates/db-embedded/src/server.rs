//! A running server: who owns it, how to reach it, how to stop it. How it is started is in `launch`.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use crate::error::io;
use crate::folder::Folder;
use crate::launch::{Cluster, Port, Running, end_left_over};
use crate::pidfile::PidFile;
use crate::process::{self, POLL};
use crate::settings::waives_durability;
use crate::standby::{self, Leader};
use crate::state::State;
use crate::user::RunAs;
use crate::{Error, Exit, Installation, Settings, initialise, install};

/// The only address a server listens on.
const HOST: &str = "127.0.0.1";

/// A PostgreSQL on 127.0.0.1, owned or attached to.
///
/// Dropping the owner stops PostgreSQL in the background (fast, after 3 s immediately). [`stop`](Self::stop) waits
/// until it is gone.
#[derive(Debug)]
pub struct Server {
    role: Role,
    folder: Folder,
    state: State,
    password: SecretString,
}

#[derive(Debug)]
enum Role {
    Owner(Box<Owner>),
    Attached { pid: u32 },
}

#[derive(Debug)]
struct Owner {
    running: Option<Running>,
    /// Set from the first signal on, since ending may be interrupted.
    is_ending: bool,
    cluster: Cluster,
    /// Released last: whoever gets the lock finds a server that is at least told to stop.
    _lock: File,
}

/// How PostgreSQL is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Open transactions are rolled back, everything is written to disk.
    Fast,
    /// Ends at once, as in a crash: the next start recovers.
    Immediate,
}

impl Server {
    /// Starts a PostgreSQL in the folder of the settings, or attaches to the one that runs there.
    ///
    /// The first start in a folder makes the database, which takes about a second.
    ///
    /// # Errors
    /// When no PostgreSQL is installed, or none that fits the folder; when it cannot be made, does not start or is not
    /// ready in time, with the relevant lines of its log; when somebody else uses the folder or the port; when a
    /// setting cannot be used. A failed start leaves nothing running.
    ///
    /// # Cancel safety
    /// Dropped midway, it stops what it has started, in the background; the next start waits for that and removes
    /// what was unfinished.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let path = std::path::absolute(&settings.folder).map_err(io("find", &settings.folder))?;
        let folder = Folder::open(&path)?;
        let start = Instant::now();
        loop {
            if let Some(lock) = folder.try_lock()? {
                return Self::own(folder, settings, lock).await;
            }
            if let Some(server) = Self::attach(&folder)? {
                return Ok(server);
            }
            let waited = start.elapsed();
            if waited > settings.start_timeout {
                let owner = State::read(&folder).and_then(|it| it.owner);
                return Err(Error::OwnerNotReady { folder: folder.path().to_path_buf(), owner, waited });
            }
            sleep(POLL).await;
        }
    }

    async fn own(folder: Folder, settings: Settings, lock: File) -> Result<Self, Error> {
        let last = State::read(&folder);
        let is_new = folder.major()?.is_none();
        let leader = settings.leader.as_ref().filter(|_| is_new);
        let installation = match leader {
            Some(leader) => leader.installation.clone(),
            None => install::choose(&folder, &settings).await?,
        };
        let run_as = RunAs::choose(&folder.data())?;
        if let Some(user) = &run_as {
            user.check_reach(folder.path())?;
            user.check_reach(&installation.bin_dir)?;
        }
        end_left_over(&folder, last.as_ref()).await?;
        folder.remove_unfinished();

        let (mut user, mut present, mut port) = (settings.user.clone(), "postgres".to_owned(), None);
        if let Some(last) = last {
            port = Some(last.port);
            if !is_new {
                (user, present) = (last.user, last.database);
            }
        }
        if let Some(leader) = leader {
            standby::copy(&folder, run_as.as_ref(), leader, !settings.waives_durability()).await?;
            present.clone_from(&leader.database);
        } else if is_new {
            initialise::data(&folder, &installation, run_as.as_ref(), &settings).await?;
        }
        let password = folder.password()?;
        let database = settings.database;
        if database != "postgres" && database != present {
            initialise::database(&folder, &installation, run_as.as_ref(), &database).await?;
        }

        let owner = Some(std::process::id());
        let state = State { owner, postmaster: None, port: port.unwrap_or(0), user, database, installation };
        let (parameters, start_timeout, stop_timeout) =
            (settings.parameters, settings.start_timeout, settings.stop_timeout);
        let mut cluster =
            Cluster { folder: folder.clone(), state, run_as, parameters, start_timeout, stop_timeout };
        let running = cluster.launch(settings.port.map_or(Port::Prefer(port), Port::Only)).await?;
        let state = cluster.state.clone();
        let owner = Owner { running: Some(running), is_ending: false, cluster, _lock: lock };
        Ok(Self { role: Role::Owner(Box::new(owner)), folder, state, password })
    }

    /// Attaches to the server of the owner, if it is ready.
    fn attach(folder: &Folder) -> Result<Option<Self>, Error> {
        let Some(state) = State::read(folder) else { return Ok(None) };
        let (Some(owner), Some(_)) = (state.owner, state.postmaster) else { return Ok(None) };
        // Not by the process id of the state: somebody may have restarted the server by hand.
        let ready = PidFile::read(&folder.data()).filter(|it| it.is_ready && it.port == Some(state.port));
        let Some(PidFile { pid, .. }) = ready else { return Ok(None) };
        // State and file may still be those of an owner who was killed.
        if !process::is_alive(owner) || !process::serves(pid, &folder.data()) {
            return Ok(None);
        }
        let password = folder.password()?;
        Ok(Some(Self { role: Role::Attached { pid }, folder: folder.clone(), state, password }))
    }

    /// The address to connect to: always `127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> &str {
        HOST
    }

    /// The port to connect to. It stays the same for the life of this value.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.state.port
    }

    /// The superuser.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.state.user
    }

    /// The superuser's password, 40 random letters and digits.
    #[must_use]
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// The database that [`url`](Self::url) names.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.state.database
    }

    /// The connection string, password included: `postgres://user:password@127.0.0.1:port/database`.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let password = self.password.expose_secret();
        // Nothing in it needs an escape: settings are checked, and the password is letters and digits.
        format!("postgres://{}:{password}@{HOST}:{}/{}", self.user(), self.port(), self.database()).into()
    }

    /// The programs that the server runs with.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.state.installation
    }

    /// The folder of the server, without symbolic links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the postmaster; none while it is halted.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.role {
            Role::Owner(owner) => owner.running.as_ref().map(|it| it.pid),
            Role::Attached { pid } => Some(*pid),
        }
    }

    /// Whether somebody else owns the server, so that stopping this one stops nothing.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        matches!(self.role, Role::Attached { .. })
    }

    /// Completes when PostgreSQL ends, for whatever reason; at once if it is halted. It does not borrow the server, so
    /// it can be watched by a task of its own.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let running = match &self.role {
            Role::Owner(owner) => owner.running.as_ref().map(|it| (it.process.ended(), it.log.clone())),
            Role::Attached { .. } => None,
        };
        let attached_to = self.is_attached().then_some(self.pid()).flatten();
        async move {
            if let Some((ended, log)) = running {
                let status = Some(ended.await);
                return Exit { status, log: log.relevant() };
            }
            while attached_to.is_some_and(process::is_alive) {
                // It is not our child, so nothing reports its end.
                sleep(Duration::from_millis(100)).await;
            }
            Exit { status: None, log: "the log is not known here".to_owned() }
        }
    }

    /// Stops PostgreSQL (fast) and waits until nothing of it is left. On an attached server it only lets go.
    ///
    /// # Errors
    /// When it survives even `SIGKILL`, or the state cannot be written.
    ///
    /// # Cancel safety
    /// Dropped midway, PostgreSQL is stopped in the background.
    pub async fn stop(self) -> Result<(), Error> {
        let Role::Owner(mut owner) = self.role else { return Ok(()) };
        owner.halt(Shutdown::Fast).await?;
        owner.cluster.state.owner = None;
        owner.cluster.state.write(&self.folder)
    }

    /// Stops PostgreSQL and keeps folder, port, password and ownership for [`resume`](Self::resume).
    ///
    /// # Errors
    /// On an attached server; else as [`stop`](Self::stop).
    ///
    /// # Cancel safety
    /// Dropped midway, PostgreSQL has been told to stop; `halt` again to wait for it.
    pub async fn halt(&mut self, how: Shutdown) -> Result<(), Error> {
        self.owner("halt")?.halt(how).await
    }

    /// Starts PostgreSQL again on the same port, after [`halt`](Self::halt) or after it ended by itself. Does nothing
    /// if it runs.
    ///
    /// # Errors
    /// On an attached server; else as [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropped midway, it stops what it has started; `resume` again.
    pub async fn resume(&mut self) -> Result<(), Error> {
        let port = self.port();
        let owner = self.owner("resume")?;
        if let Some(running) = &owner.running {
            if !owner.is_ending && running.process.status().is_none() {
                return Ok(());
            }
            owner.halt(Shutdown::Fast).await?;
        }
        owner.running = Some(owner.cluster.launch(Port::Await(port)).await?);
        Ok(())
    }

    /// Throws the database away and begins again as a copy of `leader` that streams from it, known to it as `name`, as
    /// [`Settings::standby_of`] does. It is stopped for that, if it runs, and comes back on the same port.
    ///
    /// # Errors
    /// On an attached server, and when the leader cannot be copied; the database is kept then. Else as
    /// [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropped midway, it is halted, and what it has started is stopped; the database is the old one, the new one, or none.
    /// `follow` again.
    pub async fn follow(&mut self, leader: &Self, name: &str) -> Result<(), Error> {
        let leader = Leader::new(leader, name.to_owned());
        leader.check()?;
        let port = self.port();
        let owner = self.owner("renew")?;
        owner.halt(Shutdown::Fast).await?;
        let cluster = &mut owner.cluster;
        cluster.folder.remove_unfinished();
        let must_last = !waives_durability(&cluster.parameters);
        standby::copy(&cluster.folder, cluster.run_as.as_ref(), &leader, must_last).await?;
        cluster.state.user = leader.user;
        cluster.state.database = leader.database;
        cluster.state.installation = leader.installation;
        owner.running = Some(cluster.launch(Port::Await(port)).await?);
        (self.state, self.password) = (owner.cluster.state.clone(), leader.password);
        Ok(())
    }

    fn owner(&mut self, operation: &'static str) -> Result<&mut Owner, Error> {
        match &mut self.role {
            Role::Owner(owner) => Ok(owner),
            Role::Attached { .. } => {
                Err(Error::Attached { operation, folder: self.folder.path().to_path_buf() })
            }
        }
    }
}

impl Owner {
    async fn halt(&mut self, how: Shutdown) -> Result<(), Error> {
        if let Some(running) = &self.running {
            self.is_ending = true;
            self.cluster.end(running, how).await?;
        }
        self.running = None;
        self.is_ending = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_and_stopping_can_be_spawned() {
        fn check<T: Send>(_: T) {}
        check(Server::start(Settings::new("/folder")));
        let stop: fn(Server) = |server| check(server.stop());
        let resume: fn(&mut Server) = |server| check(server.resume());
        let _ = (stop, resume);
    }
}
