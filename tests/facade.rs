//! What the composed `Database` passes on of its pool.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database};
use db_core::{Executor, Query};
use db_pool::{Column, Heard, insert_columns};
use db_testkit::TestDatabase;
use tokio::time::timeout;

use crate::support::{Lines, database, eventually};

async fn open(database: &TestDatabase, settings: &[(&str, &str)]) -> Database {
    let layers = Layers::default()
        .with_environment("DATABASE_URL", database.url())
        .with_environment("DB_ACQUIRE_TIMEOUT_MS", "20000")
        .with_environment("DB_CONNECT_TIMEOUT_MS", "10000");
    let layers = settings.iter().fold(layers, |layers, (name, value)| layers.with_environment(name, value));
    Database::open(Config::load(&layers).expect("valid")).await.expect("open")
}

/// D1, D2: an operator's verbs, and those for many rows.
#[tokio::test]
async fn passes_on_what_the_pool_can_do() {
    let database = database().await;
    let db = open(&database, &[("DB_HEALTH_INTERVAL_MS", "20")]).await;
    db.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    assert_eq!(insert_columns(&db, "t", &[Column::new("id", &[1, 2, 3])]).await.expect("stored"), 3);

    let mut listener = db.listen(&["jobs"]).await.expect("a listener");
    db.execute("SELECT pg_notify('jobs', 'seven')", &[]).await.expect("notify");
    match timeout(Duration::from_secs(10), listener.next()).await.expect("in time") {
        Some(Heard::Notification(told)) => assert_eq!(told.payload, "seven"),
        other => panic!("{other:?}"),
    }

    let before: i32 = db.one("SELECT pg_backend_pid()", &[]).await.expect("a process");
    db.rotate();
    let after: i32 = db.one("SELECT pg_backend_pid()", &[]).await.expect("a process");
    assert_ne!(before, after);

    assert_eq!(db.resize(3), 3);
    db.pause(Duration::from_secs(10)).await.expect("nobody uses it");
    assert!(db.stats().is_paused);
    let pool =
        async || db.health().components.into_iter().find(|seen| seen.name == "pool").expect("the pool");
    eventually("it is seen", async || pool().await.reason == Some("paused")).await;
    assert!(db.is_healthy(), "a pause is on purpose");
    db.resume();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("admitted"), 3);
    db.close(Duration::from_secs(5)).await.expect("close");
}

/// A leak is reported with the caller's place, not with one in the façade.
#[tokio::test]
async fn keeps_the_place_of_whoever_acquires() {
    let database = database().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // Upkeep runs on this thread, as everything in this test does.
    let _log = tracing::subscriber::set_default(subscriber);
    let db = open(&database, &[("DB_LEAK_WARNING_MS", "50")]).await;

    let place = format!("place={}:{}:", file!(), line!() + 1);
    let held = db.acquire().await.expect("a connection");
    eventually("it is told", async || lines.text().contains(&place)).await;
    drop(held);
    let place = format!("place={}:{}:", file!(), line!() + 1);
    let in_tx = db.tx(async |_| {
        eventually("it is told", async || lines.text().contains(&place)).await;
        Ok(())
    });
    in_tx.await.expect("committed");
    db.close(Duration::from_secs(5)).await.expect("close");
}
