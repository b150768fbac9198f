//! A [`Target`] from the driver's own configuration, for whoever has one already.

use std::sync::Arc;

use db_core::{CredentialProvider, NoPassword, SecretString, StaticPassword};
use tokio_postgres::Config;
use tokio_postgres::config::{
    ChannelBinding as DriverBinding, Host as DriverHost, LoadBalanceHosts, SslMode, TargetSessionAttrs,
};

use super::{ChannelBinding, Host, HostName, Keepalives, Roots, Target, TargetSession, Tls, TlsMode};

impl From<Config> for Target {
    /// The driver knows three modes of TLS, and its default, `prefer`, cannot be told from one that was asked for: it
    /// stands for the default of this crate.
    fn from(config: Config) -> Self {
        let hosts = hosts(&config);
        let is_local = hosts.iter().all(Host::is_local);
        let mode = match config.get_ssl_mode() {
            SslMode::Disable => TlsMode::Disable,
            SslMode::Prefer if is_local => TlsMode::Prefer,
            SslMode::Prefer => TlsMode::VerifyFull,
            _ => TlsMode::Require,
        };
        let channel_binding = match config.get_channel_binding() {
            DriverBinding::Disable => ChannelBinding::Disable,
            DriverBinding::Require => ChannelBinding::Require,
            _ => ChannelBinding::Prefer,
        };
        let session = match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => TargetSession::ReadWrite,
            TargetSessionAttrs::ReadOnly => TargetSession::ReadOnly,
            _ => TargetSession::Any,
        };
        let credentials: Arc<dyn CredentialProvider> = match config.get_password() {
            Some(password) => {
                let password = String::from_utf8_lossy(password).into_owned();
                Arc::new(StaticPassword::new(SecretString::from(password)))
            }
            None => Arc::new(NoPassword),
        };
        let has_password = config.get_password().is_some();
        Self {
            hosts,
            user: config.get_user().map(str::to_owned),
            database: config.get_dbname().map(str::to_owned),
            credentials,
            has_password,
            tls: Tls { mode, roots: Roots::System, certificate: None, key: None, channel_binding },
            session,
            application_name: config.get_application_name().map(str::to_owned),
            options: config.get_options().map(str::to_owned),
            connect_timeout: config.get_connect_timeout().copied(),
            tcp_user_timeout: config.get_tcp_user_timeout().copied(),
            keepalives: Keepalives {
                enabled: config.get_keepalives(),
                // The driver's default of 2 hours is nobody's wish.
                idle: config.get_keepalives_idle().min(Keepalives::default().idle),
                interval: config.get_keepalives_interval(),
                retries: config.get_keepalives_retries(),
            },
            shuffles_hosts: config.get_load_balance_hosts() == LoadBalanceHosts::Random,
        }
    }
}

/// A port for all hosts, or one for each; an address for each host, or no name at all.
fn hosts(config: &Config) -> Vec<Host> {
    let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = names.len().max(addresses.len()).max(1);
    (0..count)
        .map(|index| {
            let address = addresses.get(index).copied();
            let name = match names.get(index) {
                Some(DriverHost::Tcp(name)) => HostName::Tcp(name.clone()),
                #[cfg(unix)]
                Some(DriverHost::Unix(folder)) => HostName::Unix(folder.clone()),
                None => HostName::Tcp(
                    address.map_or_else(|| "localhost".to_owned(), |address| address.to_string()),
                ),
            };
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            Host { name, address, port }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_host_and_port() {
        let check = |url: &str, expect: &str| {
            let target = Target::from(url.parse::<Config>().expect(url));
            assert_eq!(target.endpoint(), expect);
        };
        check("postgres://db.example/d", "db.example:5432");
        check("postgres://127.0.0.1:6543/d", "127.0.0.1:6543");
        check("host=/run/postgresql dbname=d", "/run/postgresql:5432");
        check("hostaddr=10.0.0.1 dbname=d", "10.0.0.1:5432");
        check("postgres://a:1,b:2/d", "a:1,b:2");
        check("postgres://app:pa@hunter2@localhost/d", "***:5432");
    }
}
