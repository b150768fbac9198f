//! Who listens to a database, and what comes of it: the log, metrics, the figures of the last minute, alerts. What is
//! watched holds the database weakly, so that it goes when its last user lets go of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use db_core::{Log, Observer, Observers, Status};
use db_health::{Alert, AlertSink, AlertState, Alerts, LogSink, Reading, Rule, Snapshot, Window, rules};
use db_metrics::{Metrics, PoolFigures, ServerFigures};
use db_pool::Stats;
use opentelemetry::metrics::Meter;
use tokio::time::Instant;

use crate::Database;
use crate::config::AlertConfig;
use crate::database::Inner;

/// Who listens.
pub(crate) struct Observed {
    pub(crate) metrics: Metrics,
    pub(crate) window: Arc<Window>,
    /// All of them, for pools, retries and clusters.
    pub(crate) observer: Arc<dyn Observer>,
}

impl Observed {
    /// `database` is the name by which metrics know it.
    pub(crate) fn new(meter: Option<Meter>, database: &str, more: Vec<Arc<dyn Observer>>) -> Self {
        let meter = meter.unwrap_or_else(|| opentelemetry::global::meter("db"));
        let metrics = Metrics::new(&meter, database);
        let window = Arc::new(Window::default());
        let own: [Arc<dyn Observer>; 3] =
            [Arc::new(Log), Arc::new(metrics.clone()), Arc::clone(&window) as Arc<dyn Observer>];
        let observer = Arc::new(Observers::new(own.into_iter().chain(more)));
        Self { metrics, window, observer }
    }
}

/// Lets metrics ask the database for figures of the moment.
pub(crate) fn watch(inner: &Arc<Inner>) {
    let metrics = &inner.observed.metrics;
    let weak = Arc::downgrade(inner);
    metrics.watch_pools(asking(&weak, |database| database.pools().into_iter().map(pool_figures).collect()));
    metrics.watch_servers(asking(&weak, |database| {
        let figures = |stats: db_cluster::EndpointStats| {
            let mut figures = ServerFigures::named(stats.name, stats.standing.word());
            figures.lag = stats.lag.map(|lag| lag.time);
            figures.lag_bytes = stats.lag.map(|lag| lag.bytes);
            figures
        };
        database.servers().into_iter().map(figures).collect()
    }));
    metrics.watch_components(asking(&weak, |database| {
        let components = database.health().components.into_iter();
        components.map(|component| (component.name, level(component.status))).collect()
    }));
    metrics.watch_alerts(asking(&weak, |database| {
        let alerts = database.alerts().into_iter();
        alerts.map(|alert| (alert.name, alert.state == AlertState::Firing)).collect()
    }));
    metrics.watch_pending(move || {
        let database = Database { inner: weak.upgrade()? };
        Some(database.migrations()?.pending)
    });
}

/// A closure that asks the database while there is one.
fn asking<T>(
    weak: &Weak<Inner>,
    ask: impl Fn(&Database) -> Vec<T> + Send + Sync + 'static,
) -> impl Fn() -> Vec<T> + Send + Sync + 'static {
    let weak = Weak::clone(weak);
    move || weak.upgrade().map(|inner| ask(&Database { inner })).unwrap_or_default()
}

fn pool_figures(stats: Stats) -> PoolFigures {
    let mut figures = PoolFigures::named(stats.pool);
    (figures.idle, figures.in_use, figures.waiting) = (stats.idle, stats.in_use, stats.waiting);
    (figures.max, figures.min) = (stats.max, stats.min);
    let lanes = &mut figures.lanes;
    (lanes.open, lanes.in_flight, lanes.deepest, lanes.waiting) =
        (stats.lanes.open, stats.lanes.in_flight, stats.lanes.deepest, stats.lanes.waiting);
    (lanes.operations, lanes.reruns, lanes.demotions) =
        (stats.lanes.statements, stats.lanes.reruns, stats.lanes.demotions);
    figures
}

fn level(status: Status) -> u64 {
    match status {
        Status::Healthy => 0,
        Status::Degraded => 1,
        Status::Unhealthy => 2,
    }
}

/// Begins to look at what alerts go by.
pub(crate) fn start_alerts(
    inner: &Arc<Inner>,
    config: &AlertConfig,
    service: &str,
    more: Vec<Rule>,
    sinks: Vec<Arc<dyn AlertSink>>,
) -> Alerts {
    let weak = Arc::downgrade(inner);
    let window = &inner.observed.window;
    let fullest = ask(&weak, |database| {
        let pools = database.pools();
        database.inner.busy.look(&pools, Instant::now());
        let fullest = pools.into_iter().max_by(|one, other| one.utilization.total_cmp(&other.utilization))?;
        Some(Reading::new(fullest.utilization).of(fullest.pool))
    });
    let last = ask(&weak, |database| {
        let behind =
            database.servers().into_iter().filter_map(|server| Some((server.lag?.time, server.name)));
        // Nobody lags who is not there: that is told by another rule.
        let reading = |(lag, name): (Duration, String)| Reading::new(lag.as_secs_f64()).of(name);
        Some(behind.max().map_or(Reading::new(0.0), reading))
    });
    // Who is still starting, and migrates, is not ready; that is no reason to call anybody.
    let snapshot = ask(&weak, |database| Some(database.health()).filter(Snapshot::is_started));
    let own = [
        rules::pool_utilization(fullest).threshold(config.utilization),
        rules::average_latency(window).threshold(config.latency.as_secs_f64() * 1e3),
        rules::error_rate(window).threshold(config.error_rate),
        rules::connect_failures(window),
        rules::retries(window),
        rules::replica_lag(last).threshold(inner.max_lag.as_secs_f64()),
        rules::component_unhealthy(snapshot),
    ];
    let log: Arc<dyn AlertSink> = Arc::new(LogSink);
    let sinks = std::iter::once(log).chain(sinks).collect();
    Alerts::start(service, own.into_iter().chain(more).collect(), config.interval, sinks)
}

fn ask<T>(
    weak: &Weak<Inner>,
    ask: impl Fn(&Database) -> Option<T> + Send + Sync + 'static,
) -> impl Fn() -> Option<T> + Send + Sync + 'static {
    let weak = Weak::clone(weak);
    move || ask(&Database { inner: weak.upgrade()? })
}

impl Database {
    /// The figures of the last minute: throughput, latency, errors, slow statements.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.inner.observed.window
    }

    /// All alerts and how they stand. Never waits.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        self.inner.alerts.get().map(Alerts::snapshot).unwrap_or_default()
    }

    /// The figures of every pool: that for writes first, then those for reads that are open.
    #[must_use]
    pub fn pools(&self) -> Vec<Stats> {
        let reads = self.inner.replicas.as_ref().map(crate::replicas::Replicas::read_pools);
        std::iter::once(self.stats()).chain(reads.unwrap_or_default()).collect()
    }
}
