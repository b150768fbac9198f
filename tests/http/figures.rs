//! Figures as JSON: of the process, of the pools, of what was configured.

use db_core::Query as _;

use super::{close, get, open, serve};
use crate::support::database;

/// B8, B4: pools with their utilization, and the process: its memory, its id, how long it runs.
#[tokio::test]
async fn of_the_process() {
    let database = database().await;
    let db = open(database.url(), &[("DB_POOL_MAX", "4"), ("DB_POOL_MIN", "1")]).await;
    let address = serve(&db).await;
    let held = db.acquire().await.expect("a connection");
    let (status, body) = get(address, "/health/metrics", "").await;
    assert_eq!(status, 200);
    let pool = &body["pools"][0];
    assert_eq!((&pool["in_use"], &pool["max"], &pool["utilization"]), (&1.into(), &4.into(), &25.0.into()));
    let sum = pool["idle"].as_u64().expect("idle") + pool["in_use"].as_u64().expect("in use");
    assert_eq!(pool["total"].as_u64(), Some(sum), "{pool}");
    assert_eq!(pool["waiting"], 0, "{pool}");
    let process = &body["process"];
    assert_eq!(process["id"], std::process::id(), "{process}");
    assert!(process["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{process}");
    let uptime = process["uptime_s"].as_f64().expect("a time");
    let (_, later) = get(address, "/health/metrics", "").await;
    assert!(uptime >= 0.0 && later["process"]["uptime_s"].as_f64() > Some(uptime), "{later}");
    drop(held);
    close(&db).await;
}

/// E7, D10: pool, performance over the last minute, and the configuration, in which no secret can be read.
#[tokio::test]
async fn of_the_database() {
    let database = database().await;
    let hook = ("DB_ALERT_WEBHOOK_URL", "https://hooks.example/T0/hunter2-in-the-path");
    let secret = ("DB_ALERT_WEBHOOK_SECRET", "hunter2-which-signs");
    let db =
        open(database.url(), &[hook, secret, ("DB_POOL_MAX", "4"), ("DB_HTTP_TOKEN", "hunter2-which-opens")])
            .await;
    let address = serve(&db).await;
    for _ in 0..5 {
        db.one::<i32>("SELECT 1", &[]).await.expect("a row");
    }
    db.one::<i32>("SELECT 1 / 0", &[]).await.expect_err("no number");
    let (status, body) = get(address, "/api/metrics/db", "").await;
    assert_eq!((status, &body["pool"]["max"]), (200, &4.into()));
    // Each is looked at for itself, and the pool goes on meanwhile.
    let same = ["pool", "max", "min"].map(|figure| body["pools"][0][figure] == body["pool"][figure]);
    assert_eq!(same, [true; 3], "{body}");
    assert!(body["performance"]["operations"].as_u64() >= Some(6), "{}", body["performance"]);
    let errors = body["errors"].as_array().expect("errors");
    assert!(errors.iter().any(|error| error["code"] == "22012"), "{errors:?}");
    assert!(body["server"]["version"].is_string(), "{}", body["server"]);

    let configuration = body["configuration"].as_array().expect("settings");
    let value = |name: &str| {
        let setting = configuration.iter().find(|setting| setting["name"] == name);
        setting.unwrap_or_else(|| panic!("{name}: {configuration:?}"))["value"].clone()
    };
    assert_eq!(value("DB_POOL_MAX"), "4");
    for name in ["DB_HTTP_TOKEN", "DB_ALERT_WEBHOOK_SECRET", "DB_ALERT_WEBHOOK_URL"] {
        assert_eq!(value(name), "***");
    }
    assert!(!body.to_string().contains("hunter2"), "{body}");
    // The name of a role may be its password as well.
    assert!(value("DATABASE_URL").as_str().is_some_and(|url| url.contains(":***@")), "{body}");
    close(&db).await;
}
