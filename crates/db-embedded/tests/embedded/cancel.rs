//! Starts and stops that are dropped midway.

use std::time::{Duration, Instant};

use db_embedded::{Server, Shutdown};
use tokio::time::timeout;

use crate::support::{Place, ask, nothing_runs};

const LIMIT: Duration = Duration::from_secs(5);

/// In eight steps from nothing to a server: before, in and after `initdb`, before and after PostgreSQL can hear a signal.
#[tokio::test]
async fn a_start_dropped_anywhere_leaves_nothing_running() {
    let full = {
        let (place, start) = (Place::new(), Instant::now());
        place.start().await.stop().await.unwrap();
        start.elapsed()
    };
    for step in 0..8 {
        let place = Place::new();
        let patience = full * step / 8;
        drop(timeout(patience, Server::start(place.settings())).await);
        nothing_runs(&place, LIMIT).await;
        if step % 4 == 0 {
            let server = place.start().await;
            assert_eq!(ask(&server, "SELECT 1").await, "1");
            assert_eq!(place.unfinished(), 0);
            server.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_start_right_after_a_dropped_one_succeeds() {
    let place = Place::new();
    for patience in [1, 50, 300, 500, 700] {
        drop(timeout(Duration::from_millis(patience), Server::start(place.settings())).await);
    }
    let server = place.start().await;
    assert_eq!(ask(&server, "SELECT 1").await, "1");
    server.stop().await.unwrap();
    nothing_runs(&place, LIMIT).await;
}

#[tokio::test]
async fn a_dropped_stop_stops_and_a_dropped_halt_can_be_repeated() {
    let place = Place::new();
    let mut server = place.start().await;
    drop(timeout(Duration::ZERO, server.halt(Shutdown::Fast)).await);
    server.resume().await.unwrap();
    assert_eq!(ask(&server, "SELECT 1").await, "1");
    drop(timeout(Duration::ZERO, server.resume()).await);
    drop(timeout(Duration::ZERO, server.stop()).await);
    nothing_runs(&place, LIMIT).await;
}
