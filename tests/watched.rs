//! The server as a service's monitor sees it.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};

use crate::gateway::Gateway;
use crate::support::{database, eventually};

/// D3: looks at a server that answers nothing leave no connections behind, and the first answer counts.
#[tokio::test]
async fn looks_at_a_silent_server_share_one_connection() {
    let database = database().await;
    let gateway = Gateway::to(&database).await;
    let target = gateway.target(&database);
    let url = format!(
        "host=127.0.0.1 port={} user={} password='{}' dbname={}",
        target.get_ports()[0],
        target.get_user().expect("a user"),
        String::from_utf8_lossy(target.get_password().expect("a password")),
        database.name(),
    );
    let layers = Layers::default()
        .with_environment("DATABASE_URL", &url)
        .with_environment("DB_POOL_MIN", "0")
        .with_environment("DB_HEALTH_INTERVAL_MS", "20");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    assert!(db.is_healthy());
    let before = gateway.connections();
    gateway.set_open(false);
    // It takes several looks to be sure.
    eventually("it is noticed", async || !db.is_healthy()).await;
    assert_eq!(gateway.connections(), before);
    gateway.set_open(true);
    eventually("it recovers", async || db.is_healthy()).await;
    assert_eq!(gateway.connections(), before);
    db.close(Duration::from_secs(5)).await.expect("close");
}
