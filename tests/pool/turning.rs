//! A pool that turns from one server to another.

use std::time::Duration;

use db_core::{Executor, Kind, Query};
use db_pool::{Heard, Pool, Settings, Target};
use db_testkit::Proxy;
use tokio::time::Instant;

use crate::support::{database, eventually};

const LIMIT: Duration = Duration::from_secs(20);
const NAME: &str = "SELECT current_database()::text";

fn target(url: &str) -> Target {
    url.parse().expect("a URL")
}

/// D2: whoever uses the pool meanwhile gets one error at most, also when the old server is silent: who waits is served by the
/// other one, and a listener hears of the gap.
#[tokio::test]
async fn a_pool_turns_away_from_a_silent_server() {
    let (old, new) = (database().await, database().await);
    let proxy = Proxy::to(&old).await.expect("a proxy");
    let mut settings = Settings::default();
    settings.max = 4;
    // Whoever waits for the old server does so for longer than this test has time.
    (settings.connect_timeout, settings.check_timeout) = (LIMIT * 3, LIMIT * 3);
    settings.check_after = Duration::ZERO;
    let pool = Pool::open(target(&proxy.url()), settings).await.expect("a pool");
    let mut listener = pool.listen(&["jobs"]).await.expect("a listener");
    let before: String = pool.one(NAME, &[]).await.expect("an answer");
    let mut held = pool.acquire().await.expect("a connection");
    drop(pool.acquire().await.expect("another one, which is idle then"));
    proxy.stall();

    // One waits within a transaction, one for the check of the idle connection, and two for new ones, which is as many as
    // are opened at once.
    let waits = held.tx(async |tx| tx.execute("SELECT 1", &[]).await);
    let asks = async {
        let acquire = || pool.acquire_until(Instant::now() + LIMIT);
        let (one, two, three) = tokio::join!(acquire(), acquire(), acquire());
        for conn in [one, two, three] {
            let conn = conn.expect("a connection");
            assert_eq!(conn.one::<String>(NAME, &[]).await.expect("an answer"), new.name());
        }
    };
    let connections = proxy.counts().connections;
    let turns = async {
        eventually("they are opened", async || proxy.counts().connections >= connections + 2).await;
        pool.turn_to(target(new.url()));
    };
    let (waited, (), ()) = tokio::join!(waits, asks, turns);
    assert_eq!(waited.expect_err("severed").kind(), Kind::Connection);
    drop(held);
    assert_eq!((before.as_str(), pool.endpoint()), (old.name(), target(new.url()).endpoint()));

    assert_eq!(listener.next().await, Some(Heard::Gap));
    pool.execute("SELECT pg_notify('jobs', 'one')", &[]).await.expect("notified");
    let Some(Heard::Notification(heard)) = listener.next().await else { panic!("a notification") };
    assert_eq!(heard.payload, "one");

    let opened = pool.stats().opened;
    pool.turn_to(target(new.url()));
    pool.one::<String>(NAME, &[]).await.expect("an answer");
    assert_eq!(pool.stats().opened, opened, "the same server is no other one");

    // Nothing more may reach this one, and no other is known.
    let held = pool.acquire().await.expect("a connection");
    pool.turn_away();
    assert_eq!(held.batch_execute("SELECT 1").await.expect_err("severed").kind(), Kind::Connection);
    drop(held);
    assert!(pool.target().is_err());
    let waiting = pool.acquire_until(Instant::now() + LIMIT);
    let turns = async {
        eventually("it waits", async || pool.stats().in_use == 1).await;
        pool.turn_to(target(new.url()));
    };
    let (acquired, ()) = tokio::join!(waiting, turns);
    assert_eq!(acquired.expect("a connection").one::<String>(NAME, &[]).await.expect("a name"), new.name());
    assert_eq!(listener.next().await, Some(Heard::Gap));
    pool.close(LIMIT).await.expect("closed");
}
