//! The verbs by cardinality, on everything that has them.

use db_core::{Executor, Kind, Outcome, Query, Result, Row};
use futures_util::TryStreamExt;

use crate::support::{database, pool};

const NONE: &str = "SELECT 1 WHERE false";
const ONE: &str = "SELECT 7";
const THREE: &str = "SELECT generate_series(1, 3)";

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("too many or too few rows");
    assert_eq!((error.kind(), error.outcome()), (Kind::Query, Outcome::Executed));
    error.to_string()
}

async fn check_all(on: &dyn Executor) {
    let rows: Vec<i32> = on.query(THREE, &[]).await.expect("rows");
    assert_eq!(rows, [1, 2, 3]);
    assert_eq!(on.query::<i32>(NONE, &[]).await.expect("none"), Vec::<i32>::new());

    assert_eq!(on.one::<i32>(ONE, &[]).await.expect("one"), 7);
    assert_eq!(message(on.one::<i32>(NONE, &[]).await), "expected exactly one row, got 0");
    assert_eq!(message(on.one::<i32>(THREE, &[]).await), "expected exactly one row, got 3");

    assert_eq!(on.one_or_none::<i32>(ONE, &[]).await.expect("one"), Some(7));
    assert_eq!(on.one_or_none::<i32>(NONE, &[]).await.expect("none"), None);
    assert_eq!(message(on.one_or_none::<i32>(THREE, &[]).await), "expected at most one row, got 3");

    assert_eq!(on.many::<i32>(ONE, &[]).await.expect("one"), [7]);
    assert_eq!(message(on.many::<i32>(NONE, &[]).await), "expected at least one row, got 0");

    on.none(NONE, &[]).await.expect("none");
    assert_eq!(message(on.none(ONE, &[]).await), "expected no row, got 1");

    on.batch_execute("CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1), (2)").await.expect("batch");
    // A pool may run the next statement on another connection, where the table is not.
    on.batch_execute("CREATE TABLE IF NOT EXISTS u (n int)").await.expect("batch");
    assert_eq!(on.execute("INSERT INTO u VALUES ($1), ($2)", &[&1, &2]).await.expect("insert"), 2);
    on.batch_execute("DROP TABLE u").await.expect("drop");

    let streamed: Vec<i32> =
        on.stream::<i32>(THREE, &[]).await.expect("stream").try_collect().await.expect("rows");
    assert_eq!(streamed, [1, 2, 3]);

    let row: Row = on.one("SELECT 1 AS a, 'x' AS b", &[]).await.expect("a row");
    assert_eq!((row.get::<_, i32>("a"), row.get::<_, &str>("b")), (1, "x"));
}

/// C2: the same verbs on a pool, a connection, a transaction, and the driver's own client.
#[tokio::test]
async fn are_the_same_on_everything() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    check_all(&pool).await;

    let mut conn = pool.acquire().await.expect("a connection");
    conn.batch_execute("DISCARD TEMP").await.expect("a clean session");
    check_all(&conn).await;
    conn.batch_execute("DISCARD TEMP").await.expect("a clean session");
    conn.tx(async |tx| {
        check_all(&*tx).await;
        Ok(())
    })
    .await
    .expect("commit");

    check_all(&crate::support::client(database.url()).await).await;
}

/// C2: and on the façade.
#[tokio::test]
async fn are_there_on_the_database() {
    let database = database().await;
    let layers = db_app::config::Layers::default().with_environment("DATABASE_URL", database.url());
    let config = db_app::Config::load(&layers).expect("valid");
    let db = db_app::Database::open(config).await.expect("open");
    check_all(&db).await;
    db.close(std::time::Duration::from_secs(5)).await.expect("close");
}

/// C9: a value that looks like SQL is a value.
#[tokio::test]
async fn send_values_apart_from_the_text() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    let hostile = "'; DROP TABLE users; --";
    let back: String = pool.one("SELECT $1::text", &[&hostile]).await.expect("the value");
    assert_eq!(back, hostile);
}

/// C9, D6: neither the value nor anything the driver says of it gets into an error that is logged.
#[tokio::test]
async fn keep_values_out_of_errors() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    pool.batch_execute("CREATE TABLE t (mail text UNIQUE); INSERT INTO t VALUES ('hunter2')")
        .await
        .expect("set up");
    let errors = [
        pool.one::<i32>("SELECT $1::text::int", &[&"hunter2"]).await.expect_err("no number"),
        pool.execute("INSERT INTO t VALUES ($1)", &[&"hunter2"]).await.expect_err("a duplicate"),
        pool.execute("INSERT INTO t VALUES ($1)", &[&2]).await.expect_err("of another type"),
        pool.one::<i32>("SELECT 'hunter2'::text", &[]).await.expect_err("of another type"),
        pool.one::<i32>("SELECT to_tsquery($1) IS NULL", &[&"hunter2 foo"]).await.expect_err("no query"),
        pool.one::<i32>("SELECT $1::text::regclass::oid::int", &[&"hunter2"]).await.expect_err("no table"),
        pool.one::<i64>("SELECT pg_database_size($1::text)", &[&"hunter2"]).await.expect_err("no database"),
        pool.one::<String>("SELECT pg_read_file($1)", &[&"hunter2"]).await.expect_err("no file"),
        pool.batch_execute("DO $$ BEGIN RAISE EXCEPTION 'not for hunter2'; END $$")
            .await
            .expect_err("raised"),
        pool.batch_execute("CREATE ROLE r PASSWORD 'hunter2").await.expect_err("unterminated"),
        pool.one::<i32>("SELECT 1\0 AS hunter2", &[]).await.expect_err("a zero byte"),
    ];
    for error in errors {
        let report = serde_json::to_string(&error.report()).expect("JSON");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let all = format!("{error} {error:?} {report} {source}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}
