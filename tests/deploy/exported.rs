//! Which metrics the layer exports and with which labels, as Prometheus sees them: each event is told once, each figure watched, and
//! the exporter is asked. The one place that says so for the tests of `deploy/`.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::time::Duration;

use db_core::{
    Abandoned, AcquireFailed, Acquired, BreakerChanged, BreakerState, Cause, CloseReason, Closed,
    CommitResolved, ConnectFailed, Connected, ConnectionState, EndpointChanged, Error, Executed, GaveUp,
    GaveUpReason, Leaked, Observer, Outcome, Phase, ReadMoved, Released, ResolvedBy, Retried, ServerError,
    Severity, Signal, SqlState, Wait,
};
use db_metrics::{Metrics, PoolFigures, ServerFigures};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;
use prometheus::proto::{MetricFamily, MetricType};

/// Names of metrics with their labels, those of a histogram's three series included.
pub(super) type Series = BTreeMap<String, BTreeSet<String>>;

/// All metrics that a service may export.
pub(super) fn exported() -> Series {
    families().iter().flat_map(series).collect()
}

/// Everything that the exporter gives, once all has happened that may.
pub(crate) fn families() -> Vec<MetricFamily> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    let exporter = exporter.scope_info_enabled(false).without_target_info().build().expect("an exporter");
    let provider = SdkMeterProvider::builder().with_reader(exporter).build();
    let metrics = Metrics::new(&provider.meter("db"), "shop");
    tell_all(&metrics);
    watch_all(&metrics);
    registry.gather()
}

fn series(family: &MetricFamily) -> Vec<(String, BTreeSet<String>)> {
    let labels = family.get_metric().iter().flat_map(|metric| metric.get_label());
    let labels: BTreeSet<_> = labels.map(|label| label.name().to_owned()).collect();
    let name = family.name();
    if family.get_field_type() != MetricType::HISTOGRAM {
        return vec![(name.to_owned(), labels)];
    }
    let with_bound = labels.iter().cloned().chain(["le".to_owned()]).collect();
    let plain = ["sum", "count"].map(|end| (format!("{name}_{end}"), labels.clone()));
    plain.into_iter().chain([(format!("{name}_bucket"), with_bound)]).collect()
}

/// Every event, so that each counter is born with all of its labels.
fn tell_all(metrics: &Metrics) {
    let (pool, endpoint, took) = ("primary", "db.example:5432", Duration::from_millis(2));
    let refused = ServerError::new(SqlState::SERIALIZATION_FAILURE, Severity::Error, "could not serialize");
    let failure = Error::server_error(refused, Phase::Execute);
    let busy = Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), "busy");
    let busy = busy.with_wait(Wait { waited: took, in_use: 2, max: 2, waiting: 1 });
    metrics.connected(&Connected::new(pool, endpoint, took));
    metrics.connect_failed(&ConnectFailed::new(pool, endpoint, &failure));
    metrics.acquired(&Acquired::new(pool, took, 1, 2));
    metrics.acquire_failed(&AcquireFailed::new(pool, &busy));
    metrics.released(&Released::new(pool, took));
    metrics.closed(&Closed::new(pool, endpoint, CloseReason::Idle, ConnectionState::Idle, took));
    metrics.leaked(&Leaked::new(pool, Location::caller(), took));
    metrics.executed(&Executed::new(pool, endpoint, "SELECT 1 FROM t", took, true, Some(3), None));
    metrics.executed(&Executed::new(pool, endpoint, "SELECT 1 FROM t", took, false, None, Some(&failure)));
    metrics.abandoned(&Abandoned::new(pool, endpoint, "SELECT 1 FROM t", took, false));
    metrics.retried(&Retried::new(endpoint, "fetch", 1, took, format_args!("lost")));
    metrics.gave_up(&GaveUp::new(endpoint, "fetch", 3, GaveUpReason::Exhausted, format_args!("lost")));
    metrics.breaker_changed(&BreakerChanged::new(endpoint, BreakerState::Open, None));
    metrics.commit_resolved(&CommitResolved::new(endpoint, ResolvedBy::Marker, Outcome::Executed));
    metrics.endpoint_changed(&EndpointChanged::new(endpoint, "replica", "primary", None));
    metrics.read_moved(&ReadMoved::new(endpoint, None));
    metrics.migrated(took);
}

fn watch_all(metrics: &Metrics) {
    metrics.watch_pools(|| vec![PoolFigures::named("primary")]);
    metrics.watch_servers(|| {
        let mut server = ServerFigures::named("db.example:5432", "replica");
        (server.lag, server.lag_bytes) = (Some(Duration::from_secs(1)), Some(16));
        vec![server]
    });
    metrics.watch_components(|| vec![("postgres".to_owned(), 0)]);
    metrics.watch_alerts(|| vec![("utilization".to_owned(), false)]);
    metrics.watch_pending(|| Some(0));
}

/// Values that alerts ask for, as the layer spells them.
#[test]
fn values_that_rules_go_by_are_those_of_the_layer() {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    let provider = SdkMeterProvider::builder().with_reader(exporter.build().expect("an exporter")).build();
    let metrics = Metrics::new(&provider.meter("db"), "shop");
    metrics.commit_resolved(&CommitResolved::new("a", ResolvedBy::Xid, Outcome::Unknown));
    metrics.gave_up(&GaveUp::new("a", "b", 1, GaveUpReason::OutcomeUnknown, format_args!("lost")));
    metrics.watch_pools(|| vec![PoolFigures::named("primary")]);
    metrics.watch_servers(|| vec![ServerFigures::named("a", "primary")]);
    let families = registry.gather();
    let has = |label: &str, value: &str| {
        let mut labels = families.iter().flat_map(MetricFamily::get_metric).flat_map(|it| it.get_label());
        labels.any(|it| it.name() == label && it.value() == value)
    };
    let rules = super::text("deploy/prometheus/rules.yml");
    for (label, value) in [
        ("db_client_retry_outcome", "unknown"),
        ("db_client_retry_reason", "outcome_unknown"),
        ("db_client_connection_state", "used"),
        ("db_client_cluster_state", "primary"),
        ("db_client_cluster_state", "out"),
    ] {
        assert!(rules.contains(&format!("{label}=\"{value}\"")), "no rule goes by {label}={value}");
        assert!(has(label, value), "{label} is never {value}");
    }
}
