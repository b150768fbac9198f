//! What a service adds to a database before it is opened: who listens, what else is looked at, which migrations are its own.
//! How it is opened is in `opening`.

use std::fmt;
use std::sync::Arc;

use db_core::{Executor, Observer};
use db_health::{AlertSink, Check, Rule};
use db_migrate::Migrator;
use opentelemetry::metrics::Meter;

use crate::config::Config;
use crate::opening::OpenError;
use crate::{Database, opening};

/// A check that is given the server.
pub(crate) type OwnCheck = Box<dyn FnOnce(Arc<dyn Executor>) -> Check + Send>;

/// A database that is to be opened.
#[must_use]
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) meter: Option<Meter>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) checks: Vec<OwnCheck>,
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
    /// for nobody unless the service has set a provider before it opens the database. Two databases need two meters, of different
    /// providers: their figures go by the same names.
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Somebody more who hears what happens; the log, the metrics and the window of the last minute do by themselves.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// A check of the service's own, looked at beside those of the database, at its own interval. Opening waits for its first
    /// look, as for all others.
    pub fn check(self, check: Check) -> Self {
        self.check_with(move |_| check)
    }

    /// A check that asks the database itself, over the connection of the checks that are run seldom: no pool is needed for it.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use db_app::prelude::*;
    /// use db_app::core::{Executor, Finding};
    /// use db_app::health::{AsyncProbe, Check};
    ///
    /// # async fn example(config: Config) -> Result<(), db_app::OpenError> {
    /// let has_prices = |server: Arc<dyn Executor>| {
    ///     let look = move || {
    ///         let server = Arc::clone(&server);
    ///         async move {
    ///             let prices: i64 = server.one("SELECT count(*) FROM prices", &[]).await?;
    ///             Ok(if prices > 0 { Finding::healthy() } else { Finding::unhealthy("no_prices") })
    ///         }
    ///     };
    ///     Check::new(AsyncProbe::new("prices", look)).internal()
    /// };
    /// let db = Database::builder(config).check_with(has_prices).open().await?;
    /// # Ok(()) }
    /// ```
    pub fn check_with(mut self, check: impl FnOnce(Arc<dyn Executor>) -> Check + Send + 'static) -> Self {
        self.checks.push(Box::new(check));
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
            .field("checks", &self.checks.len())
            .finish_non_exhaustive()
    }
}
