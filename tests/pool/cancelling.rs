//! Cancelling: what a caller gives up ends on the server, and never what somebody else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_core::{Executor, Kind, Outcome, Query};
use db_pool::Pool;
use db_testkit::Proxy;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{client, database, eventually, pool};

/// E6: a statement whose future is dropped is gone from the server within 100 ms: half of the times, since a machine that
/// is busy with other tests can be late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_ends_on_the_server() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (1, 1);
        settings.statement_timeout = Duration::ZERO;
    })
    .await;
    let aside = client(database.url()).await;
    let runs = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let runs = async || aside.query_one(runs, &[]).await.expect("look").get::<_, i64>(0) > 0;
    let mut times = Vec::new();
    for _ in 0..11 {
        let work = tokio::spawn({
            let pool = pool.clone();
            async move { pool.batch_execute("SELECT pg_sleep(60)").await }
        });
        eventually("it runs", runs).await;
        let dropped = Instant::now();
        work.abort();
        eventually("it is gone", async || !runs().await).await;
        times.push(dropped.elapsed());
    }
    times.sort();
    assert!(times[5] < Duration::from_millis(100), "{times:?}");
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
}

/// E6: the server ends what takes too long and says so.
#[tokio::test]
async fn what_takes_too_long_is_the_servers_error() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.statement_timeout = Duration::from_millis(50)).await;
    let error = pool.batch_execute("SELECT pg_sleep(60)").await.expect_err("too long");
    assert_eq!((error.kind(), error.outcome()), (Kind::Performance, Outcome::RolledBack), "{error}");
}

/// E6: a server that says nothing is not waited for, and the connection is given up.
#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = db_pool::Settings::default();
    (settings.max, settings.min) = (1, 1);
    settings.statement_timeout = Duration::from_millis(100);
    settings.connect_timeout = Duration::from_millis(300);
    settings.check_after = Duration::from_secs(60);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    let before = proxy.counts().connections;
    assert_eq!(before, 1);
    proxy.stall();
    let error = timeout(Duration::from_secs(5), pool.batch_execute("SELECT 1")).await.expect("in time");
    let error = error.expect_err("no answer");
    assert_eq!(error.to_string(), "no answer within 0.6 s");
    assert_eq!((error.kind(), error.outcome()), (Kind::Connection, Outcome::Unknown));
    eventually("it is closed", async || pool.stats().closed.unclean == 1).await;
    proxy.heal();
    eventually("another works", async || pool.one::<i32>("SELECT 7", &[]).await.is_ok()).await;
}

/// 10,000 rounds: a statement is dropped at a random moment and cancelled, and the next user of the same connection never
/// gets the cancellation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_never_hits_the_next_user() {
    const ROUNDS: u32 = 10_000;
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (4, 4);
        settings.acquire_timeout = Duration::from_secs(30);
        settings.max_uses = u32::MAX;
    })
    .await;
    let rounds = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..4_u64)
        .map(|task| {
            let (pool, rounds) = (pool.clone(), Arc::clone(&rounds));
            tokio::spawn(async move {
                while rounds.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                    let round = u64::from(rounds.load(Ordering::Relaxed));
                    // From at once to about as long as the statement takes.
                    let patience = Duration::from_micros((round * 7_919 + task * 131) % 1_500);
                    let given_up = pool.batch_execute("SELECT count(*) FROM generate_series(1, 3000)");
                    tokio::select! {
                        biased;
                        done = given_up => done.expect("what ends in time ends well"),
                        () = sleep(patience) => {}
                    }
                    let next: i32 = pool.one("SELECT 7", &[]).await.expect("not cancelled");
                    assert_eq!(next, 7);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no next user was hit");
    }
    let stats = pool.stats();
    assert!(stats.closed.total() <= ROUNDS / 100, "connections are used again: {stats:?}");
}
