//! A statement that takes long, as operators see it: in the log, and in the live news.

use std::net::SocketAddr;
use std::time::Duration;

use db_app::config::Layers;
use db_app::http::Routes;
use db_app::{Config, Database};
use db_core::Executor;
use serde_json::Value;
use tokio::net::TcpListener;

use super::fetch;
use crate::support::{Lines, database};

/// A10, A11, C8, E2: a warning with the time that it took, without its literals; in the news as well; a quick one is neither.
#[tokio::test]
async fn a_slow_statement_is_told_with_its_time() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let database = database().await;
    let layers = Layers::default()
        .with_environment("DATABASE_URL", database.url())
        .with_environment("DB_SLOW_QUERY_MS", "100");
    let db = Database::open(Config::load(&layers).expect("valid")).await.expect("open");
    db.execute("SELECT pg_sleep(0.15), 'hunter2', $1::text", &[&"hunter2"]).await.expect("slow");
    db.execute("SELECT 'quick hunter2'", &[]).await.expect("quick");

    let log = lines.text();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("slow statement")).collect();
    let [warning] = &*warnings else { panic!("{log}") };
    assert!(warning.contains(" WARN db::query: slow statement "), "{warning}");
    assert!(warning.contains(r#"statement="SELECT pg_sleep(?), ?, $1::text""#), "{warning}");
    let took = warning.split("took=").nth(1).and_then(|rest| rest.split("ms").next()?.parse::<f64>().ok());
    assert!(took.is_some_and(|took| took >= 150.0), "{warning}");
    assert!(!log.contains("hunter2"), "{log}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = Routes::new(&db).service().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let answer = fetch(address, "GET /api/live", "Accept: application/json\r\n", "").await;
    let news: Value = serde_json::from_str(&answer.body).expect("JSON");
    let [slow] = &**news["slow"].as_array().expect("statements") else { panic!("{news:#}") };
    assert_eq!(slow["statement"], "SELECT pg_sleep(?), ?, $1::text");
    assert!(slow["took_ms"].as_f64() >= Some(150.0), "{slow}");
    db.close(Duration::from_secs(5)).await.expect("close");
}
