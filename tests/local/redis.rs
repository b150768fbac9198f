//! `db serve` with a Redis beside its PostgreSQL, which stops and comes back. Needs `redis-server`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::program::{Place, Serving};
use crate::health::redis_server::{PASSWORD, Redis};
use crate::http::get;
use crate::support::{database, eventually};

/// What `/health` and `/health/ready` say, and how the service as a whole is.
async fn seen(serving: &Serving) -> (Value, u16, Value) {
    let (_, health) = get(serving.address, "/health", "").await;
    let (ready, _) = get(serving.address, "/health/ready", "").await;
    (health["services"].clone(), ready, health["status"].clone())
}

/// A4, B8: critical unless told otherwise: named when it stops, and the service not ready; both by itself until it is back.
#[tokio::test]
async fn a_service_that_needs_its_redis() {
    let (database, mut redis) = (database().await, Redis::start().await);
    let place = Place::new();
    let environment =
        [("DATABASE_URL", database.url()), ("DB_REDIS_URL", &*redis.url_with(PASSWORD)), ("DB_LOG", "trace")];
    let log = place.path().join("log");
    let serving = place.serve_logged(&environment, &log).await;
    let well = (json!({ "postgres": "connected", "redis": "connected" }), 200, "healthy".into());
    assert_eq!(seen(&serving).await, well);

    redis.stop();
    let ill = (json!({ "postgres": "connected", "redis": "disconnected" }), 503, "unhealthy".into());
    eventually("not ready", async || seen(&serving).await == ill).await;
    assert_eq!(get(serving.address, "/health/live", "").await.0, 200);
    let (_, all) = get(serving.address, "/health/db", "").await;
    assert!(all.to_string().contains("no PING to Redis at 127.0.0.1:"), "{all}");

    redis.start_again().await;
    eventually("well again", async || seen(&serving).await == well).await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(!log.is_empty() && !log.contains(PASSWORD) && !all.to_string().contains(PASSWORD), "{log}");
}

/// A4, B8: one that can be done without makes the service degraded, and it goes on.
#[tokio::test]
async fn a_service_that_can_live_without_its_redis() {
    let (database, mut redis) = (database().await, Redis::start().await);
    let environment = [
        ("DATABASE_URL", database.url()),
        ("DB_REDIS_URL", &*redis.url_with(PASSWORD)),
        ("DB_REDIS_CRITICAL", "false"),
    ];
    let serving = Place::new().serve(&environment).await;
    assert_eq!(seen(&serving).await.2, "healthy");
    redis.stop();
    let ill = (json!({ "postgres": "connected", "redis": "disconnected" }), 200, "degraded".into());
    eventually("degraded", async || seen(&serving).await == ill).await;
    redis.start_again().await;
    eventually("well again", async || seen(&serving).await.2 == "healthy").await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}
