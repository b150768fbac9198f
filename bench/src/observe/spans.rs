//! Who collects spans: the layer of OpenTelemetry as db-app makes it, which sends to nowhere, and can be turned off so that
//! `tracing` knows that nobody collects any. Spans are built, sampled, batched and dropped; nothing is encoded or sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use opentelemetry::trace::{Link, SpanKind, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingResult, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{self, Filter, Layer, SubscriberExt};

/// No collector.
const OFF: usize = usize::MAX;

/// The collector of this process.
#[derive(Debug)]
pub(super) struct Spans {
    switch: Switch,
    arrived: Arc<AtomicU64>,
    tracers: SdkTracerProvider,
}

/// What is collected at the moment: an index of the samplers, or [`OFF`].
#[derive(Clone, Debug)]
struct Switch {
    now: Arc<AtomicUsize>,
    samplers: Arc<[(f64, Sampler)]>,
    targets: Targets,
}

impl Spans {
    /// Makes the collector that of the whole process, turned off.
    pub(super) fn install() -> Result<Self> {
        let sampler = |ratio| (ratio, Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))));
        let switch = Switch {
            now: Arc::new(AtomicUsize::new(OFF)),
            samplers: [1.0, 0.1].map(sampler).into(),
            targets: Targets::new().with_default(Level::INFO).with_target("db::span", Level::DEBUG),
        };
        let arrived = Arc::new(AtomicU64::new(0));
        let tracers = SdkTracerProvider::builder()
            .with_sampler(switch.clone())
            .with_batch_exporter(Nowhere(Arc::clone(&arrived)))
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer("db"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(switch.clone());
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        Ok(Self { switch, arrived, tracers })
    }

    /// Collects, and keeps this ratio of the spans; or does not.
    pub(super) fn collect(&self, ratio: Option<f64>) {
        let is_it = |(of, _): &(f64, Sampler)| Some(*of) == ratio;
        let now = self.switch.samplers.iter().position(is_it).unwrap_or(OFF);
        self.switch.now.store(now, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// That spans have arrived.
    pub(super) fn prove(&self) -> Result<()> {
        self.tracers.force_flush()?;
        ensure!(self.arrived.load(Ordering::Relaxed) > 0, "no span has arrived");
        Ok(())
    }
}

impl Switch {
    fn is_on(&self) -> bool {
        self.now.load(Ordering::Relaxed) != OFF
    }
}

impl<S> Filter<S> for Switch {
    fn enabled(&self, metadata: &Metadata<'_>, context: &layer::Context<'_, S>) -> bool {
        self.is_on() && Filter::enabled(&self.targets, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_on() { Filter::<S>::callsite_enabled(&self.targets, metadata) } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.is_on() { Filter::<S>::max_level_hint(&self.targets) } else { Some(LevelFilter::OFF) }
    }
}

impl ShouldSample for Switch {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let now = self.samplers.get(self.now.load(Ordering::Relaxed));
        let sampler = now.map_or(&Sampler::AlwaysOff, |(_, sampler)| sampler);
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// Counts what arrives and drops it.
#[derive(Debug)]
struct Nowhere(Arc<AtomicU64>);

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
