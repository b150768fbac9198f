//! Metrics as a collector gets them by OTLP. Which there are besides, and those of the conventions, is tested in `db-metrics` and
//! in `deploy`.

use std::collections::BTreeSet;

use db_core::{Executor, Query};
use nix::sys::signal::Signal;

use super::collector::Metric;
use super::{Collector, Scene, sent};
use crate::local::program::Place;
use crate::support::{database, eventually};

/// The attributes of an operation, and what one that failed has beside them.
const OPERATION: [&str; 5] =
    ["db.namespace", "db.query.summary", "db.system.name", "server.address", "server.port"];
const FAILED: [&str; 2] = ["db.response.status_code", "error.type"];

const POOL: &str = "db.client.connection.pool.name";

/// All points of a metric have one of these sets of attributes, and each set is there.
fn check(metrics: &[Metric], name: &str, unit: &str, kind: &str, expect: &[&[&str]]) {
    let found: Vec<_> = metrics.iter().filter(|metric| metric.name == name).collect();
    assert!(!found.is_empty(), "no {name}");
    for metric in &found {
        assert_eq!((&*metric.unit, metric.kind), (unit, kind), "{name}");
        assert_eq!((&*metric.service, &*metric.scope), ("shop", "db"), "{name}");
    }
    let points = found.iter().flat_map(|metric| &metric.points);
    let seen: BTreeSet<BTreeSet<&str>> =
        points.map(|point| point.keys().map(String::as_str).collect()).collect();
    assert_eq!(seen, expect.iter().map(|names| names.iter().copied().collect()).collect(), "{name}");
}

/// D8, E7: what happens is counted under the names, units and attributes of the conventions, and sent at the end at the latest.
#[test]
fn what_happens_arrives_under_the_names_of_the_conventions() {
    let collector = sent(&[("DB_SLOW_QUERY_MS", "20")], async |Scene { db, .. }| {
        db.execute("INSERT INTO orders VALUES (1)", &[]).await.expect("a row");
        db.one::<i32>("SELECT n FROM orders", &[]).await.expect("the row");
        db.batch_execute("SELECT pg_sleep(0.03)").await.expect("slow");
        db.execute("SELECT 1 / 0", &[]).await.expect_err("a fault of the statement");
    });
    let metrics = collector.metrics();
    let failed = [&OPERATION[..], &FAILED].concat();
    check(&metrics, "db.client.operation.duration", "s", "histogram", &[&OPERATION, &failed]);
    check(&metrics, "db.client.response.returned_rows", "{row}", "histogram", &[&OPERATION]);
    check(&metrics, "db.client.operation.slow", "{operation}", "counter", &[&[POOL]]);
    for name in ["create_time", "wait_time", "use_time"] {
        check(&metrics, &format!("db.client.connection.{name}"), "s", "histogram", &[&[POOL]]);
    }

    let durations = metrics.iter().filter(|metric| metric.name == "db.client.operation.duration");
    let points: Vec<_> = durations.flat_map(|metric| &metric.points).collect();
    let summaries: BTreeSet<_> = points.iter().map(|point| &*point["db.query.summary"]).collect();
    assert_eq!(summaries, BTreeSet::from(["INSERT orders", "SELECT", "SELECT orders"]));
    let failure = points.iter().find(|point| point.contains_key("error.type")).expect("the failure");
    assert_eq!((&*failure["error.type"], &*failure["db.response.status_code"]), ("22012", "22012"));
    assert_eq!(failure["db.system.name"], "postgresql");
}

/// D8, E7: what is looked at when metrics are collected, from a service that runs.
#[tokio::test]
async fn what_is_arrives_from_a_service() {
    let (database, collector) = (database().await, Collector::start().await);
    let endpoint = format!("{}/", collector.url());
    let environment = [
        ("DATABASE_URL", database.url()),
        ("DB_APPLICATION_NAME", "shop"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ];
    let serving = Place::new().serve(&environment).await;
    eventually("metrics arrive", async || {
        collector.metrics().iter().any(|metric| metric.name == "db.client.alert.firing")
    })
    .await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    let metrics = collector.metrics();
    let check = |name: &str, unit: &str, kind: &str, expect: &[&str]| {
        check(&metrics, &format!("db.client.{name}"), unit, kind, &[expect]);
    };
    check("connection.count", "{connection}", "up-down counter", &[POOL, "db.client.connection.state"]);
    for name in ["connection.max", "connection.idle.max", "connection.idle.min"] {
        check(name, "{connection}", "up-down counter", &[POOL]);
    }
    check("connection.pending_requests", "{request}", "up-down counter", &[POOL]);
    check("health.status", "{status}", "gauge", &["db.client.health.component"]);
    check("alert.firing", "{alert}", "gauge", &["db.client.alert.name"]);
    check("migration.pending", "{migration}", "gauge", &[]);
}
