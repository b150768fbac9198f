//! What statements hold, as literals and as parameters, and what the server says of it.

use std::net::SocketAddr;

use db_app::Database;
use db_app::http::Routes;
use db_core::{Error, Executor, Query};
use tokio::net::TcpListener;

use super::super::{Scene, fetch, sent_and_logged};
use super::Readings;

/// A table with a constraint of every kind.
const TABLE: &str = "CREATE TABLE vault (
    name varchar(20) PRIMARY KEY CHECK (name <> 'hunter2-check'),
    number int NOT NULL DEFAULT 0,
    other varchar(20) REFERENCES vault (name))";

/// Statements that fail in many ways, each with a secret in its text.
const LITERALS: [&str; 23] = [
    "INSERT INTO vault VALUES ('hunter2')",
    "INSERT INTO vault VALUES ('hunter2-check')",
    "INSERT INTO vault VALUES ('hunter2-null', NULL)",
    "INSERT INTO vault VALUES ('hunter2-key', 1, 'hunter2-nobody')",
    "INSERT INTO vault VALUES ('hunter2-that-is-too-long-for-it')",
    "SELECT 'hunter2'::int",
    "SELECT 'hunter2'::date",
    "SELECT 'hunter2'::json",
    "SELECT 'hunter2'::uuid",
    "SELECT 'hunter2'::inet",
    "SELECT 1 / 0, 'hunter2'",
    "SELEC 'hunter2'",
    "SELECT 1 'hunter2'",
    "SELECT 'hunter2",
    "SELECT 'hunter2' + 1",
    "SELECT no_such_function('hunter2')",
    "SELECT $x$hunter2$x$ FROM nothing",
    "SET work_mem = 'hunter2'",
    "DO $$ BEGIN RAISE WARNING 'hunter2'; RAISE EXCEPTION 'hunter2' USING DETAIL = 'hunter2'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION '% is taken', 'hunter2' USING ERRCODE = 'unique_violation'; END $$",
    "SELECT to_timestamp('hunter2', 'YYYY')",
    "SELECT pg_sleep(5), 'hunter2'",
    "SELECT pg_terminate_backend(pg_backend_pid()), 'hunter2'",
];

/// The same by a parameter.
const PARAMETERS: [&str; 9] = [
    "INSERT INTO vault VALUES ($1)",
    "INSERT INTO vault VALUES ('other', 1, $1 || '-nobody')",
    "SELECT ($1::text)::int",
    "SELECT ($1::text)::regclass",
    "SELECT ($1::text)::regrole",
    "SELECT ($1::text)::json",
    "SELECT set_config('work_mem', $1, false)",
    "SELECT nextval($1::text::regclass)",
    "SELECT pg_terminate_backend(pg_backend_pid()), $1::text",
];

/// C9, D10: errors, the log, traces, metrics and pages tell of all that, and of no value.
#[test]
fn nothing_that_is_told_of_a_statement_holds_its_values() {
    let mut readings = Readings::default();
    let environment = [("DB_STATEMENT_TIMEOUT_MS", "300"), ("DB_SLOW_QUERY_MS", "50")];
    let (collector, log) = sent_and_logged(&environment, async |Scene { db, telemetry, .. }| {
        db.batch_execute(TABLE).await.expect("a table");
        db.execute("INSERT INTO vault VALUES ('hunter2')", &[]).await.expect("a row");
        for sql in LITERALS {
            note(&mut readings, sql, &db.execute(sql, &[]).await.expect_err(sql));
            note(&mut readings, sql, &db.batch_execute(sql).await.expect_err(sql));
        }
        for sql in PARAMETERS {
            let failed = db.reads().query::<String>(sql, &[&"hunter2"]).await;
            note(&mut readings, sql, &failed.expect_err(sql));
        }
        let text = "SELECT 'hunter2'";
        note(&mut readings, text, &db.one::<i32>(text, &[]).await.expect_err("no number"));
        let many = "SELECT 'hunter2' FROM generate_series(1, 2)";
        note(&mut readings, many, &db.one::<String>(many, &[]).await.expect_err("two rows"));
        let failed = db.tx(async |tx| tx.execute("INSERT INTO vault VALUES ('hunter2')", &[]).await).await;
        note(&mut readings, "a transaction", &failed.expect_err("twice the same"));
        ask(db, telemetry.registry(), &mut readings).await;
    });
    assert!(log.contains("TRACE") && log.contains("slow statement") && log.contains("23505"), "{log}");
    readings.add("the log", log);
    assert!(collector.spans().len() > LITERALS.len() && !collector.metrics().is_empty());
    readings.add_bytes("what the collector got", &collector.bodies());
    readings.assert_clean();
}

/// An error as it may be shown.
fn note(readings: &mut Readings, sql: &str, error: &Error) {
    let report = serde_json::to_string(&error.report()).expect("JSON");
    // The statement itself is what its author knows.
    let place = sql.replace("hunter2", "***");
    readings
        .add(format!("the error of {place}"), format!("{error}\n{error:?}\n{:?}\n{report}", error.server()));
}

async fn ask(db: &Database, registry: prometheus::Registry, readings: &mut Readings) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = Routes::new(db).registry(registry).service();
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    for path in ["/api/live", "/api/metrics/db", "/health/db", "/health/metrics", "/metrics"] {
        let answer = fetch(address, &format!("GET {path}"), "Accept: application/json\r\n", "").await;
        assert_eq!(answer.status, 200, "{path}");
        readings.add(path, answer.body);
    }
}
