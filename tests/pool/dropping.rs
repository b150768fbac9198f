//! Futures that are dropped anywhere: whatever is done in whatever order, and given up at whichever await, nothing is lost
//! and nothing is left.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::Pool;
use futures_util::TryStreamExt;
use futures_util::future::{join_all, poll_fn};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::support::{client, database, eventually, pool};

/// Something that a caller does with a pool.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Acquire,
    One,
    Failing,
    Slow,
    Batch,
    BeginByHand,
    Transaction,
    FailingTransaction,
    Stream,
    HalfStream,
    CopyIn,
    CopyOut,
    Setting,
    Resize(u32),
    Rotate,
    Pause,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        Just(Acquire),
        Just(One),
        Just(Failing),
        Just(Slow),
        Just(Batch),
        Just(BeginByHand),
        Just(Transaction),
        Just(FailingTransaction),
        Just(Stream),
        Just(HalfStream),
        Just(CopyIn),
        Just(CopyOut),
        Just(Setting),
        (1..=4_u32).prop_map(Resize),
        Just(Rotate),
        Just(Pause),
    ]
}

/// Whatever comes of it: only what is left afterwards matters.
async fn run(operation: Operation, pool: &Pool) {
    match operation {
        Operation::Acquire => drop(pool.acquire().await),
        Operation::One => drop(pool.one::<i32>("SELECT $1::int", &[&7]).await),
        Operation::Failing => drop(pool.one::<i32>("SELECT 1 / $1::int", &[&0]).await),
        Operation::Slow => drop(pool.batch_execute("SELECT pg_sleep(0.02)").await),
        Operation::Batch => drop(pool.batch_execute("SELECT 1; INSERT INTO t VALUES (1); SELECT 2").await),
        Operation::BeginByHand => drop(pool.batch_execute("BEGIN; INSERT INTO t VALUES (-1)").await),
        Operation::Transaction => {
            let insert = async |tx: &mut db_pool::Tx<'_>| {
                tx.execute("INSERT INTO t VALUES ($1)", &[&1]).await?;
                tx.one::<i64>("SELECT count(*) FROM t", &[]).await
            };
            pool.tx(insert).await.ok();
        }
        Operation::FailingTransaction => {
            let fail = async |tx: &mut db_pool::Tx<'_>| {
                tx.execute("INSERT INTO t VALUES (-1)", &[]).await?;
                tx.execute("SELECT 1 / 0", &[]).await
            };
            pool.tx(fail).await.ok();
        }
        Operation::Stream | Operation::HalfStream => {
            let Ok(mut rows) = pool.stream::<i32>("SELECT generate_series(1, 500)", &[]).await else {
                return;
            };
            let wanted = if matches!(operation, Operation::Stream) { 1_000 } else { 10 };
            for _ in 0..wanted {
                let Ok(Some(_)) = rows.try_next().await else { break };
            }
        }
        Operation::CopyIn => {
            let Ok(mut conn) = pool.acquire().await else { return };
            let Ok(mut copy) = conn.copy_in("COPY t FROM STDIN").await else { return };
            if copy.send("1\n").await.is_ok() {
                copy.finish().await.ok();
            }
        }
        Operation::CopyOut => {
            let Ok(mut conn) = pool.acquire().await else { return };
            let Ok(mut copy) = conn.copy_out("COPY t TO STDOUT").await else { return };
            while let Ok(Some(_)) = copy.next().await {}
        }
        Operation::Setting => drop(pool.batch_execute("SET work_mem = '77MB'").await),
        Operation::Resize(max) => drop(pool.resize(max)),
        Operation::Rotate => pool.rotate(),
        Operation::Pause => {
            pool.pause(Duration::from_millis(5)).await.ok();
            pool.resume();
        }
    }
}

/// Drops `work` when it has been polled that often.
async fn dropped_after(polls: u32, work: impl Future<Output = ()>) {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        work.as_mut().poll(cx)
    })
    .await;
}

/// Requirement of the wire tap: only what is idle, with nothing in flight, is handed out.
#[test]
fn whatever_is_dropped_wherever_nothing_is_left() {
    let runtime = Runtime::new().expect("a runtime");
    let (database, pool, aside) = runtime.block_on(async {
        let database = database().await;
        let pool = pool(&database, |settings| {
            (settings.max, settings.min) = (3, 1);
            settings.acquire_timeout = Duration::from_secs(5);
        })
        .await;
        pool.batch_execute("CREATE TABLE t (n int)").await.expect("set up");
        let aside = client(database.url()).await;
        (database, pool, aside)
    });
    // A sequence for each of four callers; each operation with the number of polls after which it is dropped.
    let sequence = prop::collection::vec((operation(), 0..12_u32), 1..12);
    let sequences = prop::collection::vec(sequence, 4);
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let result = runner.run(&sequences, |sequences| {
        runtime.block_on(async {
            join_all(sequences.into_iter().map(|sequence| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for (operation, polls) in sequence {
                        dropped_after(polls, run(operation, &pool)).await;
                    }
                })
            }))
            .await;
            pool.resume();
            pool.resize(3);
            nothing_is_left(&pool, &aside).await;
        });
        Ok(())
    });
    drop(database);
    result.expect("nothing is left");
}

async fn nothing_is_left(pool: &Pool, aside: &tokio_postgres::Client) {
    eventually("all are given back", async || {
        let stats = pool.stats();
        (stats.in_use, stats.waiting) == (0, 0)
    })
    .await;
    let busy = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'db' AND state <> 'idle'";
    let busy: i64 = aside.query_one(busy, &[]).await.expect("look").get(0);
    assert_eq!(busy, 0, "no transaction is open and nothing runs");
    // As many as the pool may have, all at once, each as new, and no more.
    let all = timeout(Duration::from_secs(5), join_all((0..3).map(|_| pool.acquire()))).await;
    let all: Vec<_> =
        all.expect("no place is lost").into_iter().map(|conn| conn.expect("a connection")).collect();
    for conn in &all {
        let (memory, count): (String, i64) = conn
            .one("SELECT current_setting('work_mem'), (SELECT count(*) FROM t WHERE n = -1)", &[])
            .await
            .expect("a clean connection");
        assert_eq!((memory.as_str(), count), ("4MB", 0));
    }
    assert_eq!((pool.stats().in_use, pool.stats().total), (3, 3));
    let fourth = timeout(Duration::from_millis(1), pool.acquire()).await;
    assert!(fourth.is_err(), "no place was won");
    drop(all);
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'db'";
    let mut on_server: i64 = i64::MAX;
    for _ in 0..200 {
        on_server = aside.query_one(sessions, &[]).await.expect("look").get(0);
        if on_server <= 3 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(on_server <= 3, "{on_server} sessions on the server");
}
