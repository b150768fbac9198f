//! Who listens to the pool: one observer that passes on to whoever has the turn. Choosing is a look at an atomic, which all
//! pay.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use db_core::{Acquired, Closed, Connected, Executed, Log, Observer, Observers, Released};
use db_health::Window;
use db_metrics::Metrics;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;

/// One that does nothing.
pub(super) struct Nobody;

impl Observer for Nobody {}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ear {
    Nobody,
    Log,
    Composed,
}

/// What db-app puts together.
pub(super) struct Composed {
    pub(super) metrics: Metrics,
    pub(super) window: Arc<Window>,
    pub(super) all: Arc<dyn Observer>,
    registry: Registry,
    // Instruments of a provider that is gone count for nobody.
    _meters: SdkMeterProvider,
}

impl Composed {
    /// As `Telemetry::start` and `Observed::new` of db-app do it.
    pub(super) fn new() -> Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let meters =
            SdkMeterProvider::builder().with_reader(exporter.scope_info_enabled(false).build()?).build();
        let metrics = Metrics::new(&meters.meter("db"), "bench");
        let window = Arc::new(Window::default());
        let own: [Arc<dyn Observer>; 3] =
            [Arc::new(Log), Arc::new(metrics.clone()), Arc::clone(&window) as Arc<dyn Observer>];
        Ok(Self { metrics, window, all: Arc::new(Observers::new(own)), registry, _meters: meters })
    }

    /// That each of them has heard of statements.
    pub(super) fn prove(&self) -> Result<()> {
        let families = self.registry.gather();
        let mut families = families.iter().filter(|it| it.name().starts_with("db_client_operation_duration"));
        let counted = families.next().map_or(0, |it| {
            it.get_metric().iter().map(|metric| metric.get_histogram().get_sample_count()).sum()
        });
        ensure!(counted > 0, "the metrics have heard of no statement");
        ensure!(self.window.figures().operations > 0, "the window has heard of no statement");
        Ok(())
    }
}

/// All that may listen.
pub(super) struct Ears {
    open: AtomicUsize,
    /// In the order of [`Ear`].
    all: [Arc<dyn Observer>; 3],
    composed: Composed,
}

impl Ears {
    pub(super) fn new() -> Result<Self> {
        let composed = Composed::new()?;
        let all: [Arc<dyn Observer>; 3] = [Arc::new(Nobody), Arc::new(Log), Arc::clone(&composed.all)];
        Ok(Self { open: AtomicUsize::new(0), all, composed })
    }

    pub(super) fn open(&self, ear: Ear) {
        self.open.store(ear as usize, Ordering::Relaxed);
    }

    pub(super) fn prove(&self) -> Result<()> {
        self.composed.prove()
    }

    fn now(&self) -> &dyn Observer {
        &*self.all[self.open.load(Ordering::Relaxed)]
    }
}

/// What happens while nothing fails; a failure ends the run.
impl Observer for Ears {
    fn connected(&self, event: &Connected<'_>) {
        self.now().connected(event);
    }

    fn acquired(&self, event: &Acquired<'_>) {
        self.now().acquired(event);
    }

    fn released(&self, event: &Released<'_>) {
        self.now().released(event);
    }

    fn closed(&self, event: &Closed<'_>) {
        self.now().closed(event);
    }

    fn executed(&self, event: &Executed<'_>) {
        self.now().executed(event);
    }
}
