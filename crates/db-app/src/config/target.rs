//! Which PostgreSQL: one that is given by a URL or its parts, or one that is started. Parses and masks URLs.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Which PostgreSQL is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// One that runs already.
    Given(Box<Config>),
    /// One of our own, with its data in this folder.
    Embedded(PathBuf),
}

/// Parses a connection string. The error says what is wrong without quoting anything of it.
pub(crate) fn parse_url(url: &str) -> Result<Config, String> {
    if let Some((scheme, _)) = url.split_once("://")
        && !matches!(scheme, "postgres" | "postgresql")
    {
        return Err("the scheme is not postgres".to_owned());
    }
    let config: Config = url.parse().map_err(|error| reason(&error))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("it names no host".to_owned());
    }
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(host) if host.contains('@'))) {
        return Err("it has an @ too many: in a password it is written %40".to_owned());
    }
    if config.get_user().is_none() {
        return Err("it names no user".to_owned());
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err("sslmode=require is not supported yet; prefer and disable are".to_owned());
    }
    Ok(config)
}

/// What the driver says of a string that it cannot parse. It quotes parts of the string, and any part may be a piece of a
/// password; only the names of options that it knows are safe.
fn reason(error: &tokio_postgres::Error) -> String {
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if text == "invalid value for option `sslmode`" {
        "that sslmode is not supported yet; prefer and disable are".to_owned()
    } else if text.starts_with("invalid value for option") {
        text
    } else if text.starts_with("unknown option") {
        "it has an unknown option".to_owned()
    } else {
        "it cannot be parsed".to_owned()
    }
}

/// A connection string for people: made from what was understood, never from the text, so that no piece of a password
/// can slip through.
pub(crate) fn masked(config: &Config) -> String {
    let user = config.get_user().unwrap_or_default();
    let password = if config.get_password().is_some() { ":***" } else { "" };
    let ports = config.get_ports();
    let port =
        |index: usize| ports.get(index).or(ports.first()).map_or(String::new(), |port| format!(":{port}"));
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(host) if host.contains(':') => format!("[{host}]{}", port(index)),
        Host::Tcp(host) => format!("{host}{}", port(index)),
        #[cfg(unix)]
        Host::Unix(folder) => format!("{}{}", folder.display(), port(index)),
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let database = config.get_dbname().unwrap_or(user);
    format!("postgres://{user}{password}@{hosts}/{database}")
}

/// A connection string that was not understood: only its scheme.
pub(crate) fn hidden(url: &str) -> &'static str {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") { "postgres://***" } else { "***" }
}
