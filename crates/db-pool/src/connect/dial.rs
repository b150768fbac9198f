//! From a host's name to an open stream: addresses, TCP with its options, sockets of this machine. No TLS here.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use super::failed::{Failed, Stage};
use super::transport::Transport;
use crate::target::{Host, HostName, Keepalives, Target};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What is set on a TCP connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketOptions {
    keepalives: Keepalives,
    /// Zero leaves it to the system.
    user_timeout: Duration,
}

impl SocketOptions {
    /// Unacknowledged data means a dead peer long before the kernel's own 15 minutes.
    const USER_TIMEOUT: Duration = Duration::from_secs(10);

    pub(super) fn of(target: &Target) -> Self {
        let user_timeout = target.tcp_user_timeout.unwrap_or(Self::USER_TIMEOUT);
        Self { keepalives: target.keepalives, user_timeout }
    }

    fn set(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        }
        if self.keepalives.enabled {
            socket.set_tcp_keepalive(&keepalive(self.keepalives))?;
        }
        Ok(())
    }
}

/// Zero stands for the system's own, as everywhere in PostgreSQL.
fn keepalive(Keepalives { enabled: _, idle, interval, retries }: Keepalives) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if !idle.is_zero() {
        keepalive = keepalive.with_time(idle);
    }
    #[cfg(not(target_os = "openbsd"))]
    if let Some(interval) = interval.filter(|interval| !interval.is_zero()) {
        keepalive = keepalive.with_interval(interval);
    }
    #[cfg(not(target_os = "openbsd"))]
    if let Some(retries) = retries.filter(|retries| *retries != 0) {
        keepalive = keepalive.with_retries(retries);
    }
    keepalive
}

/// Every place that `host` stands for; at least one.
pub(super) async fn places(host: &Host) -> Result<Vec<Place>, Failed> {
    let name = match (&host.name, host.address) {
        (HostName::Unix(folder), _) => {
            return Ok(vec![Place::Unix(folder.join(format!(".s.PGSQL.{}", host.port)))]);
        }
        (HostName::Tcp(_), Some(address)) => {
            return Ok(vec![Place::Tcp(SocketAddr::new(address, host.port))]);
        }
        (HostName::Tcp(name), None) => name,
    };
    let found: Vec<_> = match lookup_host((name.as_str(), host.port)).await {
        Ok(found) => found.map(Place::Tcp).collect(),
        Err(error) => return Err(unresolved(&error)),
    };
    if found.is_empty() {
        return Err(Failed::misuse(Stage::Reach, "the host's name has no address"));
    }
    Ok(found)
}

/// A wrong name is not worth waiting for; a name server that does not answer may be back soon. The standard library reports
/// both without a code, in the C library's words. The name itself is the caller's to say.
fn unresolved(error: &io::Error) -> Failed {
    let text = error.to_string();
    if text.contains("lookup address") && !text.contains("Temporary failure") {
        Failed::misuse(Stage::Reach, text)
    } else {
        Failed::unreachable(text)
    }
}

pub(super) async fn tcp(address: SocketAddr, options: &SocketOptions) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(address).await.map_err(|error| Failed::io(&error))?;
    match options.set(&stream) {
        Ok(()) => Ok(stream),
        // Out of the range of what the system takes.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(Failed::misuse(Stage::Setup, format!("keepalives or tcp_user_timeout: {error}")))
        }
        Err(error) => Err(Failed::io(&error)),
    }
}

#[cfg(unix)]
pub(super) async fn unix(path: &std::path::Path) -> Result<Transport, Failed> {
    let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| Failed::io(&error))?;
    Ok(Transport::plain(stream))
}

#[cfg(not(unix))]
pub(super) async fn unix(_path: &std::path::Path) -> Result<Transport, Failed> {
    Err(Failed::misuse(Stage::Setup, "sockets of this machine are not supported on this system"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
