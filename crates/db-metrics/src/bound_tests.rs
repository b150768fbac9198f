//! Series that are bound against those that are not: the same is counted, and nothing is lost where an SDK cannot bind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use db_core::{Acquired, Executed, Observer, Released};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    Histogram, HistogramBuilder, InstrumentProvider, Meter, MeterProvider, SyncInstrument,
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, InMemoryMetricExporterBuilder, Instrument, SdkMeterProvider, Stream, Temporality,
};

use crate::series::Series;
use crate::{Metrics, names};

/// A service with its SDK, which has room for `most` series of each instrument.
struct Service {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Service {
    fn new(temporality: Temporality, most: usize) -> Self {
        let exporter = InMemoryMetricExporterBuilder::new().with_temporality(temporality).build();
        let limit =
            move |_: &Instrument| Stream::builder().with_cardinality_limit(most).build().map(Some).ok()?;
        let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone());
        Self { exporter, provider: provider.with_view(limit).build() }
    }

    fn meter(&self) -> Meter {
        self.provider.meter("test")
    }

    /// What the next export says of durations: the summary of each series, with its count and sum.
    fn durations(&self) -> Vec<(String, u64, f64)> {
        self.exporter.reset();
        self.provider.force_flush().expect("collected");
        let all = self.exporter.get_finished_metrics().expect("metrics");
        let mut durations: Vec<_> = all.last().map(durations).unwrap_or_default();
        durations.sort_by(|one, other| one.0.cmp(&other.0));
        durations
    }

    /// How many series an instrument has in the next export.
    fn series(&self, name: &str) -> usize {
        self.exporter.reset();
        self.provider.force_flush().expect("collected");
        let all = self.exporter.get_finished_metrics().expect("metrics");
        let metrics = all.last().into_iter().flat_map(ResourceMetrics::scope_metrics);
        let metrics = metrics.flat_map(|scope| scope.metrics()).filter(|metric| metric.name() == name);
        let count = metrics.map(|metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(it)) => it.data_points().count(),
            AggregatedMetrics::U64(MetricData::Histogram(it)) => it.data_points().count(),
            other => panic!("not a histogram: {other:?}"),
        });
        count.sum()
    }
}

fn durations(metrics: &ResourceMetrics) -> Vec<(String, u64, f64)> {
    let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let mut durations = Vec::new();
    for metric in all.filter(|metric| metric.name() == names::OPERATION_DURATION) {
        let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
            panic!("not a histogram");
        };
        durations.extend(histogram.data_points().map(|point| {
            let summary = point.attributes().find(|it| it.key.as_str() == names::attribute::QUERY_SUMMARY);
            let name = summary.map_or("more than there is room for".into(), |it| it.value.as_str());
            (name.into_owned(), point.count(), point.sum())
        }));
    }
    durations
}

/// A statement that took half a second, which adds up without rounding.
fn run(metrics: &Metrics, sql: &str) {
    let took = Duration::from_millis(500);
    metrics.executed(&Executed::new("primary", "h:5432", sql, took, false, None, None));
}

fn counted(summary: &str, count: u32) -> (String, u64, f64) {
    (summary.to_owned(), count.into(), f64::from(count) / 2.0)
}

/// What makes metrics cheap: by the SDK, each series is bound.
#[test]
fn series_of_the_sdk_are_bound() {
    let service = Service::new(Temporality::Cumulative, 2000);
    let histogram = service.meter().f64_histogram("h").build();
    let series = Series::of(&histogram);
    series.record(1.0, &[KeyValue::new("a", "b")]);
    assert!(series.is_bound());
}

/// A14: threads that record at once, by texts with the same summary, lose nothing.
#[test]
fn all_records_count_whoever_binds() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let service = Service::new(temporality, 2000);
        let metrics = Metrics::new(&service.meter(), "shop");
        let begin = Barrier::new(4);
        thread::scope(|scope| {
            for number in 0..4 {
                let (metrics, begin) = (&metrics, &begin);
                scope.spawn(move || {
                    begin.wait();
                    for _ in 0..100 {
                        run(metrics, &format!("SELECT {number} FROM t"));
                        run(metrics, "DELETE FROM t");
                    }
                });
            }
        });
        assert_eq!(service.durations(), [counted("DELETE t", 400), counted("SELECT t", 400)]);
    }
}

/// A series that was never recorded is no series: not all statements give rows.
#[test]
fn nothing_is_exported_that_was_not_recorded() {
    let service = Service::new(Temporality::Cumulative, 2000);
    let metrics = Metrics::new(&service.meter(), "shop");
    run(&metrics, "DELETE FROM t");
    metrics.acquired(&Acquired::new("primary", Duration::ZERO, 1, 2));
    assert_eq!(service.series(names::CONNECTION_WAIT_TIME), 1);
    assert_eq!(service.series(names::CONNECTION_USE_TIME), 0);
    assert_eq!(service.series(names::RETURNED_ROWS), 0);
    metrics.released(&Released::new("primary", Duration::ZERO));
    assert_eq!(service.series(names::CONNECTION_USE_TIME), 1);
}

/// Each export of differences begins at zero, and has what happened since the last one only.
#[test]
fn differences_are_exported_once() {
    let service = Service::new(Temporality::Delta, 2000);
    let metrics = Metrics::new(&service.meter(), "shop");
    run(&metrics, "SELECT 1 FROM t");
    assert_eq!(service.durations(), [counted("SELECT t", 1)]);
    assert_eq!(service.durations(), [], "nothing happened");
    assert_eq!(service.durations(), [], "and the series is still there");
    run(&metrics, "SELECT 1 FROM t");
    run(&metrics, "SELECT 1 FROM t");
    assert_eq!(service.durations(), [counted("SELECT t", 2)]);
}

/// A series for which the SDK has no room is counted with the others of its kind, and for itself once there is room: a handle
/// would never leave the others.
#[test]
fn a_series_without_room_gets_its_own_later() {
    let service = Service::new(Temporality::Delta, 1);
    let meter = service.meter();
    let metrics = Metrics::new(&meter, "shop");
    // Somebody else's, not bound, so that it goes when nothing is recorded.
    let histogram = meter.f64_histogram(names::OPERATION_DURATION).with_unit("s");
    let histogram = histogram.with_description("Duration of operations").with_boundaries(vec![1.0]).build();
    histogram.record(0.5, &[KeyValue::new(names::attribute::QUERY_SUMMARY, "somebody else's")]);
    run(&metrics, "SELECT 1 FROM t");
    assert_eq!(
        service.durations(),
        [counted("more than there is room for", 1), counted("somebody else's", 1)]
    );
    assert_eq!(service.durations(), []);
    run(&metrics, "SELECT 1 FROM t");
    assert_eq!(service.durations(), [counted("SELECT t", 1)]);
}

/// Metrics that are gone leave no series behind that nobody records any more.
#[test]
fn series_go_with_their_metrics() {
    let service = Service::new(Temporality::Delta, 1);
    let metrics = Metrics::new(&service.meter(), "shop");
    run(&metrics, "SELECT 1 FROM t");
    assert_eq!(service.durations(), [counted("SELECT t", 1)]);
    assert_eq!(service.durations(), [], "what is bound stays while it may be recorded");
    run(&metrics, "DELETE FROM t");
    assert_eq!(service.durations(), [counted("more than there is room for", 1)]);
    drop(metrics);
    assert_eq!(service.durations(), []);
    let metrics = Metrics::new(&service.meter(), "shop");
    run(&metrics, "DELETE FROM t");
    assert_eq!(service.durations(), [counted("DELETE t", 1)]);
}

/// Two databases of one name on one server count together, as they do without handles.
#[test]
fn two_metrics_share_a_series() {
    let service = Service::new(Temporality::Cumulative, 2000);
    let [one, other] = [(); 2].map(|()| Metrics::new(&service.meter(), "shop"));
    for _ in 0..3 {
        run(&one, "SELECT 1 FROM t");
        run(&other, "SELECT 1 FROM t");
    }
    assert_eq!(service.durations(), [counted("SELECT t", 6)]);
}

/// An SDK of somebody else that knows nothing of handles: what it is given by default counts for nobody.
#[derive(Default)]
struct Plain {
    records: Arc<AtomicU64>,
}

struct PlainHistogram(Arc<AtomicU64>);

impl InstrumentProvider for Plain {
    fn f64_histogram(&self, _: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        Histogram::new(Arc::new(PlainHistogram(Arc::clone(&self.records))))
    }
}

impl SyncInstrument<f64> for PlainHistogram {
    fn measure(&self, _: f64, attributes: &[KeyValue]) {
        // Copies come and go here, which must not be taken for attributes that are kept.
        let copy = attributes.to_vec();
        self.0.fetch_add(u64::from(!copy.is_empty()), Ordering::Relaxed);
    }
}

/// Nothing is lost where the SDK cannot bind.
#[test]
fn an_sdk_that_cannot_bind_counts_as_well() {
    let plain = Plain::default();
    let records = Arc::clone(&plain.records);
    let metrics = Metrics::new(&Meter::new(Arc::new(plain)), "shop");
    for _ in 0..3 {
        metrics.acquired(&Acquired::new("primary", Duration::ZERO, 1, 2));
        run(&metrics, "SELECT 1 FROM t");
        metrics.released(&Released::new("primary", Duration::ZERO));
    }
    assert_eq!(records.load(Ordering::Relaxed), 9);
}
