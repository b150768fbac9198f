//! Probes while the database is busy, and while many ask. Servers that stop are in `own_server`.

use std::time::Duration;

use db_core::Query as _;
use db_testkit::Proxy;
use tokio::task::JoinSet;

use super::call::Connection;
use super::{close, get, open, serve, within};
use crate::support::{client, database};

/// A4, B8, D11: with every connection busy for long and callers waiting the service is alive and ready, degraded, and says why.
/// It takes a little more than the 10 s after which a pool counts as saturated.
#[tokio::test]
async fn a_saturated_pool_is_degraded_and_serves() {
    let database = database().await;
    let settings = [
        ("DB_POOL_MAX", "2"),
        ("DB_HEALTH_INTERVAL_MS", "100"),
        ("DB_ACQUIRE_TIMEOUT_MS", "120000"),
        ("DB_STATEMENT_TIMEOUT_MS", "120000"),
    ];
    let db = open(database.url(), &settings).await;
    let address = serve(&db).await;
    let mut slow = JoinSet::new();
    for _ in 0..4 {
        let db = db.clone();
        slow.spawn(async move { db.one::<String>("SELECT pg_sleep(100)::text", &[]).await });
    }
    within(Duration::from_secs(10), "full", async || (db.stats().in_use, db.stats().waiting) == (2, 2)).await;

    let pool = std::sync::Mutex::new(serde_json::Value::Null);
    within(Duration::from_secs(30), "saturated", async || {
        assert_eq!(get(address, "/health/live", "").await.0, 200);
        let (status, body) = get(address, "/health/ready", "").await;
        assert_eq!((status, &body["status"]), (200, &"ready".into()), "{body}");
        assert_eq!(body["checks"]["postgres"]["status"], "up", "{body}");
        *pool.lock().expect("no panic") = body["checks"]["pool"].clone();
        body["checks"]["pool"]["reason"] == "saturated"
    })
    .await;
    let pool = pool.into_inner().expect("no panic");
    assert_eq!(pool, serde_json::json!({ "status": "up", "degraded": true, "reason": "saturated" }));
    let (status, body) = get(address, "/health", "").await;
    assert_eq!((status, &body["status"]), (200, &"degraded".into()), "{body}");
    let (_, body) = get(address, "/health/db", "").await;
    let pool = &body["details"]["pool"];
    assert_eq!(
        (&pool["active"], &pool["waiting"], &pool["max"]),
        (&2.into(), &2.into(), &2.into()),
        "{pool}"
    );

    let aside = client(database.url()).await;
    within(Duration::from_secs(20), "they end", async || {
        let sleepers = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                        WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()";
        aside.query(sleepers, &[]).await.expect("cancelled");
        while slow.try_join_next().is_some() {}
        slow.is_empty()
    })
    .await;
    within(Duration::from_secs(10), "well", async || {
        get(address, "/health", "").await.1["status"] == "healthy"
    })
    .await;
    close(&db).await;
}

/// D11, B8: thousands of probes are no connection and no statement on the server; only the looks that are due by time are.
#[tokio::test]
async fn probes_cost_the_database_nothing() {
    const ROUNDS: u64 = 500;
    const PATHS: [&str; 7] = [
        "/health",
        "/health/live",
        "/health/ready",
        "/health/startup",
        "/health/db",
        "/health/metrics",
        "/api/metrics/db",
    ];

    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let settings = [("DB_HEALTH_INTERVAL_MS", "3600000"), ("DB_POOL_MIN", "1"), ("DB_KEEP_ALIVE_MS", "0")];
    let db = open(&proxy.url(), &settings).await;
    let address = serve(&db).await;
    let before = proxy.counts();
    let mut connection = Connection::to(address).await;
    for _ in 0..ROUNDS {
        for path in PATHS {
            connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert_eq!(connection.answer().await.status, 200, "{path}");
        }
    }
    let after = proxy.counts();
    assert_eq!(after.accepted, before.accepted, "no connection");
    // Every 30 s some looks are due: on a machine that is very busy these come to pass.
    let statements = after.requests - before.requests;
    assert!(statements < ROUNDS / 10, "{statements} statements for {} probes", ROUNDS * PATHS.len() as u64);
    let seen = db.look_now().await;
    assert!(seen.is_ready() && proxy.counts().requests > after.requests, "a look would have been seen");
    close(&db).await;
}
