//! Starts PostgreSQL on a data folder that is there, and ends it. Makes no database and takes no lock.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use crate::error::io;
use crate::folder::Folder;
use crate::log::Log;
use crate::pidfile::PidFile;
use crate::process::{self, POLL};
use crate::state::State;
use crate::supervisor::Supervised;
use crate::user::RunAs;
use crate::{Error, Shutdown};

/// How many ports are tried when the choice is ours. One is nearly always enough: another process would have to take
/// the port between our look and PostgreSQL's bind.
const PORT_TRIES: usize = 5;

/// After `SIGQUIT` PostgreSQL itself kills, 5 s later, what has not ended.
const IMMEDIATE_TIMEOUT: Duration = Duration::from_secs(6);

/// After `SIGKILL` only the system can still be in the way.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Which port to listen on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Port {
    /// This one if it is free, else another.
    Prefer(Option<u16>),
    /// This one or none.
    Only(u16),
    /// This one, and if it is in use wait for it: a client that keeps connecting to a local port on which nothing
    /// listens can take that very port for its own end.
    Await(u16),
}

/// What it takes to start PostgreSQL, as often as wanted.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) folder: Folder,
    /// State as an owner writes it; process id and port are filled in at each start.
    pub(crate) state: State,
    pub(crate) run_as: Option<RunAs>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_timeout: Duration,
}

/// A PostgreSQL that has been ready.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Supervised,
    pub(crate) pid: u32,
    pub(crate) log: Log,
}

/// Why one attempt failed, as far as the next step depends on it.
enum Failure {
    PortInUse,
    /// A server process outlives its postmaster by moments when the latter was killed.
    MemoryInUse(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Where a server listens: on this machine only, and on no Unix socket.
fn address(port: u16) -> [(&'static str, String); 3] {
    [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", String::new()),
    ]
}

impl Cluster {
    /// Starts PostgreSQL and waits until it is ready.
    ///
    /// # Cancel safety
    /// Dropped midway, it stops what it has started.
    pub(crate) async fn launch(&mut self, choice: Port) -> Result<Running, Error> {
        let start = Instant::now();
        let is_in_time = |cluster: &Self| start.elapsed() < cluster.start_timeout;
        let mut tried = Vec::new();
        let mut port = match choice {
            Port::Prefer(Some(port)) | Port::Only(port) | Port::Await(port) => port,
            Port::Prefer(None) => free_port()?,
        };
        loop {
            match self.attempt(port, start).await {
                Ok(running) => {
                    tracing::debug!(port, pid = running.pid, elapsed = ?start.elapsed(), "PostgreSQL is ready");
                    return Ok(running);
                }
                Err(Failure::PortInUse) => {
                    tracing::debug!(port, "the port is in use");
                    tried.push(port);
                    match choice {
                        Port::Prefer(_) if tried.len() < PORT_TRIES => port = free_port()?,
                        Port::Await(_) if is_in_time(self) => sleep(POLL).await,
                        _ => {
                            tried.dedup();
                            return Err(Error::PortInUse { ports: tried });
                        }
                    }
                }
                Err(Failure::MemoryInUse(_)) if is_in_time(self) => sleep(POLL).await,
                Err(Failure::MemoryInUse(error) | Failure::Other(error)) => return Err(error),
            }
        }
    }

    async fn attempt(&mut self, port: u16, start: Instant) -> Result<Running, Failure> {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return Err(Failure::PortInUse);
        }
        self.state.port = port;
        self.record(None)?;

        let lines: Vec<_> = address(port).iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
        self.folder.replace(&self.folder.address(), &lines.join("\n"), self.run_as.as_ref())?;

        let data = self.folder.data();
        let stale = PidFile::read(&data);
        // PostgreSQL takes a lock file with the id of a living process for that of a living server, even if the id is
        // now somebody else's. It makes an exception for its ancestors. So this says who wrote the file without
        // touching it: its other content still guards against left-over processes that use the same memory.
        let unrelated = stale.iter().filter(|it| !process::serves(it.pid, &real_data(&self.folder)));
        let environment: Vec<_> = unrelated.map(|it| ("PG_GRANDPARENT_PID", it.pid.to_string())).collect();
        let (file, log) = Log::open(&self.folder.log())?;
        let program = self.state.installation.bin_dir.join("postgres");
        let process =
            Supervised::spawn(&program, &self.arguments(port), &environment, self.run_as.as_ref(), file)?;

        // Nothing reports that the server is ready, so its file is looked at.
        loop {
            if let Some(status) = process.status() {
                return Err(self.failure(status, &log));
            }
            if let Some(now) = PidFile::read(&data)
                && now.is_ready
                && stale.as_ref().is_none_or(|it| !it.is_same_run(&now))
            {
                self.record(Some(now.pid))?;
                return Ok(Running { process, pid: now.pid, log });
            }
            let waited = start.elapsed();
            if waited > self.start_timeout {
                let ended = process.ended();
                drop(process);
                // The watcher's patience is 3 s, and PostgreSQL's with its own children 5 s.
                let _ = timeout(Duration::from_secs(9), ended).await;
                let folder = self.folder.path().to_path_buf();
                return Err(Failure::Other(Error::StartTimeout { folder, waited, log: log.relevant() }));
            }
            sleep(POLL).await;
        }
    }

    /// Later parameters win, so ours come last.
    fn arguments(&self, port: u16) -> Vec<String> {
        let address = address(port);
        let ours = [
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            // The log is searched for messages.
            ("lc_messages", "C"),
        ];
        let theirs = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut arguments = vec!["-D".to_owned(), self.folder.data().display().to_string()];
        let address = address.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in theirs.chain(ours).chain(address) {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }

    fn failure(&self, status: ExitStatus, log: &Log) -> Failure {
        let text = log.text();
        if text.contains("could not create any TCP/IP sockets") {
            return Failure::PortInUse;
        }
        let error = Error::Ended { folder: self.folder.path().to_path_buf(), status, log: log.relevant() };
        match text.contains("pre-existing shared memory block") {
            true => Failure::MemoryInUse(error),
            false => Failure::Other(error),
        }
    }

    /// Ends a server: as asked, then immediately, then by force.
    ///
    /// # Cancel safety
    /// Dropped midway, the server has been told to stop and may be ended again.
    pub(crate) async fn end(&mut self, running: &Running, how: Shutdown) -> Result<(), Error> {
        let start = Instant::now();
        let fast = (Signal::SIGINT, self.stop_timeout);
        let steps = [fast, (Signal::SIGQUIT, IMMEDIATE_TIMEOUT), (Signal::SIGKILL, KILL_TIMEOUT)];
        let skipped = match how {
            Shutdown::Fast => 0,
            Shutdown::Immediate => 1,
        };
        for (signal, patience) in steps.into_iter().skip(skipped) {
            // An id is somebody else's as soon as the supervisor has collected the process.
            if running.process.status().is_none() || process::serves(running.pid, &real_data(&self.folder)) {
                process::send(running.pid, signal);
            }
            let gone = async {
                running.process.ended().await;
                // It is gone by now, unless somebody has killed the supervisor.
                process::is_gone_within(running.pid, patience).await
            };
            if timeout(patience, gone).await == Ok(true) {
                return self.record(None);
            }
            tracing::warn!(pid = running.pid, %signal, ?patience, "PostgreSQL did not end in time");
        }
        Err(Error::StillRunning { folder: self.folder.data(), pid: running.pid, waited: start.elapsed() })
    }

    /// Writes down which process is ours.
    fn record(&mut self, postmaster: Option<u32>) -> Result<(), Error> {
        self.state.postmaster = postmaster;
        self.state.write(&self.folder)
    }
}

/// Ends what an owner that was killed has left running on a data folder. A server of somebody else is left alone, and
/// so is a lock file whose process is gone: [`Cluster::launch`] deals with it.
pub(crate) async fn end_left_over(folder: &Folder, last: Option<&State>) -> Result<(), Error> {
    const PATIENCE: Duration = Duration::from_secs(10);

    let data = real_data(folder);
    let Some(file) = PidFile::read(&data) else { return Ok(()) };
    if !process::serves(file.pid, &data) {
        return Ok(());
    }
    let is_ours = |state: &&State| match state.postmaster {
        Some(pid) => pid == file.pid,
        // The owner was killed before the server was ready.
        None => state.owner.is_some() && file.port == Some(state.port),
    };
    let Some(state) = last.filter(is_ours) else {
        let command = format!("kill -INT {}", file.pid);
        return Err(Error::Foreign { folder: data, pid: file.pid, command });
    };
    // Nobody may attach to a server that is about to end.
    State { owner: Some(std::process::id()), postmaster: None, ..state.clone() }.write(folder)?;
    tracing::info!(pid = file.pid, folder = %data.display(), "ending a PostgreSQL that a killed process has left");
    process::send(file.pid, Signal::SIGINT);
    if process::is_gone_within(file.pid, PATIENCE).await {
        return Ok(());
    }
    Err(Error::StillRunning { folder: data, pid: file.pid, waited: PATIENCE })
}

/// The data folder as the system names it.
fn real_data(folder: &Folder) -> std::path::PathBuf {
    let data = folder.data();
    fs::canonicalize(&data).unwrap_or(data)
}

fn free_port() -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(io("find a free port on", Path::new("127.0.0.1")))
}
