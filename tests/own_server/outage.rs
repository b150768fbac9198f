//! The server goes away and comes back: what callers and health see, without anybody's help.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_core::{Kind, Query, Status};

use crate::support::{eventually, own_server};

/// A4, B8: a server that is gone makes the service unhealthy, and one that is back makes it well.
#[tokio::test]
async fn health_follows_the_server() {
    let mut server = own_server().await;
    let layers = Layers::default()
        .with_environment("DATABASE_URL", server.url())
        .with_environment("DB_HEALTH_INTERVAL_MS", "100");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    assert!(db.is_healthy());

    server.halt().await.expect("halt");
    eventually("unhealthy", async || !db.is_healthy()).await;
    let snapshot = db.health();
    assert_eq!(snapshot.status(), Status::Unhealthy);
    assert!(snapshot.components[0].reason.is_some(), "{snapshot:?}");

    server.resume().await.expect("resume");
    eventually("healthy", async || db.is_healthy()).await;
    db.close(Duration::from_secs(5)).await.expect("close");
}

/// E9: the pool recovers by itself from a restart of the server.
#[tokio::test]
async fn the_pool_serves_again_after_a_restart() {
    let mut server = own_server().await;
    let layers = Layers::default().with_environment("DATABASE_URL", server.url());
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    db.one::<i32>("SELECT 1", &[]).await.expect("before");

    server.halt().await.expect("halt");
    let error = db.one::<i32>("SELECT 1", &[]).await.expect_err("the server is gone");
    assert_eq!(error.kind(), Kind::Connection, "{error}");

    server.resume().await.expect("resume");
    db.one::<i32>("SELECT 1", &[]).await.expect("after");
    db.close(Duration::from_secs(5)).await.expect("close");
}
