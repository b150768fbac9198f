//! Settings as the server sees them: from a variable to the session.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_core::Query;

use crate::support::database;

/// B2, E1, E8: what a variable says is what the session has.
#[tokio::test]
async fn variables_reach_the_session() {
    let database = database().await;
    let layers = Layers::default()
        .with_environment("DATABASE_URL", database.url())
        .with_environment("DB_STATEMENT_TIMEOUT_MS", "1234")
        .with_environment("DB_APPLICATION_NAME", "billing");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    let (limit, name): (String, String) = db
        .one("SELECT current_setting('statement_timeout'), current_setting('application_name')", &[])
        .await
        .expect("settings");
    assert_eq!((limit.as_str(), name.as_str()), ("1234ms", "billing"));
    db.close(Duration::from_secs(5)).await.expect("close");
}

/// A2: the parts in place of a URL connect to the same server.
#[tokio::test]
async fn parts_connect_like_the_url() {
    let database = database().await;
    let target = database.config();
    let password = String::from_utf8(target.get_password().expect("a password").to_vec()).expect("text");
    let host = match &target.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        other => panic!("a TCP host was expected: {other:?}"),
    };
    let layers = Layers::default()
        .with_environment("DATABASE_HOST", &host)
        .with_environment("DATABASE_PORT", &target.get_ports()[0].to_string())
        .with_environment("DATABASE_NAME", database.name())
        .with_environment("DATABASE_USER", target.get_user().expect("a user"))
        .with_environment("DATABASE_PASSWORD", &password);
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    let name: String = db.one("SELECT current_database()::text", &[]).await.expect("a name");
    assert_eq!(name, database.name());
    // A5: what the verification read.
    assert_eq!(db.server().database, database.name());
    assert!(!db.server().version.is_empty());
    db.close(Duration::from_secs(5)).await.expect("close");
}

/// A1: the pool never asks for more than the server allows.
#[tokio::test]
async fn the_server_bounds_the_pool() {
    let database = database().await;
    let layers = Layers::default()
        .with_environment("DATABASE_URL", database.url())
        .with_environment("DB_POOL_MAX", "5000")
        .with_environment("DB_POOL_CEILING", "5000");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    let limit: i32 = db
        .one("SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int", &[])
        .await
        .expect("a limit");
    assert_eq!(db.stats().max, u32::try_from(limit).expect("positive"));
    db.close(Duration::from_secs(5)).await.expect("close");
}
