//! `/api/live`: the dashboard's data once, and as a stream of events.

use std::collections::BTreeSet;

use db_core::Query;
use serde_json::Value;
use tokio::task::JoinSet;

use super::call::{Connection, call};
use super::{close, open, serve};
use crate::support::{database, eventually};

/// A stream of events whose head has come.
pub(super) async fn follow(address: std::net::SocketAddr) -> Connection {
    let mut stream = Connection::to(address).await;
    stream.send("GET /api/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").await;
    let head = stream.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    assert_eq!(head.header("cache-control"), Some("no-cache"), "{head:?}");
    stream
}

/// The data of the next event of the name `live`.
async fn event(stream: &mut Connection) -> String {
    let mut name = String::new();
    loop {
        let line = stream.line().await.expect("the stream goes on");
        if let Some(event) = line.strip_prefix("event: ") {
            event.clone_into(&mut name);
        }
        if let Some(data) = line.strip_prefix("data: ") {
            assert_eq!(name, "live");
            return data.to_owned();
        }
    }
}

/// E10: what a page shows, with numbers in units that their names tell.
#[tokio::test]
async fn once_as_json() {
    let database = database().await;
    let db = open(database.url(), &[("DB_POOL_MAX", "7")]).await;
    let address = serve(&db).await;
    let answer = call(address, "GET /api/live", "Accept: application/json\r\n", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let live = answer.json();
    assert_eq!((&live["status"], &live["shutting_down"]), (&"healthy".into(), &false.into()), "{live}");
    assert_eq!((&live["pools"][0]["max"], &live["pools"][0]["paused"]), (&7.into(), &false.into()), "{live}");
    let postgres = &live["components"][0];
    assert_eq!((&postgres["name"], &postgres["critical"]), (&"postgres".into(), &true.into()), "{live}");
    assert!(postgres["latency_ms"].is_f64() && postgres["age_ms"].is_f64(), "{postgres}");
    assert!(live["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{live}");
    assert!(live["alerts"].as_array().is_some_and(|alerts| alerts.len() > 5), "{live}");
    close(&db).await;
}

/// What is in flight on lanes is one of the pool's figures.
#[tokio::test]
async fn what_is_in_flight_on_lanes_is_counted() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let on_lanes = async || {
        let live = call(address, "GET /api/live", "Accept: application/json\r\n", "").await.json();
        live["pools"][0]["on_lanes"].as_u64().expect("a figure")
    };
    assert_eq!(on_lanes().await, 0);
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let db = db.clone();
        callers.spawn(async move { while db.one::<i64>("SELECT $1::int8", &[&1_i64]).await.is_ok() {} });
    }
    eventually("some are in flight", async || (1..=16).contains(&on_lanes().await)).await;
    callers.shutdown().await;
    eventually("none is any more", async || on_lanes().await == 0).await;
    close(&db).await;
}

/// D11: an event each second, made once for all who listen; the end of the service is the end of the stream.
#[tokio::test]
async fn events_are_made_once_for_all() {
    const LISTENERS: usize = 20;
    const EVENTS: usize = 4;

    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let mut streams = Vec::new();
    for _ in 0..LISTENERS {
        let mut stream = follow(address).await;
        let first: Value = serde_json::from_str(&event(&mut stream).await).expect("JSON");
        assert_eq!(first["status"], "healthy");
        streams.push(stream);
    }
    let mut made = BTreeSet::new();
    for stream in &mut streams {
        let mut last = String::new();
        for _ in 0..EVENTS {
            let news: Value = serde_json::from_str(&event(stream).await).expect("JSON");
            let at = news["at"].as_str().expect("a time").to_owned();
            assert!(at > last, "{at} after {last}");
            made.insert(at.clone());
            last = at;
        }
    }
    // Not all began to listen at the same moment.
    assert!(made.len() < 3 * EVENTS, "{} events for {LISTENERS} listeners: {made:?}", made.len());

    db.shut_down();
    for stream in &mut streams {
        stream.last_chunk().await;
    }
    close(&db).await;
}
