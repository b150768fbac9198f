//! Prepared statements: once, bounded, and healed when the schema changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use db_core::{Executor, Query, Row};
use db_pool::Pool;
use db_testkit::TestDatabase;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::support::{client, database, eventually, pool};

const PREPARED: &str = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql";

async fn one_connection(statement_cache: usize) -> (TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min, settings.statement_cache) = (1, 1, statement_cache);
    })
    .await;
    (database, pool)
}

async fn prepared(pool: &Pool) -> i64 {
    pool.one(PREPARED, &[]).await.expect("count")
}

/// How often one and the same statement is prepared.
async fn prepared_ints(pool: &Pool) -> i64 {
    pool.one(&format!("{PREPARED} AND statement = 'SELECT $1::int'"), &[]).await.expect("count")
}

/// On bb8-postgres each query with its text is prepared anew, with a round trip of its own.
#[tokio::test]
async fn a_statement_is_prepared_once() {
    let (_database, pool) = one_connection(256).await;
    for n in 0..20 {
        assert_eq!(pool.one::<i32>("SELECT $1::int", &[&n]).await.expect("a value"), n);
    }
    assert_eq!(prepared_ints(&pool).await, 1);
}

/// Concurrent callers of one connection wait for one preparation.
#[tokio::test]
async fn a_statement_is_prepared_once_for_all_who_need_it_at_once() {
    let (_database, pool) = one_connection(256).await;
    let conn = pool.acquire().await.expect("a connection");
    let values = join_all((0..50).map(|n| {
        let conn = &conn;
        async move { conn.one::<i32>("SELECT $1::int", &[&n]).await.expect("a value") }
    }))
    .await;
    assert_eq!(values, (0..50).collect::<Vec<_>>());
    drop(conn);
    assert_eq!(prepared_ints(&pool).await, 1);
}

/// What makes room is closed on the server; nothing grows without bound.
#[tokio::test]
async fn the_cache_is_bounded_on_the_server_too() {
    let (_database, pool) = one_connection(4).await;
    for n in 0..50 {
        assert_eq!(pool.one::<i32>(&format!("SELECT {n}"), &[]).await.expect("a value"), n);
    }
    assert_eq!(prepared(&pool).await, 4);
}

#[tokio::test]
async fn the_cache_can_be_off() {
    let (_database, pool) = one_connection(0).await;
    for n in 0..20 {
        assert_eq!(pool.one::<i32>(&format!("SELECT {n}"), &[]).await.expect("a value"), n);
    }
    // The one that counts is there while it runs, and another may be on its way out.
    assert!(prepared(&pool).await <= 2);
}

/// With the driver alone, a preparation that is dropped leaves its statement on the server for ever.
#[tokio::test]
async fn a_preparation_that_is_given_up_leaves_nothing() {
    let (_database, pool) = one_connection(8).await;
    for n in 0..100_u64 {
        let sql = format!("SELECT {n}::bigint");
        timeout(Duration::from_micros(n * 7), pool.one::<i64>(&sql, &[])).await.ok();
    }
    eventually("no more than the cache holds", async || prepared(&pool).await <= 8).await;
}

/// A statement that cannot be prepared is an error each time, not a hole in the cache.
#[tokio::test]
async fn an_error_is_not_kept() {
    let (_database, pool) = one_connection(8).await;
    pool.fetch("SELECT * FROM later", &[]).await.expect_err("no such table");
    pool.batch_execute("CREATE TABLE later (n int)").await.expect("create");
    pool.fetch("SELECT * FROM later", &[]).await.expect("now there is");
}

/// 26000 outside a transaction: prepared again, and nobody notices.
#[tokio::test]
async fn a_statement_that_the_server_forgot_is_prepared_again() {
    let (_database, pool) = one_connection(8).await;
    for _ in 0..3 {
        assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("a value"), 7);
        pool.batch_execute("DEALLOCATE ALL").await.expect("deallocate");
    }
}

/// In a transaction the error is the caller's, since the server has ended what was done; the next attempt works.
#[tokio::test]
async fn in_a_transaction_the_caller_is_told() {
    let (_database, pool) = one_connection(8).await;
    pool.one::<i32>("SELECT 7", &[]).await.expect("a value");
    let result = pool
        .tx(async |tx| {
            tx.batch_execute("DEALLOCATE ALL").await?;
            tx.one::<i32>("SELECT 7", &[]).await
        })
        .await;
    assert_eq!(result.expect_err("told").sqlstate().map(|code| code.to_string()).as_deref(), Some("26000"));
    assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("a value"), 7);
}

/// A13: a migration changes the type of a column that is being read and written all the time, and nobody gets an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_changes_under_load_is_no_error() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (4, 4)).await;
    pool.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 7)")
        .await
        .expect("set up");
    let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (pool, is_over, served) = (pool.clone(), Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let row: Row = pool.one("SELECT n FROM t WHERE id = $1", &[&1]).await.expect("no error");
                    let number =
                        row.try_get::<_, i64>(0).or_else(|_| row.try_get::<_, i32>(0).map(i64::from));
                    assert_eq!(number.expect("either type"), 7);
                    pool.execute("UPDATE t SET n = n WHERE id = $1", &[&1]).await.expect("no error");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let aside = client(database.url()).await;
    for kind in ["bigint", "int", "bigint"] {
        let until = served.load(Ordering::Relaxed) + 100;
        eventually("it is used", async || served.load(Ordering::Relaxed) >= until).await;
        let sql = format!("ALTER TABLE t ALTER COLUMN n TYPE {kind}");
        aside.batch_execute(&sql).await.expect("altered");
    }
    let until = served.load(Ordering::Relaxed) + 100;
    eventually("it goes on", async || served.load(Ordering::Relaxed) >= until).await;
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no error to anybody");
    }
}
