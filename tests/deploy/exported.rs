//! Which metrics the layer exports and with which labels, as Prometheus sees them. The one place that says so for the tests of
//! `deploy/`.

use std::collections::{BTreeMap, BTreeSet};

/// Names of metrics with their labels, those of a histogram's three series included.
pub(super) type Metrics = BTreeMap<String, BTreeSet<String>>;

/// All metrics that a service may export.
pub(super) fn exported() -> Metrics {
    let mut metrics = Metrics::new();
    for (name, labels) in PLAIN {
        metrics.insert((*name).to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
    }
    for (name, labels) in HISTOGRAMS {
        let labels: BTreeSet<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        metrics.insert(format!("{name}_sum"), labels.clone());
        metrics.insert(format!("{name}_count"), labels.clone());
        let with_bound = labels.into_iter().chain(["le".to_owned()]).collect();
        metrics.insert(format!("{name}_bucket"), with_bound);
    }
    metrics
}

const POOL: &str = "db_client_connection_pool_name";
const ENDPOINT: &str = "db_client_retry_endpoint";
const SERVER: &str = "db_client_cluster_server";

/// Counters and gauges.
const PLAIN: &[(&str, &[&str])] = &[
    ("db_client_connection_count", &[POOL, "db_client_connection_state"]),
    ("db_client_connection_idle_max", &[POOL]),
    ("db_client_connection_idle_min", &[POOL]),
    ("db_client_connection_max", &[POOL]),
    ("db_client_connection_pending_requests", &[POOL]),
    ("db_client_connection_timeouts_total", &[POOL]),
    (
        "db_client_connection_closed_total",
        &[POOL, "db_client_connection_close_reason", "db_client_connection_state"],
    ),
    ("db_client_connection_failures_total", &[POOL, "server_address", "server_port", "error_type"]),
    ("db_client_connection_leaks_total", &[POOL]),
    ("db_client_operation_slow_total", &[POOL]),
    ("db_client_retry_retries_total", &[ENDPOINT]),
    ("db_client_retry_given_up_total", &[ENDPOINT, "db_client_retry_reason"]),
    ("db_client_retry_breaker", &[ENDPOINT]),
    ("db_client_retry_commits_resolved_total", &["db_client_retry_resolved_by", "db_client_retry_outcome"]),
    ("db_client_cluster_lag_time_seconds", &[SERVER]),
    ("db_client_cluster_lag_size_bytes", &[SERVER]),
    ("db_client_cluster_servers", &[SERVER, "db_client_cluster_state"]),
    ("db_client_cluster_changes_total", &[SERVER, "db_client_cluster_state"]),
    ("db_client_cluster_reads_moved_total", &[SERVER]),
    ("db_client_migration_pending", &[]),
    ("db_client_health_status", &["db_client_health_component"]),
    ("db_client_alert_firing", &["db_client_alert_name"]),
];

const HISTOGRAMS: &[(&str, &[&str])] = &[
    (
        "db_client_operation_duration_seconds",
        &[
            "db_system_name",
            "db_namespace",
            "server_address",
            "server_port",
            "db_query_summary",
            "db_response_status_code",
            "error_type",
        ],
    ),
    (
        "db_client_response_returned_rows",
        &["db_system_name", "db_namespace", "server_address", "server_port", "db_query_summary"],
    ),
    ("db_client_connection_create_time_seconds", &[POOL]),
    ("db_client_connection_wait_time_seconds", &[POOL]),
    ("db_client_connection_use_time_seconds", &[POOL]),
    ("db_client_migration_duration_seconds", &[]),
];
