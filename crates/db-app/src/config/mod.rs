//! The configuration: which variables there are, where their values come from, and what they must look like.
//!
//! Order: what the program sets on [`Config`] itself > environment > `.env` > `db.toml` > preset > default. Every error
//! names the variable, the value as given (unless it is secret) and what is accepted; all of them are reported at once.

mod layers;
mod migrations;
mod observe;
mod password;
mod postgres;
mod preset;
mod read;
mod replicas;
mod retry;
mod variables;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use db_core::SecretString;
use db_pool::Settings;
use db_retry::Policy;
use serde::Serialize;

pub use layers::{Layers, Source};
pub use migrations::MigrationConfig;
pub use observe::{AlertConfig, ObserveConfig};
pub use password::password_from_environment;
pub use postgres::Postgres;
pub use preset::Preset;
pub use replicas::ReplicaConfig;
pub(crate) use replicas::{Member, members};
pub use variables::{VARIABLES, Variable};

/// Everything that can be configured. Change a field after loading to override every other source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What kind of installation this is.
    pub environment: Environment,
    /// Which PostgreSQL is used.
    pub postgres: Postgres,
    /// The pool.
    pub pool: Settings,
    /// How failed calls are tried again. Failures to connect are the pool's: [`Settings::connect_retry`].
    pub retry: Policy,
    /// Where `db serve` listens.
    pub http_addr: SocketAddr,
    /// Whoever sends it as a bearer token may see details.
    pub http_token: Option<SecretString>,
    /// How the schema is migrated.
    pub migrations: MigrationConfig,
    /// The replicas that take reads.
    pub replicas: ReplicaConfig,
    /// The pause between two health checks.
    pub health_interval: Duration,
    /// How the layer is watched.
    pub observe: ObserveConfig,
    /// How long stopping may take.
    pub shutdown_timeout: Duration,
    /// How long a service that is told to stop says that it is not ready before it refuses requests. A part of the time for
    /// stopping, of which it is at most half.
    pub shutdown_delay: Duration,
    /// What is logged, as a `tracing` filter; `None` leaves it to the program.
    pub log: Option<String>,
    /// What is odd but not wrong, a line each.
    pub warnings: Vec<String>,
    /// Each variable with its value and source, in the order of [`VARIABLES`].
    pub shown: Vec<Shown>,
}

/// What kind of installation this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Environment {
    /// Somebody's own machine. The default.
    #[default]
    Development,
    /// A run of tests.
    Test,
    /// A rehearsal of production.
    Staging,
    /// The real thing: `.env` is not read.
    Production,
}

/// A variable with its value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// The variable, under the name that was used.
    pub name: &'static str,
    /// Its value, masked if it is secret; `None` when it is not set and has no default.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

/// Values that cannot be used, each with one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    lines: Vec<String>,
}

impl Config {
    /// Reads the environment, `.env` (unless in production) and `db.toml` of the current folder.
    ///
    /// # Errors
    /// One line for each value that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::load(&Layers::from_env()?)
    }

    /// Reads the given layers and nothing else.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        read::read(layers)
    }

    /// What a service logs, as a `tracing` filter: what `DB_LOG` says, otherwise `info`, in development with each
    /// statement (`db::query` at `debug`).
    #[must_use]
    pub fn log_filter(&self) -> &str {
        match (&self.log, self.environment) {
            (Some(log), _) => log,
            (None, Environment::Development) => "info,db::query=debug",
            (None, _) => "info",
        }
    }
}

impl ConfigError {
    /// The errors, a line each.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Staging => "staging",
            Self::Production => "production",
        })
    }
}
