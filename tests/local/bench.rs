//! `db bench`: what it measures, what it leaves behind, and when it refuses. Never whether this machine is fast: times are not
//! asserted, and an exit code of 1 may be theirs.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::{Place, processes_in, text};
use crate::support::{client, database, eventually};

/// Whether the bench's schema is in the database.
async fn has_schema(client: &tokio_postgres::Client) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'db_bench')";
    client.query_one(sql, &[]).await.expect("the schema").get(0)
}

/// The judgements on this figure, each as whether it passed.
fn judged(report: &Value, stage: &str, what: &str) -> bool {
    let verdict = report["verdict"].as_array().expect("a verdict");
    let found = verdict.iter().find(|it| it["stage"] == stage && it["what"] == what);
    found.unwrap_or_else(|| panic!("{stage}: {what} in {report:#}"))["passed"].as_bool().expect("a bool")
}

/// E9: every figure of the row is there with its limit; nothing fails, nothing is lost, nothing is left behind.
#[tokio::test]
async fn bench_holds_its_figures_against_the_limits() {
    let database = database().await;
    let place = Place::new();
    let arguments = ["bench", "--json", "--workers", "10", "--queries", "20", "--think-ms", "5"];
    let output = place.run(&arguments, &[("DATABASE_URL", database.url())]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output));
    let [full, normal] = &**report["stages"].as_array().expect("stages") else { panic!("{report:#}") };
    for (stage, name) in [(full, "full load"), (normal, "normal load")] {
        assert_eq!((&stage["name"], &stage["operations"]), (&name.into(), &200.into()), "{stage:#}");
        assert_eq!((&stage["errors"], &stage["errors_by_code"]), (&0.into(), &serde_json::json!({})));
        for figure in ["average_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"] {
            assert!(stage["latency"][figure].as_f64() > Some(0.0), "{figure} in {stage:#}");
        }
        assert!(stage["throughput_per_s"].as_f64() > Some(0.0), "{stage:#}");
        assert!(stage["utilization"]["average"].is_f64(), "{stage:#}");
        assert_eq!(stage["lanes"]["max"], 4, "{stage:#}");
        // Each statement waited for a connection of its own, or was on a lane.
        let count = |of: &str, what: &str| stage[of][what].as_u64().expect("a count");
        let on_lanes = count("lanes", "statements");
        assert!(on_lanes > 0 && count("acquire_wait", "count") + on_lanes >= 200, "{stage:#}");
        assert!(judged(&report, name, "errors"), "{report:#}");
        judged(&report, name, "average");
    }
    judged(&report, "normal load", "pool utilization, average");
    let recovery = &report["recovery"];
    assert_eq!(recovery["recovered"], true, "{recovery:#}");
    assert_eq!((&recovery["lost"], &recovery["doubled"]), (&0.into(), &0.into()), "{recovery:#}");
    assert!(recovery["acknowledged"].as_u64() >= Some(10), "{recovery:#}");
    assert!(recovery["fault"].as_str().is_some_and(|it| !it.contains(" 0 sessions")), "{recovery:#}");
    assert_eq!((&report["preset"], &report["pool_max"]), (&"standard".into(), &20.into()));
    let client = client(database.url()).await;
    assert!(!has_schema(&client).await);
}

/// The text has a line for each figure, and the exit code is theirs.
#[tokio::test]
async fn bench_tells_people_its_verdict() {
    let database = database().await;
    let place = Place::new();
    let arguments = ["bench", "--workers", "4", "--queries", "10", "--think-ms", "5"];
    let output = place.run(&arguments, &[("DATABASE_URL", database.url()), ("DB_PRESET", "patient")]);
    let shown = String::from_utf8(output.stdout.clone()).expect("text");
    let lines = |word: &str| shown.lines().filter(|line| line.starts_with(word)).count();
    let (passed, failed) = (lines("PASS  "), lines("FAIL  "));
    assert_eq!(passed + failed, 9, "{}", text(&output));
    assert_eq!(output.status.code(), Some(i32::from(failed > 0)), "{shown}");
    assert!(shown.contains("profile standard, preset patient, at most 20 connections"), "{shown}");
    assert!(
        shown.contains("normal load: 4 workers, 10 queries each, each pausing 5 ms between two"),
        "{shown}"
    );
    assert!(shown.contains("PASS  full load: errors 0 (allowed 0)"), "{shown}");
    assert_eq!(shown.matches(" statements on lanes, ").count(), 2, "of each load: {shown}");
}

/// B9: a verdict for each of the two rates, with every message delivered.
#[tokio::test]
async fn bench_sends_messages_at_both_rates() {
    let database = database().await;
    let place = Place::new();
    let arguments = ["bench", "--profile", "messenger", "--json", "--seconds", "2", "--users", "50"];
    let output = place.run(&arguments, &[("DATABASE_URL", database.url())]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output));
    for (at, name, messages) in [(0, "sustained", 100), (1, "peak", 200)] {
        let stage = &report["stages"][at];
        assert_eq!((&stage["name"], &stage["operations"]), (&name.into(), &messages.into()), "{stage:#}");
        assert!(judged(&report, name, "errors"), "{report:#}");
        // By a schedule: the last message is not due earlier than that.
        assert!(stage["seconds"].as_f64() >= Some(1.9), "{stage:#}");
        for what in ["average", "p95", "p99"] {
            judged(&report, name, what);
        }
    }
    assert_eq!(report["recovery"], Value::Null);
    let client = client(database.url()).await;
    assert!(!has_schema(&client).await);
}

/// E9: the server is killed under load. It is back by itself, and every acknowledged write is there, once.
#[tokio::test]
async fn bench_survives_a_restart() {
    let place = Place::new();
    let arguments = ["bench", "--chaos", "restart", "--json", "--workers", "10", "--queries", "5"];
    let output = place.run(&arguments, &[]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let recovery = &report["recovery"];
    assert_eq!((&recovery["name"], &recovery["recovered"]), (&"restart".into(), &true.into()), "{report:#}");
    assert_eq!((&recovery["lost"], &recovery["doubled"]), (&0.into(), &0.into()), "{recovery:#}");
    assert!(recovery["acknowledged"].as_u64() >= Some(10), "{recovery:#}");
    // A server that crashed is started again after a second.
    assert!(recovery["seconds_without_success"].as_f64() > Some(0.5), "{recovery:#}");
    assert!(judged(&report, "restart", "acknowledged writes lost"));
    assert!(judged(&report, "restart", "writes doubled"));
    assert_eq!(processes_in(&place.data()), 0);
}

/// Interrupted in the middle it removes what it made, and says so.
#[tokio::test]
async fn bench_leaves_nothing_when_it_is_interrupted() {
    let database = database().await;
    let client = client(database.url()).await;
    let place = Place::new();
    // Far more than it will do.
    let arguments = ["bench", "--json", "--queries", "1000000"];
    let started = place.spawn(&arguments, &[("DATABASE_URL", database.url())]);
    let writes = "SELECT EXISTS (SELECT FROM db_bench.items WHERE visits > 0)";
    eventually("it works", async || {
        client.query_one(writes, &[]).await.is_ok_and(|row| row.get::<_, bool>(0))
    })
    .await;
    let output = started.end(Signal::SIGINT).await;
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["error"]["interrupted"], true, "{said}");
    assert!(!has_schema(&client).await);
}

/// What a killed run left is removed by the next one, which also keeps out a second; a schema of somebody else is kept.
#[tokio::test]
async fn bench_takes_only_what_is_its_own() {
    let database = database().await;
    let client = client(database.url()).await;
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url())];
    let small = ["bench", "--workers", "2", "--queries", "2", "--think-ms", "1"];
    let endless = place.spawn(&["bench", "--queries", "1000000"], &environment);
    eventually("it works", async || has_schema(&client).await).await;
    let second = place.run(&small, &environment);
    assert!(text(&second).contains("error: another db bench runs in this database"), "{}", text(&second));
    let killed = endless.end(Signal::SIGKILL).await;
    assert_eq!(killed.status.code(), None);
    assert!(has_schema(&client).await, "the one that was killed could not remove it");
    // Its sessions end when the server notices.
    eventually("nobody holds the lock", async || {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
        client.query_one(held, &[]).await.expect("locks").get::<_, i64>(0) == 0
    })
    .await;
    let third = place.run(&small, &environment);
    assert!(matches!(third.status.code(), Some(0 | 1)), "{}", text(&third));
    assert!(text(&third).contains("PASS  full load: errors 0"), "{}", text(&third));
    assert!(!has_schema(&client).await);

    client.batch_execute("CREATE SCHEMA db_bench; CREATE TABLE db_bench.t ()").await.expect("a schema");
    let fourth = place.run(&small, &environment);
    assert_eq!(fourth.status.code(), Some(1), "{}", text(&fourth));
    assert!(text(&fourth).contains("that db bench did not make"), "{}", text(&fourth));
    assert!(has_schema(&client).await);
}

/// Not in production without a yes, and no server is killed that this command did not start.
#[tokio::test]
async fn bench_refuses_what_would_hurt() {
    let database = database().await;
    let place = Place::new();
    let url = ("DATABASE_URL", database.url());
    let output = place.run(&["bench"], &[url, ("DB_ENV", "production")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("in production: it needs --yes"), "{}", text(&output));
    let output = place.run(&["bench", "--chaos", "restart", "--json"], &[url]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(said["error"]["message"].as_str().is_some_and(|it| it.contains("DATABASE_URL")), "{said}");

    let serving = place.serve(&[]).await;
    let output = place.run(&["bench", "--chaos", "restart"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("another program runs this PostgreSQL"), "{}", text(&output));
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}
