//! Many who want something slowly: they keep nobody from the probes. What keeps the pool busy is in `stress`.

use std::net::SocketAddr;

use super::call::{Connection, call};
use super::live::follow;
use super::{close, open, serve};
use crate::support::database;

async fn half_a_head(address: SocketAddr) -> Connection {
    let mut connection = Connection::to(address).await;
    connection.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    connection
}

/// D11: a thousand pages that nobody looks at, and callers who never end their requests.
#[tokio::test]
async fn a_crowd_starves_no_probe() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        crowd.push(follow(address).await);
    }
    for _ in 0..200 {
        crowd.push(half_a_head(address).await);
    }
    for _ in 0..50 {
        assert_eq!(call(address, "GET /health/live", "", "").await.status, 200);
        assert_eq!(call(address, "GET /health/ready", "", "").await.status, 200);
    }
    assert_eq!(db.stats().in_use, 0, "none of them uses the pool");
    drop(crowd);
    assert_eq!(call(address, "GET /health/ready", "", "").await.status, 200);
    close(&db).await;
}

/// D11: a request that does not come to the end of its head is not waited for: after 10 s the connection is closed.
#[tokio::test]
async fn half_a_request_is_ended() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let (mut half, mut nothing) = (half_a_head(address).await, Connection::to(address).await);
    let mut kept = Connection::to(address).await;
    kept.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.answer().await.status, 200);
    // Its patience is twice the limit.
    assert!(!half.rest().await.contains("200"), "it is closed without an answer to what was not asked");
    nothing.rest().await;
    kept.rest().await;
    close(&db).await;
}
