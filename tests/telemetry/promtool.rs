//! `/metrics` of `db serve` as Prometheus reads it. Needs `promtool`, which comes with Debian's package `prometheus`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use prometheus::TextEncoder;

use super::fetch;
use crate::deploy::exported::families;
use crate::local::program::Place;
use crate::support::{database, eventually};

/// What its linter says and is let say: the name is that of the conventions.
const KNOWN: &str =
    "db_client_connection_count non-histogram and non-summary metrics should not have \"_count\" suffix";

fn check(metrics: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool");
    promtool.stdin.take().expect("its input").write_all(metrics.as_bytes()).expect("written");
    promtool.wait_with_output().expect("its end")
}

/// A14: every metric that there is, those of statements among them, which a service that serves its health alone does not have.
#[test]
fn all_that_is_exported_passes_but_for_the_one_known_note() {
    let metrics = TextEncoder::new().encode_to_string(&families()).expect("text");
    for name in ["operation_duration_seconds_count", "response_returned_rows_count", "retry_retries_total"] {
        assert!(metrics.contains(&format!("\ndb_client_{name}{{")), "{name}: {metrics}");
    }
    let output = check(&metrics);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim().lines().collect::<Vec<_>>(), [KNOWN], "{metrics}");
    assert!(metrics.lines().filter(|line| !line.starts_with('#')).count() > 50, "{metrics}");
}

/// D8: the format, the linter with the one note that is known, and no series twice.
#[tokio::test]
async fn metrics_pass_but_for_the_one_known_note() {
    let database = database().await;
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url()), ("DB_HTTP_TOKEN", "0123456789abcdef")];
    let serving = place.serve(&environment).await;
    let mut metrics = String::new();
    eventually("connections are counted", async || {
        let answer = fetch(serving.address, "GET /metrics", "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{}", answer.head);
        assert!(!answer.head.contains("transfer-encoding"), "{}", answer.head);
        metrics = answer.body;
        metrics.contains("\ndb_client_connection_create_time_seconds_count{")
    })
    .await;

    let output = check(&metrics);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim().lines().collect::<Vec<_>>(), [KNOWN], "{metrics}");

    let series: Vec<_> = metrics.lines().filter(|line| !line.starts_with('#')).map(series).collect();
    let distinct: BTreeSet<_> = series.iter().collect();
    assert_eq!(series.len(), distinct.len(), "a series is there twice: {metrics}");
    assert!(series.len() > 40, "{metrics}");
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}

/// A line's name with its labels in an order of their own.
fn series(line: &str) -> (String, BTreeSet<String>) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("labels");
    // No value of this test has a comma in it.
    (name.to_owned(), labels.split(',').map(str::to_owned).collect())
}
