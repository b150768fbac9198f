//! What goes wrong on lanes: sessions that are killed, callers who go away, and deadlines.

use std::time::{Duration, Instant};

use db_core::{Executor, Outcome, Query};
use db_pool::Pool;
use db_testkit::{Fault, Proxy};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{SLEEP, known, learn};
use crate::support::{client, database, eventually, pool, settings};

const INSERT: &str = "INSERT INTO t (id) VALUES ($1)";

async fn kill_all_but_own(admin: &tokio_postgres::Client) {
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.execute(kill, &[]).await.expect("killed");
}

/// Writes in flight on a lane that is killed: who was told of success has it, who was told that it had no effect has not, and
/// nobody has it twice. Then lanes come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_lane_loses_nothing() {
    let database = database().await;
    let admin = client(database.url()).await;
    admin.batch_execute("CREATE TABLE t (id int8)").await.expect("a table");
    let pool = pool(&database, |settings| (settings.max, settings.queue_limit) = (8, 1_000)).await;
    for id in 0..20_i64 {
        pool.execute(INSERT, &[&-id]).await.expect("learned");
    }
    let writers = (0..40_i64).map(|writer| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut told = Vec::new();
            for number in 1..=100 {
                let id = writer * 1_000 + number;
                told.push((id, pool.execute(INSERT, &[&id]).await));
            }
            told
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..5 {
        let before = pool.stats().lanes.statements;
        eventually("they write on lanes", async || {
            pool.stats().lanes.statements > before + 50 || writers.iter().all(|writer| writer.is_finished())
        })
        .await;
        kill_all_but_own(&admin).await;
    }
    let (mut succeeded, mut unknown, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for writer in join_all(writers).await {
        for (id, told) in writer.expect("no panic") {
            match told {
                Ok(rows) => {
                    assert_eq!(rows, 1);
                    succeeded.push(id);
                }
                Err(error) if error.outcome() == Outcome::Unknown => unknown.push(id),
                Err(_) => failed.push(id),
            }
        }
    }
    let rows = admin.query("SELECT id, count(*) FROM t WHERE id > 0 GROUP BY id", &[]).await.expect("rows");
    let stored: std::collections::HashMap<i64, i64> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(stored.values().all(|count| *count == 1), "nothing twice");
    assert!(succeeded.iter().all(|id| stored.contains_key(id)), "nothing lost");
    assert!(failed.iter().all(|id| !stored.contains_key(id)), "what failed had no effect");
    assert!(!unknown.is_empty() || !failed.is_empty(), "some were hit");
    assert!(succeeded.len() > 2_000, "most were not: {}", succeeded.len());
    comes_back(&pool).await;
}

/// What the server did on a lane and could not say any more is not done again, and its caller is told that nobody knows.
#[tokio::test]
async fn what_was_done_and_not_answered_is_not_done_again() {
    let database = database().await;
    let admin = client(database.url()).await;
    admin.batch_execute("CREATE TABLE t (id int8)").await.expect("a table");
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings();
    settings.max = 4;
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    eventually("it runs on a lane", async || {
        pool.execute(INSERT, &[&0_i64]).await.expect("well");
        known(&pool, INSERT).on_lanes > 0
    })
    .await;
    let before = known(&pool, INSERT).alone;
    let lost = proxy.inject(Fault::lost_answer().nth(1));
    let error = pool.execute(INSERT, &[&1_i64]).await.expect_err("no answer");
    assert_eq!((error.outcome(), lost.fired()), (Outcome::Unknown, 1), "{error}");
    let count = "SELECT count(*) FROM t WHERE id = 1";
    assert_eq!(admin.query_one(count, &[]).await.expect("a row").get::<_, i64>(0), 1);
    assert_eq!(known(&pool, INSERT).alone, before);
    comes_back(&pool).await;
}

async fn comes_back(pool: &Pool) {
    let before = pool.stats().lanes.statements;
    eventually("lanes come back", async || {
        pool.one::<i32>("SELECT 1", &[]).await.ok();
        pool.stats().lanes.statements > before + 5
    })
    .await;
}

/// A caller who goes away cancels nobody: those behind it get their answers, and the lane is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_takes_nobody_along() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.max = 4).await;
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    let given_up = tokio::spawn({
        let pool = pool.clone();
        async move {
            timeout(Duration::from_millis(2), pool.one::<i64>(SLEEP, &[&0.15_f64, &0_i64])).await.is_err()
        }
    });
    eventually("it runs", async || pool.stats().lanes.in_flight > 0 || given_up.is_finished()).await;
    let others = (1..=20_i64).map(|number| {
        let pool = pool.clone();
        async move { pool.one::<i64>("SELECT $1::int8", &[&number]).await.expect("its own") == number }
    });
    assert!(join_all(others).await.into_iter().all(|own| own));
    assert!(given_up.await.expect("no panic"));
    comes_back(&pool).await;
    assert_eq!((pool.stats().opened, pool.stats().lanes.open), (pool.stats().total.into(), 1));
}

/// B2, E6: a deadline holds on a lane as anywhere, and what runs is ended by the time-out of the lane.
#[tokio::test]
async fn a_deadline_holds() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.max = 4).await;
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    let begun = Instant::now();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(100);
    let late = pool.autocommit().until(deadline).one::<i64>(SLEEP, &[&60_f64, &1_i64]).await;
    assert_eq!(late.expect_err("too late").outcome(), Outcome::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    eventually("the server has ended it", async || pool.stats().lanes.in_flight == 0).await;
    let passed = tokio::time::Instant::now() - Duration::from_millis(1);
    let error = pool.autocommit().until(passed).one::<i64>(SLEEP, &[&0_f64, &1_i64]).await.expect_err("late");
    assert_eq!(error.outcome(), Outcome::NotExecuted, "{error}");
}

/// A statement that waits for another one's lock on a lane does not keep that one, behind it on the same lane, from ending it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_lock_ends() {
    const UPDATE: &str = "UPDATE t SET n = n + 1 WHERE id = $1";
    let database = database().await;
    let pool = pool(&database, |settings| settings.max = 4).await;
    pool.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY, n int8); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .expect("a table");
    for _ in 0..12 {
        pool.execute(UPDATE, &[&2_i64]).await.expect("learned");
    }
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    let mut conn = pool.acquire().await.expect("one of its own");
    let tx = conn.begin(&db_pool::TxOptions::default()).await.expect("begun");
    tx.execute(UPDATE, &[&1_i64]).await.expect("locked");
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { pool.execute(UPDATE, &[&1_i64]).await }
    });
    eventually("it waits", async || pool.stats().lanes.in_flight > 0 || pool.stats().in_use > 2).await;
    // Whoever holds the lock needs a lane before it lets go.
    for _ in 0..5 {
        assert_eq!(pool.one::<i32>("SELECT 1", &[]).await.expect("answered"), 1);
    }
    tx.commit().await.expect("committed");
    assert_eq!(waits.await.expect("no panic").expect("updated"), 1);
    assert_eq!(pool.one::<i64>("SELECT n FROM t WHERE id = 1", &[]).await.expect("a row"), 2);
}
