//! A [`Target`] from its parts. What a connection string says arrives here as well, so that both pass the same checks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use db_core::{CredentialProvider, ExposeSecret, NoPassword, SecretString, StaticPassword};

use super::{
    ChannelBinding, ConfigError, Host, HostName, Keepalives, Roots, Target, TargetSession, Tls, TlsMode,
};

const PORT: u16 = 5432;
pub(super) const PORT_ACCEPTS: &str = "a whole number from 1 to 65535";
const HOST_ACCEPTS: &str = "a host name, an address or the folder of a socket";

/// Collects the parts of a [`Target`]. A connection string can be one's beginning: what is set later wins.
///
/// ```
/// use db_pool::{Target, TargetBuilder, TlsMode};
///
/// let target = Target::builder().host("db.example", 5432).user("app").database("shop").build()?;
/// assert_eq!(target.tls().mode, TlsMode::VerifyFull);
///
/// let given: TargetBuilder = "postgres://app@db.example/shop".parse()?;
/// let target = given.option("sslrootcert", "/etc/ssl/ours.pem")?.build()?;
/// assert_eq!(target.masked(), "postgres://app@db.example:5432/shop?sslmode=verify-full");
/// # Ok::<(), db_pool::ConfigError>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct TargetBuilder {
    /// Lists as a connection string has them, to be paired at the end.
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<Option<IpAddr>>,
    pub(super) ports: Vec<Option<u16>>,
    /// Added one by one, behind those of the lists.
    servers: Vec<(String, u16)>,
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    pub(super) password: Option<SecretString>,
    credentials: Option<Arc<dyn CredentialProvider>>,
    pub(super) mode: Option<TlsMode>,
    pub(super) roots: Option<Roots>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) session: TargetSession,
    pub(super) application_name: Option<String>,
    pub(super) fallback_application_name: Option<String>,
    pub(super) options: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) keepalives: Keepalives,
    pub(super) shuffles_hosts: bool,
}

impl TargetBuilder {
    /// Adds a server: a host name, an address, or the folder of a socket, which begins with `/`.
    pub fn host(mut self, name: impl Into<String>, port: u16) -> Self {
        self.servers.push((name.into(), port));
        self
    }

    /// The role.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = some(user.into());
        self
    }

    /// The database; without one it is named like the role.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = some(database.into());
        self
    }

    /// A password that never changes. [`TargetBuilder::credentials`] win over it.
    pub fn password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }

    /// Gives the password of each physical connect.
    pub fn credentials(mut self, credentials: Arc<dyn CredentialProvider>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How the way to the server is encrypted.
    pub fn tls_mode(mut self, mode: TlsMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets an option by libpq's name, such as `sslmode` or `connect_timeout`.
    ///
    /// # Errors
    /// When there is no such option, it is not supported, or the value is none that it takes.
    pub fn option(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.set(name, value)?;
        Ok(self)
    }

    /// Whether a password, or something that gives one, is set.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some() || self.credentials.is_some()
    }

    /// Checks that the parts make sense together.
    ///
    /// # Errors
    /// When they do not, or there is no host or no user.
    pub fn build(self) -> Result<Target, ConfigError> {
        self.check_texts()?;
        let hosts = self.hosts()?;
        let tls = self.tls(hosts.iter().all(Host::is_local))?;
        let has_password = self.has_password();
        let credentials: Arc<dyn CredentialProvider> = match (self.credentials, self.password) {
            (Some(credentials), _) => credentials,
            (None, Some(password)) => Arc::new(StaticPassword::new(password)),
            (None, None) => Arc::new(NoPassword),
        };
        Ok(Target {
            hosts,
            user: Some(self.user.ok_or(ConfigError::NoUser)?),
            database: self.database,
            credentials,
            has_password,
            tls,
            session: self.session,
            application_name: self.application_name.or(self.fallback_application_name),
            options: self.options,
            connect_timeout: self.connect_timeout,
            tcp_user_timeout: self.tcp_user_timeout,
            keepalives: self.keepalives,
            shuffles_hosts: self.shuffles_hosts,
        })
    }

    /// A NUL would end the text early on its way to the server.
    fn check_texts(&self) -> Result<(), ConfigError> {
        let texts = [
            ("user", self.user.as_deref()),
            ("dbname", self.database.as_deref()),
            ("password", self.password.as_ref().map(|password| password.expose_secret())),
            ("application_name", self.application_name.as_deref()),
            ("fallback_application_name", self.fallback_application_name.as_deref()),
            ("options", self.options.as_deref()),
        ];
        match texts.into_iter().find(|(_, text)| text.is_some_and(|text| text.contains('\0'))) {
            Some((setting, _)) => Err(ConfigError::value(setting, "a text without a NUL byte")),
            None => Ok(()),
        }
    }

    /// An address for each host, or no name at all; a port for all, or one for each.
    fn hosts(&self) -> Result<Vec<Host>, ConfigError> {
        let count = if self.names.is_empty() { self.addresses.len() } else { self.names.len() };
        if !self.addresses.is_empty() && self.addresses.len() != count {
            return Err(ConfigError::Count {
                setting: "hostaddr",
                given: self.addresses.len(),
                hosts: count,
            });
        }
        // Ports of hosts that are added later are not here.
        if count > 0 && self.ports.len() > 1 && self.ports.len() != count {
            return Err(ConfigError::Count { setting: "port", given: self.ports.len(), hosts: count });
        }
        let mut hosts = Vec::with_capacity(count + self.servers.len());
        for index in 0..count {
            let address = self.addresses.get(index).copied().flatten();
            let name = match (self.names.get(index), address) {
                (Some(name), _) if !name.is_empty() => host_name(name)?,
                (_, Some(address)) => HostName::Tcp(address.to_string()),
                _ => return Err(ConfigError::NoHost),
            };
            if address.is_some() && matches!(name, HostName::Unix(_)) {
                return Err(ConfigError::Conflict("a socket has no `hostaddr`"));
            }
            let port = self.ports.get(index).or(self.ports.first()).copied().flatten().unwrap_or(PORT);
            hosts.push(Host { name, address, port });
        }
        for (name, port) in &self.servers {
            if *port == 0 {
                return Err(ConfigError::value("port", PORT_ACCEPTS));
            }
            hosts.push(Host { name: host_name(name)?, address: None, port: *port });
        }
        if hosts.is_empty() { Err(ConfigError::NoHost) } else { Ok(hosts) }
    }

    fn tls(&self, is_local: bool) -> Result<Tls, ConfigError> {
        let is_system = self.roots == Some(Roots::System);
        let mode = match self.mode {
            Some(mode) if is_system && mode != TlsMode::VerifyFull => {
                return Err(ConfigError::Conflict("sslrootcert=system needs sslmode=verify-full"));
            }
            Some(mode) => mode,
            None if is_local && !is_system => TlsMode::Prefer,
            None => TlsMode::VerifyFull,
        };
        if self.certificate.is_some() != self.key.is_some() {
            return Err(ConfigError::Conflict("`sslcert` and `sslkey` are given both or not at all"));
        }
        if self.channel_binding == ChannelBinding::Require && mode == TlsMode::Disable {
            return Err(ConfigError::Conflict(
                "channel_binding=require needs TLS, and sslmode=disable forbids it",
            ));
        }
        Ok(Tls {
            mode,
            roots: self.roots.clone().unwrap_or_default(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            channel_binding: self.channel_binding,
        })
    }
}

/// Refuses what no host is named like, lest a piece of a password be taken for one.
fn host_name(name: &str) -> Result<HostName, ConfigError> {
    if name.contains('\0') {
        return Err(ConfigError::value("host", HOST_ACCEPTS));
    }
    if name.starts_with('/') {
        return Ok(HostName::Unix(PathBuf::from(name)));
    }
    if name.is_empty() {
        return Err(ConfigError::NoHost);
    }
    if name.contains('@') {
        return Err(ConfigError::AtSign);
    }
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    let is_host = match name.split_once('%') {
        // The zone of a link-local address.
        Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && is_name(zone),
        None => is_name(name) || name.parse::<Ipv6Addr>().is_ok(),
    };
    if is_host { Ok(HostName::Tcp(name.to_owned())) } else { Err(ConfigError::value("host", HOST_ACCEPTS)) }
}

/// An empty text is none, as in libpq.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Without the options, which may hold anything, and without what failed to be a host.
impl fmt::Debug for TargetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetBuilder").field("has_password", &self.has_password()).finish_non_exhaustive()
    }
}
