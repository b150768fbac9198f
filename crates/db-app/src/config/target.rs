//! Which PostgreSQL: one that is given by a URL or its parts, or one that is started. Parses and masks URLs.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

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
    let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("it names no host".to_owned());
    }
    if config.get_user().is_none() {
        return Err("it names no user".to_owned());
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err("sslmode=require is not supported yet; prefer and disable are".to_owned());
    }
    Ok(config)
}

/// The connection string without its password and without options, which may hold one. What cannot be told apart is
/// hidden.
pub(crate) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(hidden)".to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let Some((userinfo, host)) = rest.rsplit_once('@') else { return format!("{scheme}://{rest}") };
    match userinfo.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => format!("{scheme}://{userinfo}@{host}"),
    }
}
