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
        .with_environment("DB_APPLICATION_NAME", "billing")
        .with_environment("DB_LOCK_TIMEOUT_MS", "1235")
        .with_environment("DB_IDLE_IN_TRANSACTION_TIMEOUT_MS", "1236")
        .with_environment("DB_SEARCH_PATH", "billing, public")
        .with_environment("DB_READ_ONLY", "true");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    let check = async |name: &str, expect: &str| {
        let value: String = db.one("SELECT current_setting($1)", &[&name]).await.expect(name);
        assert_eq!(value, expect, "{name}");
    };
    check("statement_timeout", "1234ms").await;
    check("application_name", "billing").await;
    check("lock_timeout", "1235ms").await;
    check("idle_in_transaction_session_timeout", "1236ms").await;
    check("search_path", "billing, public").await;
    check("transaction_read_only", "on").await;
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

/// A12: the password is where a file or a command says.
#[tokio::test]
async fn a_password_from_a_file_or_a_command() {
    let database = database().await;
    let target = database.config();
    let password = target.get_password().expect("a password");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let file = file.to_str().expect("text");
    std::fs::write(file, [password, b"\n"].concat()).expect("a file");
    let url = format!(
        "host=127.0.0.1 port={} user={} dbname={}",
        target.get_ports()[0],
        target.get_user().expect("a user"),
        database.name(),
    );
    for (name, value) in
        [("DB_PASSWORD_FILE", file.to_owned()), ("DB_PASSWORD_COMMAND", format!("cat {file}"))]
    {
        let layers = Layers::default().with_environment("DATABASE_URL", &url).with_environment(name, &value);
        let db = Database::open(Config::load(&layers).expect("valid")).await.expect(name);
        let connected: String = db.one("SELECT current_database()::text", &[]).await.expect("a name");
        assert_eq!(connected, database.name());
        db.close(Duration::from_secs(5)).await.expect("close");
    }
    let layers = Layers::default()
        .with_environment("DATABASE_URL", &url)
        .with_environment("DB_PASSWORD_FILE", "/no/such/file");
    let error = Database::open(Config::load(&layers).expect("valid")).await.expect_err("no password");
    let expect = "cannot read the password file /no/such/file: No such file";
    assert!(error.to_string().contains(expect), "{error}");
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
