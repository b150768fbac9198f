//! `db serve` in a folder of its own, with its embedded PostgreSQL, and what can be done to both.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wait::wait_for;

/// What opens the page to strangers.
pub(crate) const TOKEN: &str = "end-to-end-0123456789";

/// The folder in which the program runs.
pub(crate) struct Place {
    folder: TempDir,
    out: PathBuf,
}

/// The program under way.
pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
}

impl Place {
    pub(crate) fn new(out: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("db-e2e-").tempdir()?;
        // PostgreSQL may run as another user, who must be able to enter.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
        Ok(Self { folder, out: out.to_owned() })
    }
}

impl Service {
    /// Starts on a free port and waits until it answers.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        Self::start_on(place, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts on the given address.
    pub(crate) fn start_on(place: &Place, address: SocketAddr) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("db");
        let postgres = place.folder.path().join("postgres");
        let log = File::options().create(true).append(true).open(place.out.join("serve.log"))?;
        let mut command = Command::new(&program);
        command.arg("serve").current_dir(place.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DB_EMBEDDED_DIR", &postgres);
        command.env("DB_MIGRATIONS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
        command.env("DB_HTTP_ADDR", address.to_string()).env("DB_HTTP_TOKEN", TOKEN);
        command.env("DB_HEALTH_INTERVAL_MS", "500");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        // From here on it is ended whatever happens.
        let mut service = Self { child, address, data: postgres.join("data") };
        let output = service.child.stdout.take().context("its output")?;
        service.address = printed_address(output)?;
        wait_for("/health/ready to be 200", Duration::from_secs(30), || {
            Ok((service.ready() == Some(200)).then_some(()))
        })?;
        Ok(service)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status of `/health/ready`; `None` when nobody answers.
    pub(crate) fn ready(&self) -> Option<u16> {
        ready(self.address)
    }

    /// Sends a signal to each process of PostgreSQL.
    pub(crate) fn signal_postgres(&self, signal: Signal) -> Result<()> {
        let data = self.data.canonicalize()?;
        let mut sent = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data) {
                kill(Pid::from_raw(pid), signal)?;
                sent += 1;
            }
        }
        ensure!(sent > 0, "no process of PostgreSQL runs");
        Ok(())
    }

    /// Sends a signal to the first process of PostgreSQL only, which ends the others.
    pub(crate) fn signal_postmaster(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.postmaster()?, signal)?)
    }

    /// The process that PostgreSQL began with.
    pub(crate) fn postmaster(&self) -> Result<Pid> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).context("postmaster.pid")?;
        Ok(Pid::from_raw(file.lines().next().context("an empty postmaster.pid")?.parse()?))
    }

    /// Sends a signal to the program itself.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Tells it to end, and says how it did.
    pub(crate) fn end(mut self) -> Result<String> {
        self.signal(Signal::SIGTERM)?;
        let limit = Duration::from_secs(20);
        let (status, took): (ExitStatus, _) =
            wait_for("the end of the program", limit, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "{status}");
        Ok(format!("{:.1} s", took.as_secs_f64()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After `end` there is nobody to tell. PostgreSQL goes with the program; one that was held must be let go for that.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGCONT).ok();
            self.signal_postgres(Signal::SIGCONT).ok();
            self.signal(Signal::SIGTERM).ok();
            let ended = wait_for("its end", Duration::from_secs(20), || Ok(self.child.try_wait()?));
            if ended.is_err() {
                self.child.kill().ok();
            }
        }
    }
}

/// The status of `/health/ready` at an address; `None` when nobody answers.
fn ready(address: SocketAddr) -> Option<u16> {
    let config = ureq::config::Config::builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(1)));
    let agent: ureq::Agent = config.build().into();
    agent.get(format!("http://{address}/health/ready")).call().ok().map(|answer| answer.status().as_u16())
}

/// The address in the first line with one. What comes after it is read as well, so that the program can go on printing.
fn printed_address(output: impl Read + Send + 'static) -> Result<SocketAddr> {
    let (found, address) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let place = line.strip_prefix("http://").and_then(|rest| rest.split('/').next());
            if let Some(address) = place.and_then(|place| place.parse().ok()) {
                found.send(address).ok();
            }
        }
    });
    match address.recv_timeout(Duration::from_secs(60)) {
        Ok(address) => Ok(address),
        Err(_) => bail!("db serve did not say where it listens (see serve.log)"),
    }
}
