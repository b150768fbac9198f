//! Which metrics the layer exports and with which labels, as Prometheus sees them: each event is told once, each figure watched, and
//! the exporter is asked. The one place that says so for the tests of `deploy/`; the list of events is that of the tests of `db-metrics`.

use std::collections::{BTreeMap, BTreeSet};

use db_core::{CommitResolved, GaveUp, GaveUpReason, Observer, Outcome, ResolvedBy};
use db_metrics::{Metrics, PoolFigures, ServerFigures};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;
use prometheus::proto::{MetricFamily, MetricType};

#[path = "../../crates/db-metrics/src/everything.rs"]
mod everything;
use everything::{tell_all, watch_all};

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
