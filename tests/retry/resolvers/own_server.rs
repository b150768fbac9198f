//! The server crashes, or is another one, between a transaction and the question what became of it.

use std::time::Duration;

use db_core::Query;
use db_retry::{Doubt, Marker, Resolution};
use tokio_postgres::{Client, NoTls};

use super::xid::begin;
use crate::support::{client, eventually, own_server};

/// Kills the process of a connection as the kernel does when memory runs out: the server ends all sessions, and recovers.
async fn crash(url: &str, victim: i32) {
    let admin = client(url).await;
    // It may be gone before it can answer.
    admin.batch_execute(&format!("COPY (SELECT) TO PROGRAM 'kill -9 {victim}'")).await.ok();
}

async fn reconnect(url: &str) -> Client {
    let url = url.to_owned();
    eventually("the server has recovered", async || tokio_postgres::connect(&url, NoTls).await.is_ok()).await;
    client(&url).await
}

/// After a crash the id of a lost transaction is given out again, and its status is that of the next one. Only the
/// sentinel shows it: the server is the same, on the same timeline, and has not been restarted.
#[tokio::test]
async fn a_crash_is_noticed_by_the_sentinel() {
    let server = own_server().await;
    let (sentinel, transaction) = (client(server.url()).await, client(server.url()).await);
    let xid = begin(&transaction).await;
    let id: String = transaction.one("SELECT pg_current_xact_id()::text", &[]).await.expect("its id");
    let victim = super::pid(&transaction).await;
    crash(server.url(), victim).await;
    eventually("its session is gone", async || transaction.is_closed() && sentinel.is_closed()).await;

    let asks = reconnect(server.url()).await;
    let mut next = String::new();
    while next != id {
        next = asks.one("SELECT pg_current_xact_id()::text", &[]).await.expect("an id");
        assert!(next.parse::<u64>().ok() <= id.parse::<u64>().ok(), "{id} was not given out again");
    }
    let status: String = asks.one("SELECT pg_xact_status($1::text::xid8)", &[&id]).await.expect("a status");
    assert_eq!(status, "committed", "of a transaction that never committed");

    let answer = xid.resolve(&asks, &sentinel).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::SentinelLost));
    let another = client(server.url()).await;
    let answer = xid.resolve(&asks, &another).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::SentinelTooYoung));
}

#[tokio::test]
async fn a_restart_is_noticed() {
    let mut server = own_server().await;
    let transaction = client(server.url()).await;
    let xid = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    server.halt().await.expect("halt");
    server.resume().await.expect("resume");
    let asks = reconnect(server.url()).await;
    let answer = xid.resolve(&asks, &asks).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::OtherServer));
}

#[tokio::test]
async fn another_server_is_noticed() {
    let (one, other) = (own_server().await, own_server().await);
    let (sentinel, transaction) = (client(one.url()).await, client(one.url()).await);
    let xid = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    let asks = client(other.url()).await;
    // Its ids may or may not have come that far.
    match xid.resolve(&asks, &sentinel).await.expect("an answer") {
        Resolution::Unknown(Doubt::OtherServer | Doubt::Forgotten) => {}
        answer => panic!("{answer}"),
    }
}

/// The marker's answer survives a crash: that of a transaction that committed, and of one that did not.
#[tokio::test]
async fn a_crash_does_not_touch_markers() {
    let server = own_server().await;
    let (one, other) = (client(server.url()).await, client(server.url()).await);
    one.batch_execute(Marker::TABLE).await.expect("the table");
    let (committed, lost) = (Marker::new(), Marker::new());
    for (client, marker) in [(&one, committed), (&other, lost)] {
        client.batch_execute("BEGIN").await.expect("begin");
        client.batch_execute(&marker.enlist()).await.expect("enlist");
    }
    one.batch_execute("COMMIT").await.expect("commit");
    crash(server.url(), super::pid(&one).await).await;
    eventually("the sessions are gone", async || one.is_closed() && other.is_closed()).await;

    let asks = reconnect(server.url()).await;
    let soon = Duration::from_millis(50);
    assert_eq!(committed.resolve(&asks, soon).await.expect("an answer"), Resolution::Committed);
    assert_eq!(lost.resolve(&asks, soon).await.expect("an answer"), Resolution::RolledBack);
}
