//! All metrics as an exporter gets them, against a table of the conventions and of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use db_core::*;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_semantic_conventions::{attribute as conventional, metric as convention};

use crate::{Metrics, PoolFigures, ServerFigures};

#[path = "everything.rs"]
mod everything;
use everything::{tell_all, watch_all};

/// What a metric is called, how it is measured and in which unit, with the attributes of all its points.
type Shape = (String, &'static str, String, Vec<String>);

fn collect(provider: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> Vec<Shape> {
    provider.force_flush().expect("collected");
    let all = exporter.get_finished_metrics().expect("metrics");
    let mut shapes: Vec<_> = all.last().map(shapes).unwrap_or_default();
    shapes.sort();
    shapes
}

fn shapes(metrics: &ResourceMetrics) -> Vec<Shape> {
    let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    all.map(|metric| {
        let (kind, attributes) = match metric.data() {
            AggregatedMetrics::F64(data) => points(data),
            AggregatedMetrics::U64(data) => points(data),
            AggregatedMetrics::I64(data) => points(data),
        };
        (metric.name().to_owned(), kind, metric.unit().to_owned(), attributes)
    })
    .collect()
}

fn points<T>(data: &MetricData<T>) -> (&'static str, Vec<String>) {
    let mut keys = BTreeSet::new();
    let kind = match data {
        MetricData::Gauge(gauge) => {
            gauge
                .data_points()
                .for_each(|point| keys.extend(point.attributes().map(|it| it.key.to_string())));
            "gauge"
        }
        MetricData::Sum(sum) => {
            sum.data_points().for_each(|point| keys.extend(point.attributes().map(|it| it.key.to_string())));
            if sum.is_monotonic() { "counter" } else { "updowncounter" }
        }
        MetricData::Histogram(histogram) => {
            histogram
                .data_points()
                .for_each(|point| keys.extend(point.attributes().map(|it| it.key.to_string())));
            "histogram"
        }
        MetricData::ExponentialHistogram(_) => "exponential histogram",
    };
    (kind, keys.into_iter().collect())
}

/// A14, E10: names, instruments, units and attributes are those of the conventions, and ours beside them.
#[test]
fn metrics_have_the_names_of_the_conventions() {
    use convention::*;
    use conventional::*;

    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let metrics = Metrics::new(&provider.meter("test"), "shop");
    tell_all(&metrics);
    watch_all(&metrics);

    let pool: &[&str] = &[DB_CLIENT_CONNECTION_POOL_NAME];
    let operation: &[&str] = &[DB_NAMESPACE, DB_QUERY_SUMMARY, DB_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT];
    let failed: &[&str] = &[DB_RESPONSE_STATUS_CODE, ERROR_TYPE];
    let expect: &[(&str, &str, &str, &[&[&str]])] = &[
        (DB_CLIENT_OPERATION_DURATION, "histogram", "s", &[operation, failed]),
        (DB_CLIENT_RESPONSE_RETURNED_ROWS, "histogram", "{row}", &[operation]),
        (DB_CLIENT_CONNECTION_COUNT, "updowncounter", "{connection}", &[pool, &[DB_CLIENT_CONNECTION_STATE]]),
        (DB_CLIENT_CONNECTION_IDLE_MAX, "updowncounter", "{connection}", &[pool]),
        (DB_CLIENT_CONNECTION_IDLE_MIN, "updowncounter", "{connection}", &[pool]),
        (DB_CLIENT_CONNECTION_MAX, "updowncounter", "{connection}", &[pool]),
        (DB_CLIENT_CONNECTION_PENDING_REQUESTS, "updowncounter", "{request}", &[pool]),
        ("db.client.lane.open", "updowncounter", "{connection}", &[pool]),
        ("db.client.lane.in_flight", "updowncounter", "{operation}", &[pool]),
        ("db.client.lane.depth", "updowncounter", "{operation}", &[pool]),
        ("db.client.lane.pending_requests", "updowncounter", "{request}", &[pool]),
        ("db.client.lane.operations", "counter", "{operation}", &[pool]),
        ("db.client.lane.reruns", "counter", "{operation}", &[pool]),
        ("db.client.lane.demotions", "counter", "{demotion}", &[pool]),
        (DB_CLIENT_CONNECTION_TIMEOUTS, "counter", "{timeout}", &[pool]),
        (DB_CLIENT_CONNECTION_CREATE_TIME, "histogram", "s", &[pool]),
        (DB_CLIENT_CONNECTION_WAIT_TIME, "histogram", "s", &[pool]),
        (DB_CLIENT_CONNECTION_USE_TIME, "histogram", "s", &[pool]),
        (
            "db.client.connection.closed",
            "counter",
            "{connection}",
            &[pool, &[DB_CLIENT_CONNECTION_STATE, "db.client.connection.close_reason"]],
        ),
        (
            "db.client.connection.failures",
            "counter",
            "{failure}",
            &[pool, &[SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE]],
        ),
        ("db.client.connection.leaks", "counter", "{connection}", &[pool]),
        ("db.client.operation.slow", "counter", "{operation}", &[pool]),
        ("db.client.retry.retries", "counter", "{retry}", &[&["db.client.retry.endpoint"]]),
        (
            "db.client.retry.given_up",
            "counter",
            "{call}",
            &[&["db.client.retry.endpoint", "db.client.retry.reason"]],
        ),
        ("db.client.retry.breaker", "gauge", "{breaker}", &[&["db.client.retry.endpoint"]]),
        (
            "db.client.retry.commits_resolved",
            "counter",
            "{commit}",
            &[&["db.client.retry.resolved_by", "db.client.retry.outcome"]],
        ),
        ("db.client.cluster.lag.time", "gauge", "s", &[&["db.client.cluster.server"]]),
        ("db.client.cluster.lag.size", "gauge", "By", &[&["db.client.cluster.server"]]),
        (
            "db.client.cluster.servers",
            "gauge",
            "{server}",
            &[&["db.client.cluster.server", "db.client.cluster.state"]],
        ),
        (
            "db.client.cluster.changes",
            "counter",
            "{change}",
            &[&["db.client.cluster.server", "db.client.cluster.state"]],
        ),
        ("db.client.cluster.reads_moved", "counter", "{read}", &[&["db.client.cluster.server"]]),
        ("db.client.migration.duration", "histogram", "s", &[]),
        ("db.client.migration.pending", "gauge", "{migration}", &[]),
        ("db.client.health.status", "gauge", "{status}", &[&["db.client.health.component"]]),
        ("db.client.alert.firing", "gauge", "{alert}", &[&["db.client.alert.name"]]),
    ];
    let mut expect: Vec<Shape> = expect
        .iter()
        .map(|(name, kind, unit, attributes)| {
            let keys: BTreeSet<_> =
                attributes.iter().copied().flatten().map(|key| (*key).to_owned()).collect();
            ((*name).to_owned(), *kind, (*unit).to_owned(), keys.into_iter().collect())
        })
        .collect();
    expect.sort();
    assert_eq!(collect(&provider, &exporter), expect);
}

/// A14: whatever statements are run, there are no more than so many time series.
#[test]
fn cardinality_is_bounded() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let metrics = Metrics::new(&provider.meter("test"), "shop");
    for number in 0..10_000 {
        let sql = format!("SELECT {number} FROM table_{number}");
        let took = Duration::from_millis(1);
        metrics.executed(&Executed::new("primary", "h:5432", &sql, took, false, Some(1), None));
    }
    provider.force_flush().expect("collected");
    let all = exporter.get_finished_metrics().expect("metrics");
    let metrics = all.last().expect("metrics").scope_metrics().flat_map(|scope| scope.metrics());
    for metric in metrics {
        let series = match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(it)) => it.data_points().count(),
            AggregatedMetrics::U64(MetricData::Histogram(it)) => it.data_points().count(),
            _ => continue,
        };
        assert_eq!(series, 201, "{}: 200 summaries and the others", metric.name());
    }
}

/// D8: whatever codes a server raises, 64 of them are told apart; the others are counted together, and none is lost.
#[test]
fn codes_of_errors_are_bounded() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let metrics = Metrics::new(&provider.meter("test"), "shop");
    let took = Duration::from_millis(1);
    for number in 0..500 {
        let code = SqlState::new(&format!("P{number:04}")).expect("a code");
        let error = Error::server_error(ServerError::new(code, Severity::Error, "raised"), Phase::Execute);
        metrics.executed(&Executed::new("primary", "h:5432", "SELECT f()", took, false, None, Some(&error)));
    }
    provider.force_flush().expect("collected");
    let all = exporter.get_finished_metrics().expect("metrics");
    let mut durations = all.last().expect("metrics").scope_metrics().flat_map(|scope| scope.metrics());
    let durations = durations.find(|metric| metric.name() == convention::DB_CLIENT_OPERATION_DURATION);
    let Some(AggregatedMetrics::F64(MetricData::Histogram(durations))) = durations.map(|it| it.data()) else {
        panic!("no durations");
    };
    let of = |key: &str| {
        let mut counts = BTreeMap::new();
        for point in durations.data_points() {
            let value = point.attributes().find(|it| it.key.as_str() == key).expect("a value");
            *counts.entry(value.value.as_str().into_owned()).or_insert(0) += point.count();
        }
        counts
    };
    for key in [conventional::ERROR_TYPE, conventional::DB_RESPONSE_STATUS_CODE] {
        let counts = of(key);
        assert_eq!((counts.len(), counts["other"], counts["P0063"]), (65, 500 - 64, 1), "{key}: {counts:?}");
    }
}

/// What was watched is not kept by the meter.
#[test]
fn nothing_is_asked_for_once_the_metrics_are_gone() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let metrics = Metrics::new(&provider.meter("test"), "shop");
    let witness = Arc::new(());
    let held = Arc::clone(&witness);
    metrics.watch_pools(move || {
        let _held = &held;
        vec![PoolFigures::named("primary")]
    });
    assert!(!collect(&provider, &exporter).is_empty());
    drop(metrics);
    assert_eq!(Arc::strong_count(&witness), 1);
    exporter.reset();
    assert_eq!(collect(&provider, &exporter), []);
}
