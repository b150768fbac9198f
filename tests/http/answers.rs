//! The health endpoints, over HTTP, on a database that is well.

use std::sync::Mutex;

use db_app::http::health_routes;
use db_migrate::{Migration, Migrations, Migrator};
use serde_json::Value;

use super::{TOKEN, close, get, listen, open};
use crate::support::{database, eventually};

/// A4, B8, C4, C5, E4: the shapes that callers know.
#[tokio::test]
async fn answers_when_all_is_well() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = listen(health_routes(&db, Some(TOKEN.to_owned().into()))).await;
    assert!(db.is_healthy());

    let (status, body) = get(address, "/health", "").await;
    assert_eq!((status, &body["status"]), (200, &"healthy".into()));
    assert_eq!(body["services"], serde_json::json!({ "postgres": "connected" }));
    assert!(body["timestamp"].as_str().expect("a time").ends_with('Z'), "{body}");

    let (status, body) = get(address, "/health/live", "").await;
    assert_eq!((status, &body["status"]), (200, &"alive".into()));
    assert!(body["uptime_s"].is_u64(), "{body}");

    let (status, body) = get(address, "/health/ready", "").await;
    assert_eq!(
        (status, &body["status"], &body["checks"]["postgres"]["status"]),
        (200, &"ready".into(), &"up".into())
    );

    let (status, body) = get(address, "/health/db", "").await;
    assert_eq!((status, &body["status"], &body["error"]), (200, &"ok".into(), &serde_json::json!({})));
    let (postgres, pool) = (&body["details"]["postgres"], &body["details"]["pool"]);
    assert!(postgres["latency_ms"].is_f64() && postgres["version"].is_string(), "{postgres}");
    for figure in ["total", "idle", "active", "waiting", "max", "utilization"] {
        assert!(pool[figure].is_number(), "{figure}: {pool}");
    }
    close(&db).await;
}

/// D10: a stranger learns a status, never a figure or an error text.
#[tokio::test]
async fn gives_details_to_insiders_only() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = listen(health_routes(&db, Some(TOKEN.to_owned().into()))).await;
    let sees_details = async |header: &str| {
        let (_, body) = get(address, "/health/db", header).await;
        body["details"]["postgres"]["version"].is_string()
    };
    assert!(sees_details("").await, "from the machine itself");
    assert!(!sees_details("X-Forwarded-For: 192.0.2.1\r\n").await, "through a proxy");
    assert!(!sees_details("Forwarded: for=192.0.2.1\r\nAuthorization: Bearer wrong-wrong-wrong\r\n").await);
    assert!(!sees_details("X-Real-IP: 192.0.2.1\r\n").await, "through another proxy");
    let token = format!("Forwarded: for=192.0.2.1\r\nAuthorization: bearer {TOKEN}\r\n");
    assert!(sees_details(&token).await, "with the token");
    close(&db).await;
}

/// D13: a program is ready only on a schema that it can work with, so that two versions of it can run side by side.
#[tokio::test]
async fn readiness_may_ask_for_a_version_of_the_schema() {
    let database = database().await;
    let settings = [("DB_HEALTH_INTERVAL_MS", "20"), ("DB_SCHEMA_VERSION", "2..3")];
    let db = open(database.url(), &settings).await;
    let address = listen(health_routes(&db, None)).await;
    let reason = async |expect_status: u16, expect: &str| {
        let said = Mutex::new(Value::Null);
        eventually(expect, async || {
            let (status, body) = get(address, "/health/ready", "").await;
            *said.lock().expect("lock") = body["checks"]["schema"].clone();
            let text = said.lock().expect("lock").to_string();
            status == expect_status && text.contains(expect)
        })
        .await;
    };
    let upto = |count: u32| {
        let files = (1..=count).map(|number| {
            Migration::new(&format!("{number}_t{number}"), &format!("CREATE TABLE t{number} ()"), None)
        });
        Migrator::new(Migrations::new(files.map(|file| file.expect("file"))).expect("migrations"))
    };
    reason(503, "schema_behind").await;
    db.migrate(&upto(2)).await.expect("up");
    reason(200, "up").await;
    db.migrate(&upto(4)).await.expect("up");
    reason(503, "schema_ahead").await;
    let (status, _) = get(address, "/health/live", "").await;
    assert_eq!(status, 200);
}
