//! What operators do by HTTP: it has its effect, and stands in the audit log. Who may is in `strangers`; servers of a cluster
//! are in `own_server`.

use db_core::Query as _;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;

use super::call::{Answer, call};
use super::{AUTHORIZED, JSON, TOKEN, close, open, problem, serve};
use crate::support::{Lines, client, database, eventually};

const MY_PID: &str = "SELECT pg_backend_pid()";

/// The log of this thread.
pub(super) fn log() -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

/// Does something as an operator.
pub(super) async fn operate(address: std::net::SocketAddr, action: &str, body: &Value) -> Answer {
    let headers = format!("{AUTHORIZED}{JSON}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(address, &format!("POST /api/admin/{action}"), &headers, &body).await
}

/// The action was done, for this reason.
pub(super) fn done(answer: &Answer, action: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, &body["action"]), (200, &action.into()), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(body["note"].is_string(), "{body}");
    body
}

/// The lines of the audit log about an action.
pub(super) fn audited(lines: &Lines, action: &str) -> Vec<String> {
    let text = lines.text();
    assert!(!text.contains(TOKEN), "the token is in the log: {text}");
    let about = text.lines().filter(|line| line.contains("db::audit") && line.contains(action));
    let about: Vec<_> = about.map(str::to_owned).collect();
    assert!(about.iter().all(|line| line.contains("peer=127.0.0.1:")), "from where? {about:?}");
    about
}

/// D10: what was refused is written down as well, with where it came from and without what was sent as the token.
#[tokio::test]
async fn the_refused_are_written_down() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    for action in ["rotate", "pause", "resume", "resize", "drain", "restore", "cancel"] {
        let headers = format!("Authorization: Bearer wrong-{TOKEN}\r\n{JSON}");
        let answer = call(address, &format!("POST /api/admin/{action}"), &headers, r#"{"max": 1}"#).await;
        problem(&answer, 401, "unauthorized");
        let lines = audited(&lines, &format!("path=\"/api/admin/{action}\""));
        assert!(lines.len() == 1 && lines[0].contains("refused") && lines[0].contains("WARN"), "{lines:?}");
    }
    assert_eq!((db.stats().is_paused, db.stats().closed.rotated), (false, 0));
    close(&db).await;
}

/// D10, D1: connections are replaced, and nobody has an error of it.
#[tokio::test]
async fn rotate() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[("DB_POOL_MIN", "1")]).await;
    let address = serve(&db).await;
    let before: i32 = db.one(MY_PID, &[]).await.expect("a process id");
    done(&operate(address, "rotate", &Value::Null).await, "rotate");
    assert_ne!(db.one::<i32>(MY_PID, &[]).await.expect("a process id"), before);
    eventually("it is closed", async || db.stats().closed.rotated > 0).await;
    let lines = audited(&lines, "action=\"rotate\"");
    assert!(lines.len() == 1 && lines[0].contains("done"), "{lines:?}");
    close(&db).await;
}

/// D1: nobody is admitted until the resume; connections that do not come back in time are told of.
#[tokio::test]
async fn pause_and_resume() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let held = db.acquire().await.expect("a connection");
    let message = problem(&operate(address, "pause", &json!({ "limit_ms": 10 })).await, 409, "still_in_use");
    assert!(message.contains("nobody is admitted until `resume`"), "{message}");
    assert!(db.stats().is_paused);
    drop(held);
    let body = done(&operate(address, "pause", &json!({})).await, "pause");
    assert_eq!(body["limit_ms"], 5_000, "the limit that the description names");

    let waiting = tokio::spawn({
        let db = db.clone();
        async move { db.one::<i32>("SELECT 1", &[]).await }
    });
    eventually("somebody waits", async || db.stats().waiting == 1).await;
    done(&operate(address, "resume", &Value::Null).await, "resume");
    assert_eq!(waiting.await.expect("no panic").expect("a row"), 1);
    assert!(!db.stats().is_paused);

    let paused = audited(&lines, "action=\"pause\"");
    // What takes time is told before it begins: a caller who goes away must not go unnoticed.
    let [begun, failed, again, done] = &*paused else { panic!("{paused:?}") };
    assert!(begun.contains("begun") && again.contains("begun"), "{paused:?}");
    assert!(failed.contains("WARN") && failed.contains("not done"), "{paused:?}");
    assert!(done.contains("INFO") && done.contains("limit_ms"), "{paused:?}");
    assert_eq!(audited(&lines, "action=\"resume\"").len(), 1);
    close(&db).await;
}

/// D1, B4: the size that is in force is said, and is what the figures show.
#[tokio::test]
async fn resize() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[("DB_POOL_MAX", "4")]).await;
    let address = serve(&db).await;
    let body = done(&operate(address, "resize", &json!({ "max": 6 })).await, "resize");
    assert_eq!((&body["max"], db.stats().max), (&6.into(), 6));
    let body = done(&operate(address, "resize", &json!({ "max": 1_000_000 })).await, "resize");
    assert_eq!(body["max"], db.stats().max, "what the server allows");
    assert!(db.stats().max < 1_000_000);
    problem(&operate(address, "resize", &json!({ "max": 0 })).await, 400, "bad_request");
    let lines = audited(&lines, "action=\"resize\"");
    assert!(lines.len() == 3 && lines[0].contains("\"max\":6") && lines[2].contains("not done"), "{lines:?}");
    close(&db).await;
}

/// D11: a statement that runs is cancelled by the process id of its session, and nothing else is.
#[tokio::test]
async fn cancel() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[("DB_STATEMENT_TIMEOUT_MS", "60000")]).await;
    let address = serve(&db).await;
    let running = tokio::spawn({
        let db = db.clone();
        async move { db.one::<String>("SELECT pg_sleep(50)::text", &[]).await }
    });
    let sleeper = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep' \
                   AND datname = current_database()";
    let mut pid = None;
    eventually("it runs", async || {
        pid = db.one_or_none::<i32>(sleeper, &[]).await.expect("a look");
        pid.is_some()
    })
    .await;
    let body = done(&operate(address, "cancel", &json!({ "pid": pid })).await, "cancel");
    assert_eq!(body["pid"].as_i64(), pid.map(i64::from));
    let error = running.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.sqlstate().map(|state| state.as_str().to_owned()).as_deref(), Some("57014"), "{error}");

    let message = problem(&operate(address, "cancel", &json!({ "pid": 0 })).await, 404, "no_session");
    assert!(message.contains("process id 0"), "{message}");
    let lines = audited(&lines, "action=\"cancel\"");
    assert!(lines.len() == 4 && lines[1].contains("done") && lines[3].contains("not done"), "{lines:?}");
    close(&db).await;
}

/// D11: what fills the pool can be cancelled all the same: the operator's connection is not the pool's, and who waits is served.
#[tokio::test]
async fn cancel_while_the_pool_is_full() {
    let database = database().await;
    let more = [
        ("DB_POOL_MAX", "1"),
        ("DB_POOL_MIN", "1"),
        ("DB_STATEMENT_TIMEOUT_MS", "60000"),
        ("DB_ACQUIRE_TIMEOUT_MS", "30000"),
    ];
    let db = open(database.url(), &more).await;
    let address = serve(&db).await;
    let run = |sql: &'static str| {
        let db = db.clone();
        tokio::spawn(async move { db.one::<String>(sql, &[]).await })
    };
    let running = run("SELECT pg_sleep(50)::text");
    let aside = client(database.url()).await;
    let sleeper =
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    let mut pid = None;
    eventually("it runs", async || {
        pid = aside.query_opt(sleeper, &[]).await.expect("a look").map(|row| row.get::<_, i32>(0));
        pid.is_some()
    })
    .await;
    let waiting = run("SELECT 'served'");
    eventually("somebody waits", async || db.stats().waiting == 1).await;
    assert_eq!((db.stats().in_use, db.stats().max), (1, 1));
    done(&operate(address, "cancel", &json!({ "pid": pid })).await, "cancel");
    let error = running.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.sqlstate().map(|state| state.as_str().to_owned()).as_deref(), Some("57014"), "{error}");
    assert_eq!(waiting.await.expect("no panic").expect("a row"), "served");
    close(&db).await;
}

/// B6: with one server there is none to drain; the error says so.
#[tokio::test]
async fn drain_needs_servers() {
    let (lines, _log) = log();
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let message = problem(&operate(address, "drain", &json!({ "server": "a" })).await, 404, "no_server");
    assert_eq!(message, "there is no server \"a\", only one, which takes everything");
    assert_eq!(audited(&lines, "action=\"drain\"").len(), 1);
    close(&db).await;
}
