//! The pool when the server takes connections and answers nothing, and when it is closed at a bad moment.

use std::time::Duration;

use db_core::{Executor, Kind, Query};
use db_pool::{Pool, Settings};
use db_testkit::Proxy;
use tokio::time::{Instant, timeout};

use crate::support::{database, eventually};

fn settings(max: u32) -> Settings {
    let mut settings = Settings::default();
    (settings.max, settings.min) = (max, 1);
    settings.connect_timeout = Duration::from_millis(300);
    settings.acquire_timeout = Duration::from_millis(600);
    settings
}

/// A connection that is given up on a silent server is closed, and not left to a task that waits for ever.
#[tokio::test]
async fn leaves_no_connection_on_a_silent_server() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let pool = Pool::open(proxy.config(), settings(2)).await.expect("a pool");
    proxy.stall();
    for _ in 0..5 {
        timeout(Duration::from_millis(100), pool.batch_execute("SELECT 1")).await.ok();
    }
    let error = pool.acquire().await.expect_err("nothing can be opened");
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    eventually("what was given up is closed", async || proxy.counts().connections == 0).await;
    proxy.heal();
    eventually("one works", async || pool.one::<i32>("SELECT 1", &[]).await.is_ok()).await;
    pool.close(Duration::from_secs(5)).await.expect("close");
    eventually("none", async || proxy.counts().connections == 0).await;
}

/// A caller who was admitted and waits for a connection is refused at once, and nothing stays open.
#[tokio::test]
async fn refuses_those_who_wait_when_it_is_closed() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings(3);
    settings.connect_timeout = Duration::from_secs(5);
    settings.acquire_timeout = Duration::from_secs(20);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    let held = pool.acquire().await.expect("the open one");
    proxy.stall();
    let connecting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop) }
    });
    eventually("it connects", async || proxy.counts().connections == 2).await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close(Duration::from_secs(10)).await }
    });
    let refused = timeout(Duration::from_secs(2), connecting).await.expect("at once").expect("no panic");
    assert_eq!(refused.expect_err("refused").to_string(), "the pool is closed");
    drop(held);
    proxy.heal();
    closing.await.expect("no panic").expect("in time");
    assert_eq!(pool.stats().total, 0);
    eventually("none is open", async || proxy.counts().connections == 0).await;
}

/// A connection that comes back after the time for closing is closed then.
#[tokio::test]
async fn closes_what_comes_back_late() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let pool = Pool::open(proxy.config(), settings(1)).await.expect("a pool");
    let held = pool.acquire().await.expect("a connection");
    pool.close(Duration::from_millis(50)).await.expect_err("in use");
    drop(held);
    eventually("none is open", async || proxy.counts().connections == 0).await;
    assert_eq!(pool.stats().total, 0);
}

/// A deadline in the past is the caller's mistake, not the connections'.
#[tokio::test]
async fn keeps_its_connections_when_a_deadline_is_over() {
    let database = database().await;
    let mut settings = settings(3);
    settings.check_after = Duration::ZERO;
    let pool = Pool::open(database.config(), settings).await.expect("a pool");
    assert_eq!(pool.stats().idle, 1);
    let error = pool.acquire_until(Instant::now() - Duration::from_millis(1)).await.expect_err("too late");
    assert!(error.to_string().starts_with("timed out waiting"), "{error}");
    assert_eq!(pool.stats().idle, 1);
}

/// With fewer connections than places nobody overtakes those who wait for one.
#[tokio::test]
async fn is_fair_when_the_server_gives_fewer_connections_than_asked_for() {
    let database = database().await;
    let admin = crate::support::client(database.url()).await;
    let role = format!("role_{}", database.name());
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'one' CONNECTION LIMIT 1");
    admin.batch_execute(&sql).await.expect("a role");
    let mut target = database.config();
    target.user(&role).password("one");
    let mut settings = settings(4);
    settings.acquire_timeout = Duration::from_secs(10);
    let pool = Pool::open(target, settings).await.expect("a pool");
    let end = Instant::now() + Duration::from_secs(2);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut turns = 0_u32;
                while Instant::now() < end {
                    pool.one::<i32>("SELECT 1", &[]).await.expect("a turn");
                    turns += 1;
                }
                turns
            })
        })
        .collect();
    for task in tasks {
        let turns = task.await.expect("no panic");
        assert!(turns >= 20, "{turns} turns");
    }
    pool.close(Duration::from_secs(5)).await.expect("close");
    let gone = async || admin.batch_execute(&format!("DROP ROLE {role}")).await.is_ok();
    eventually("the role is free", gone).await;
}

/// Times that are too long to count are for ever, not a panic.
#[tokio::test]
async fn takes_times_without_end() {
    let database = database().await;
    let mut settings = settings(2);
    settings.acquire_timeout = Duration::MAX;
    settings.max_lifetime = Duration::MAX;
    settings.check_timeout = Duration::MAX;
    let pool = Pool::open(database.config(), settings).await.expect("a pool");
    assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("a value"), 7);
    pool.close(Duration::MAX).await.expect("close");
}
