//! `db serve` on its way down: it says so first, serves on meanwhile, and ends in order.

use nix::sys::signal::Signal;

use super::program::{Place, processes_in};
use crate::http::call::{Connection, call};
use crate::http::get;
use crate::support::{database, eventually};

const TOKEN: &str = "0123456789abcdef";

/// E3, B7, B8: told to end, it is not ready and alive, new requests are answered for as long as was asked, what is under way is
/// answered, streams end, and then it does.
#[tokio::test]
async fn says_so_first_and_serves_meanwhile() {
    let place = Place::new();
    let environment = [
        ("DB_SHUTDOWN_DELAY_MS", "5000"),
        ("DB_SHUTDOWN_TIMEOUT_MS", "20000"),
        ("DB_HTTP_TOKEN", TOKEN),
        ("DB_POOL_MAX", "5"),
    ];
    let serving = place.serve(&environment).await;
    let address = serving.address;
    let mut stream = Connection::to(address).await;
    stream.send("GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(stream.head().await.status, 200);
    let mut half = Connection::to(address).await;
    let body = r#"{"max": 3}"#;
    let head = format!(
        "POST /api/admin/resize HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    half.send(head + &body[..4]).await;
    assert_eq!(get(address, "/health/ready", "").await.0, 200);

    serving.send(Signal::SIGTERM);
    eventually("not ready", async || get(address, "/health/ready", "").await.0 == 503).await;
    let (_, told) = get(address, "/health/ready", "").await;
    assert_eq!((&told["status"], &told["reason"]), (&"not ready".into(), &"shutting_down".into()), "{told}");
    assert_eq!(get(address, "/health/db", "").await.1["status"], "shutting_down");
    assert_eq!(get(address, "/health/live", "").await.0, 200);
    stream.last_chunk().await;
    let answer = call(address, "GET /api/metrics/db", "", "").await;
    assert_eq!((answer.status, &answer.json()["pool"]["max"]), (200, &5.into()));

    half.send(&body[4..]).await;
    let answer = half.answer().await;
    assert_eq!((answer.status, &answer.json()["max"]), (200, &3.into()), "{answer:?}");
    assert_eq!(serving.ended().await, Some(0));
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
    assert_eq!(processes_in(&place.data()), 0);
}

/// A request that is under way when the delay is over is answered as well; new ones are refused.
#[tokio::test]
async fn what_is_under_way_at_the_end_is_answered() {
    let place = Place::new();
    // A server that is not its own to stop, so that nothing else holds up the end.
    let database = database().await;
    let environment =
        [("DATABASE_URL", database.url()), ("DB_SHUTDOWN_TIMEOUT_MS", "20000"), ("DB_HTTP_TOKEN", TOKEN)];
    let serving = place.serve(&environment).await;
    let address = serving.address;
    let mut half = Connection::to(address).await;
    let head = format!(
        "POST /api/admin/resize HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
    );
    half.send(head).await;
    // Somebody else is answered after it: it has been read.
    assert_eq!(get(address, "/health/ready", "").await.0, 200);
    serving.send(Signal::SIGTERM);
    eventually("nobody listens", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    half.send(r#""max": 3}"#).await;
    let answer = half.answer().await;
    assert_eq!((answer.status, &answer.json()["max"]), (200, &3.into()), "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(serving.ended().await, Some(0));
}

/// D11: more callers who never end their requests than a shell allows open files: the program takes what the system allows.
#[tokio::test]
async fn a_crowd_fits_into_the_limits_of_a_shell() {
    let database = database().await;
    let place = Place::new();
    let serving = place.serve_with_files(64, &[("DATABASE_URL", database.url())]).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut half = Connection::to(serving.address).await;
        half.send("GET /health/live HTTP/1.1\r\nX-Slow: ").await;
        crowd.push(half);
    }
    assert_eq!(get(serving.address, "/health/live", "").await.0, 200);
    assert_eq!(get(serving.address, "/health/ready", "").await.0, 200);
    drop(crowd);
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}
