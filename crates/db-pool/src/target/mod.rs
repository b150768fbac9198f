//! Where to connect and how: hosts, user, credentials, TLS. Parsed once; whoever has a [`Target`] has one that makes sense.

mod builder;
mod driver;
mod error;
mod masked;
mod options;
mod parse;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use db_core::CredentialProvider;

pub use builder::TargetBuilder;
pub use error::ConfigError;

/// A server, or several of which the first that suits is taken, and how to connect to it.
#[derive(Clone)]
pub struct Target {
    /// In the order in which they are tried; at least one.
    pub(crate) hosts: Vec<Host>,
    /// The role; without one the name of this process's user, as everywhere in PostgreSQL.
    pub(crate) user: Option<String>,
    /// The database; without one it is named like the role.
    pub(crate) database: Option<String>,
    /// Gives the password of each physical connect.
    pub(crate) credentials: Arc<dyn CredentialProvider>,
    /// Whether they are more than nothing; for showing.
    pub(crate) has_password: bool,
    pub(crate) tls: Tls,
    pub(crate) session: TargetSession,
    pub(crate) application_name: Option<String>,
    /// Options of the command line for the session, such as `-c geqo=off`.
    pub(crate) options: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) keepalives: Keepalives,
    /// Whether the hosts are tried in random order.
    pub(crate) shuffles_hosts: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// What a certificate must name.
    pub(crate) name: HostName,
    /// Where to connect when it is known already (`hostaddr`).
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    Tcp(String),
    /// The folder of the server's socket.
    Unix(PathBuf),
}

/// How the way to the server is encrypted, and what is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// Default: [`TlsMode::VerifyFull`], and [`TlsMode::Prefer`] on the loopback; a socket is never encrypted.
    pub mode: TlsMode,
    /// Who may have signed the server's certificate.
    pub roots: Roots,
    /// Our own certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// The key of our own certificate, PEM.
    pub key: Option<PathBuf>,
    /// Whether the password's exchange is bound to the TLS session.
    pub channel_binding: ChannelBinding,
}

/// The six modes of `sslmode`, with the meaning that libpq gives them. Complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server insists.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; who answers is not checked, unless root certificates are given.
    Require,
    /// Encrypted, and the certificate is signed by one of the roots.
    VerifyCa,
    /// As [`TlsMode::VerifyCa`], and the certificate names the host.
    VerifyFull,
}

/// Who may have signed a server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Whoever this system trusts.
    #[default]
    System,
    /// The certificates in this file, PEM.
    File(PathBuf),
}

/// Whether the exchange of the password is bound to the TLS session. Complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides can.
    #[default]
    Prefer,
    /// Always; a server that cannot is refused.
    Require,
}

/// Which of several servers is wanted (`target_session_attrs`). Complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSession {
    /// The first that answers.
    #[default]
    Any,
    /// One that takes writes by default.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One in recovery.
    Standby,
    /// A standby if there is one, otherwise any.
    PreferStandby,
}

/// TCP keep-alive of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalives {
    pub(crate) enabled: bool,
    /// Until the first probe.
    pub(crate) idle: Duration,
    pub(crate) interval: Option<Duration>,
    pub(crate) retries: Option<u32>,
}

impl Default for Keepalives {
    fn default() -> Self {
        // Long before the 2 hours of most systems, and shorter than what firewalls keep.
        Self { enabled: true, idle: Duration::from_secs(60), interval: None, retries: None }
    }
}

impl Target {
    /// A target from its parts, without a connection string.
    pub fn builder() -> TargetBuilder {
        TargetBuilder::default()
    }

    /// The same with other credentials.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<dyn CredentialProvider>) -> Self {
        self.credentials = credentials;
        self.has_password = true;
        self
    }

    /// The same with the credentials of another target, for two ways to one server.
    #[must_use]
    pub fn with_credentials_of(mut self, other: &Self) -> Self {
        self.credentials = Arc::clone(&other.credentials);
        self.has_password = other.has_password;
        self
    }

    /// The same with other settings of TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The same with another name for its sessions.
    #[must_use]
    pub fn with_application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = Some(name.into());
        self
    }

    /// The same with another database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// The same with another limit for data that the server does not acknowledge.
    #[must_use]
    pub fn with_tcp_user_timeout(mut self, limit: Duration) -> Self {
        self.tcp_user_timeout = Some(limit);
        self
    }

    /// The same at the servers of another target: role, credentials, database and its own certificate stay. The way there is as
    /// safe as that of either.
    #[must_use]
    pub fn at_servers_of(mut self, other: &Self) -> Self {
        self.hosts.clone_from(&other.hosts);
        if other.tls.mode > self.tls.mode {
            (self.tls.mode, self.tls.roots) = (other.tls.mode, other.tls.roots.clone());
        }
        self
    }

    /// The same with another wish for the role of the server.
    #[must_use]
    pub fn with_session(mut self, session: TargetSession) -> Self {
        self.session = session;
        self
    }

    /// Which of the servers is wanted.
    #[must_use]
    pub fn session(&self) -> TargetSession {
        self.session
    }

    /// One target for each server.
    #[must_use]
    pub fn each_server(&self) -> Vec<Self> {
        let one = |host: &Host| Self { hosts: vec![host.clone()], ..self.clone() };
        self.hosts.iter().map(one).collect()
    }

    /// How the way to the server is encrypted.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The role, when one is given.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The database, when one is given.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// `host:port` of each server, for messages.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Whether every server is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }
}

impl Tls {
    /// `mode` with the roots of this system, no certificate of our own, and channel binding where both sides can.
    #[must_use]
    pub fn new(mode: TlsMode) -> Self {
        Self {
            mode,
            roots: Roots::System,
            certificate: None,
            key: None,
            channel_binding: ChannelBinding::Prefer,
        }
    }

    /// The same with other roots.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// The same with a certificate of our own, and its key.
    #[must_use]
    pub fn with_identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some(certificate.into());
        self.key = Some(key.into());
        self
    }

    /// The same with another wish for channel binding.
    #[must_use]
    pub fn with_channel_binding(mut self, channel_binding: ChannelBinding) -> Self {
        self.channel_binding = channel_binding;
        self
    }
}

impl TlsMode {
    /// As `sslmode` spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Host {
    /// A socket, or an address of the loopback. A name other than `localhost` may lead anywhere.
    pub(crate) fn is_local(&self) -> bool {
        match (&self.name, self.address) {
            (HostName::Unix(_), _) => true,
            (HostName::Tcp(_), Some(address)) => address.is_loopback(),
            (HostName::Tcp(name), None) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.name {
            // A password with a bare `@` ends at the first one, and its rest is taken for a part of the host.
            HostName::Tcp(host) if host.contains('@') => write!(f, "***:{port}"),
            HostName::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{port}"),
            HostName::Tcp(host) => write!(f, "{host}:{port}"),
            HostName::Unix(folder) => write!(f, "{}:{port}", folder.display()),
        }
    }
}

/// Without the options, which may hold anything.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint())
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
