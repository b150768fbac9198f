//! The server as a service's monitor sees it.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_testkit::{Direction, Proxy};

use crate::support::{database, eventually};

/// D3: looks at a server that answers nothing leave no connections behind, and the first answer counts.
#[tokio::test]
async fn looks_at_a_silent_server_share_one_connection() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let layers = Layers::default()
        .with_environment("DATABASE_URL", &proxy.url())
        .with_environment("DB_POOL_MIN", "0")
        .with_environment("DB_HEALTH_INTERVAL_MS", "20");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    assert!(db.is_healthy());
    let before = proxy.counts().connections;
    proxy.stall();
    // It takes several looks to be sure.
    eventually("it is noticed", async || !db.is_healthy()).await;
    assert_eq!(proxy.counts().connections, before);
    proxy.heal();
    eventually("it recovers", async || db.is_healthy()).await;
    assert_eq!(proxy.counts().connections, before);
    db.close(Duration::from_secs(5)).await.expect("close");
}

/// D3: a server to which connecting takes longer than a look may is healthy once it is connected to: the connection is opened beside
/// the look that asked for it, and found by the next one.
#[tokio::test]
async fn a_far_server_is_healthy_once_it_is_connected_to() {
    /// A look takes two of them once it is connected, and at least four when it has to connect; it may take 1 s.
    const AWAY: Duration = Duration::from_millis(300);
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    proxy.delay(Direction::ToClient, AWAY);
    let layers = Layers::default()
        .with_environment("DATABASE_URL", &proxy.url())
        .with_environment("DB_POOL_MIN", "0")
        .with_environment("DB_CONNECT_TIMEOUT_MS", "10000")
        .with_environment("DB_ACQUIRE_TIMEOUT_MS", "10000")
        .with_environment("DB_HEALTH_INTERVAL_MS", "20");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    eventually("it is healthy", async || db.is_healthy()).await;
    db.close(Duration::from_secs(5)).await.expect("close");
}
