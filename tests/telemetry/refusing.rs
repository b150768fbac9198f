//! A collector that is away, and one that accepts and says nothing: `db serve` starts, answers and ends all the same.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use super::fetch;
use crate::local::program::Place;
use crate::support::database;

const TOKEN: &str = "0123456789abcdef";

/// Runs a whole service with this collector, and gives how long its end took.
async fn end_takes(endpoint: &str) -> Duration {
    let database = database().await;
    let place = Place::new();
    let environment =
        [("DATABASE_URL", database.url()), ("DB_OTLP_ENDPOINT", endpoint), ("DB_HTTP_TOKEN", TOKEN)];
    let serving = place.serve(&environment).await;
    assert_eq!(fetch(serving.address, "GET /health/ready", "", "").await.status, 200);
    let headers = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    // More statements than wait for being sent; none of them waits itself.
    let asked = Instant::now();
    for _ in 0..20 {
        let answer = fetch(serving.address, "POST /api/admin/cancel", &headers, r#"{"pid":999999999}"#).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let told = Instant::now();
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    told.elapsed()
}

/// E7: nobody listens there.
#[tokio::test]
async fn a_collector_that_is_away() {
    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|it| it.local_addr()).expect("a port");
    let took = end_takes(&format!("http://{closed}")).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// E7: the connection is taken, and no answer ever comes.
#[tokio::test]
async fn a_collector_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let took = end_takes(&format!("http://{address}")).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
}
