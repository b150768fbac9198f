//! `db stats`: the pool, and each server of a cluster, for people and as JSON.

use std::time::Duration;

use db_testkit::TestCluster;

use super::program::{Place, text};
use crate::support::{backend, client, database};

/// B4: the figures of the pool, with their units, where there is one server.
#[tokio::test]
async fn stats_shows_the_pool() {
    let database = database().await;
    let place = Place::new();
    let url = ("DATABASE_URL", database.url());
    let output = place.run(&["stats"], &[url, ("DB_POOL_MAX", "7")]);
    let shown = String::from_utf8(output.stdout.clone()).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let [heads, row, _, lanes] = &*lines else { panic!("{shown}") };
    let expect = "pool open idle in use waiting min max used (%) opened closed wait p50 (ms) wait p99 (ms)";
    assert_eq!(heads.join(" "), expect);
    assert_eq!((row[0], row[5], row[6], row[7]), ("primary", "2", "7", "0.0"), "{shown}");
    // It has run nothing yet: who has is named.
    assert!(lanes.join(" ").starts_with("lanes: 0 open of at most 4; "), "{shown}");
    assert!(lanes.join(" ").ends_with("db stats --service"), "{shown}");
    let output = place.run(&["stats"], &[url, ("DB_LANES", "0")]);
    assert!(!text(&output).contains("lanes"), "{}", text(&output));

    let output = place.run(&["stats", "--json"], &[url]);
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&body["pool"]["min"], &body["servers"]), (&2.into(), &serde_json::json!([])), "{body}");
    assert!(body["pool"]["utilization"].is_number() && body["pool"]["waited"]["p99_us"].is_u64(), "{body}");
}

/// B6: a row for each server: what it is and why, and how far behind, in bytes and in seconds.
#[tokio::test]
async fn stats_shows_each_server() {
    let mut servers = TestCluster::start(&backend(), 2).await.expect("servers");
    servers.lag(1, Duration::from_secs(60)).await.expect("late");
    servers.halt(2).await.expect("halted");
    let primary = client(servers.node(0).url()).await;
    primary.batch_execute("CREATE TABLE t ()").await.expect("something to replay");
    let urls = format!("{} {}", servers.node(1).url(), servers.node(2).url());
    let url = servers.node(0).url().to_owned();
    let environment = [("DATABASE_URL", &*url), ("DATABASE_REPLICA_URL", &*urls)];
    let place = Place::new();

    let output = place.run(&["stats", "--json"], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [first, second, third] = &**body["servers"].as_array().expect("servers") else { panic!("{body}") };
    assert_eq!((&first["state"], &first["timeline"]), (&"primary".into(), &1.into()), "{body}");
    assert_eq!((&second["state"], &second["timeline"]), (&"replica".into(), &1.into()), "{body}");
    assert!(second["lag"]["bytes"].as_u64() > Some(0) && second["lag"]["ms"].is_u64(), "{body}");
    assert_eq!((&third["state"], &third["reason"]), (&"out".into(), &"unreachable".into()), "{body}");
    assert!(third["error"].as_str().is_some_and(|error| error.contains("refused")), "{body}");

    let output = place.run(&["stats"], &environment);
    let shown = String::from_utf8(output.stdout.clone()).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let heads = "server state lag (bytes) lag (s) in flight latency (ms) served timeline";
    assert_eq!(lines[3], heads, "{shown}");
    let address = |node: usize| format!("127.0.0.1:{}", servers.node(node).config().get_ports()[0]);
    assert_eq!(lines[4], format!("{} primary - - 0 - 0 1", address(0)));
    assert!(lines[5].starts_with(&format!("{} replica ", address(1))), "{shown}");
    assert!(lines[5].ends_with(" 0 - 0 1"), "{shown}");
    assert_eq!(lines[6], format!("{} out (unreachable) - - 0 - 0 -", address(2)));
    assert!(lines[7].starts_with(&format!("{}: ", address(2))), "{shown}");

    // After a failover the server of DATABASE_URL is one of the replicas, and is measured all the same.
    servers.lag(1, Duration::ZERO).await.expect("not late any more");
    servers.promote(1).await.expect("promoted");
    servers.follow(0, 1).await.expect("follows");
    let body: serde_json::Value =
        serde_json::from_slice(&place.run(&["stats", "--json"], &environment).stdout).expect("JSON");
    assert_eq!(body["servers"][0]["state"], "replica", "{body}");
    assert!(body["servers"][0]["lag"]["bytes"].is_u64(), "{body}");
    assert_eq!(
        (&body["servers"][1]["state"], &body["servers"][1]["timeline"]),
        (&"primary".into(), &2.into())
    );
    drop(primary);
    servers.stop().await.expect("stopped");
}

/// The exit codes of the other commands, and a help that says whose figures these are.
#[tokio::test]
async fn stats_says_what_went_wrong() {
    let place = Place::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let url = format!("postgres://app:hunter2@{closed}/d");
    let output = place.run(&["stats", "--json"], &[("DATABASE_URL", &url), ("DB_MAX_RETRIES", "0")]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(body["error"]["message"].is_string() && !said.contains("hunter2"), "{said}");
    let output = place.run(&["stats"], &[("DATABASE_URL", &url), ("DB_POOL_MAX", "many")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = place.run(&["stats", "--help"], &[]);
    assert!(text(&output).contains("a process that has just begun"), "{}", text(&output));
    assert!(text(&output).contains("--service"), "{}", text(&output));
}
