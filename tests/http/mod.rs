//! The HTTP face over real sockets: what each endpoint answers, to whom, and under what load. Tests in `own_server` stop
//! servers; how the program `db serve` begins and ends is in `local`.

mod answers;
pub(crate) mod call;
mod crowd;
mod described;
mod figures;
mod live;
mod nested;
mod operators;
mod own_server;
mod refusals;
mod strangers;
mod stress;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use db_app::config::Layers;
use db_app::http::{self, Routes};
use db_app::{Config, Database};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use self::call::{Answer, call};

pub(crate) const TOKEN: &str = "0123456789abcdef";

/// Lines of headers: with the token, by a proxy, with a body of JSON.
const AUTHORIZED: &str = "Authorization: Bearer 0123456789abcdef\r\n";
const FORWARDED: &str = "X-Forwarded-For: 192.0.2.1\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

/// A database as configured by variables.
pub(crate) async fn open(url: &str, more: &[(&str, &str)]) -> Database {
    let mut layers = Layers::default().with_environment("DATABASE_URL", url);
    for (name, value) in more {
        layers = layers.with_environment(name, value);
    }
    Database::open(Config::load(&layers).expect("valid")).await.expect("open")
}

/// All endpoints with the token, as `db serve` has them.
pub(crate) async fn serve(db: &Database) -> SocketAddr {
    listen(routes(db).service()).await
}

fn routes(db: &Database) -> Routes {
    Routes::new(db).token(Some(TOKEN.to_owned().into())).registry(prometheus::Registry::new())
}

async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(http::serve(listener, router, std::future::pending()));
    address
}

/// Status and body of a GET that is never to be kept by a cache.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, Value) {
    let answer = call(address, &format!("GET {path}"), headers, "").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    (answer.status, answer.json())
}

/// An error in the shape that all of them have, with this status and code; gives its message.
fn problem(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let body = answer.json();
    let error = body["error"].as_object().expect("an error");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message", "timestamp"], "{body}");
    assert_eq!(error["code"], code, "{body}");
    assert!(error["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    let message = error["message"].as_str().expect("a text");
    assert!(!message.is_empty(), "{body}");
    message.to_owned()
}

/// Waits until `condition` holds, and fails the test when it does not within `limit`.
async fn within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn close(db: &Database) {
    db.close(Duration::from_secs(5)).await.expect("close");
}
