//! What a service adds to a database before it is opened: who listens, what else is looked at, which migrations are its own.
//! How it is opened is in `opening`.

use std::fmt;
use std::sync::Arc;

use db_core::Observer;
use db_health::{AlertSink, Check, Rule};
use db_migrate::Migrator;
use opentelemetry::metrics::Meter;

use crate::config::Config;
use crate::opening::OpenError;
use crate::{Database, opening};

/// A database that is to be opened.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) meter: Option<Meter>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) checks: Vec<Check>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) sinks: Vec<Arc<dyn AlertSink>>,
    pub(crate) migrator: Option<Migrator>,
}

impl Builder {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            meter: None,
            observers: Vec::new(),
            checks: Vec::new(),
            rules: Vec::new(),
            sinks: Vec::new(),
            migrator: None,
        }
    }

    /// The meter whose instruments count. Default: that of the global provider of OpenTelemetry by the name `db`, which counts
    /// for nobody unless the service has set a provider before it opens the database.
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Somebody more who hears what happens; the log, the metrics and the window of the last minute do by themselves.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// A check of the service's own, looked at beside those of the database, at its own interval.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// An alert of the service's own, beside those for utilization, latency, errors, connecting, retries, lag and health.
    pub fn alert(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Somebody more who hears of alerts; the log does by itself, and the webhook of the configuration.
    pub fn alert_sink(mut self, sink: Arc<dyn AlertSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// The migrations of the service: whether any is pending becomes a part of its health.
    pub fn migrations(mut self, migrator: Migrator) -> Self {
        self.migrator = Some(migrator);
        self
    }

    /// Connects as configured, starting a server if none is given; verifies that it answers; begins to watch it.
    ///
    /// # Errors
    /// When the server cannot be started or used. The error names the real cause and no secret.
    ///
    /// # Cancel safety
    /// Dropping the future stops a server that it started.
    pub async fn open(self) -> Result<Database, OpenError> {
        opening::open(self).await
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}
