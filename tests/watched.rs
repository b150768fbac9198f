//! The server as a service's monitor sees it.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_testkit::Proxy;

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
