//! Transactions: all or nothing, whatever the body does.

mod batch;
mod batch_lost;
mod endings;
mod nested;
mod options;

use std::time::Duration;

use db_core::{Cause, Error, Executor, Outcome, Phase, Query, Signal, SqlState};
use db_pool::Pool;
use db_testkit::TestDatabase;

use crate::support::{client, database, eventually, pool};

async fn with_table() -> (TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| {
        settings.max = 1;
        settings.min = 1;
    })
    .await;
    pool.batch_execute("CREATE TABLE t (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        .await
        .expect("set up");
    (database, pool)
}

async fn rows(pool: &Pool) -> i64 {
    pool.one("SELECT count(*) FROM t", &[]).await.expect("count")
}

fn changed_my_mind() -> Error {
    Error::new(Signal::new(Cause::UnexpectedResult, Phase::Execute), "changed my mind")
}

/// C3: commit on success, roll back on error.
#[tokio::test]
async fn commit_on_success_and_roll_back_on_error() {
    let (_database, pool) = with_table().await;
    let given: i32 =
        pool.tx(async |tx| tx.one("INSERT INTO t VALUES (1) RETURNING n", &[]).await).await.expect("commit");
    assert_eq!((given, rows(&pool).await), (1, 1));

    let error = pool
        .try_tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (2)", &[]).await.map_err(|error| error.to_string())?;
            Err::<(), Refused>(Refused("changed my mind".into()))
        })
        .await
        .expect_err("rolled back");
    assert_eq!((error.0.as_str(), rows(&pool).await), ("changed my mind", 1));
}

#[derive(Debug)]
struct Refused(String);

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// The server answers COMMIT of a failed transaction with ROLLBACK, which the driver takes for success.
#[tokio::test]
async fn do_not_commit_after_a_failed_statement() {
    let (_database, pool) = with_table().await;
    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tx.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
            let aborted = tx.execute("INSERT INTO t VALUES (2)", &[]).await.expect_err("aborted");
            assert_eq!(aborted.sqlstate(), SqlState::new("42P01"), "the first error is reported");
            Ok(())
        })
        .await;
    let error = result.expect_err("rolled back");
    assert!(
        error.to_string().starts_with("the transaction was rolled back: relation \"missing\""),
        "{error}"
    );
    assert_eq!((error.outcome(), rows(&pool).await), (Outcome::RolledBack, 0));
}

#[tokio::test]
async fn commit_after_going_back_to_a_savepoint() {
    let (_database, pool) = with_table().await;
    pool.tx(async |tx| {
        tx.batch_execute("SAVEPOINT a").await?;
        tx.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
        tx.batch_execute("ROLLBACK TO a").await?;
        tx.execute("INSERT INTO t VALUES (1)", &[]).await
    })
    .await
    .expect("commit");
    assert_eq!(rows(&pool).await, 1);
}

#[tokio::test]
async fn report_what_commit_refuses() {
    let (_database, pool) = with_table().await;
    let doubled = pool.tx(async |tx| tx.execute("INSERT INTO t VALUES (1), (1)", &[]).await).await;
    let error = doubled.expect_err("the key is checked at COMMIT");
    assert_eq!((error.sqlstate(), error.outcome()), (SqlState::new("23505"), Outcome::RolledBack));
    assert!(error.to_string().starts_with("commit: duplicate key"), "{error}");
    assert_eq!((rows(&pool).await, pool.stats().total), (0, 1), "the connection stays");
}

#[tokio::test]
async fn roll_back_when_the_body_panics() {
    let (_database, pool) = with_table().await;
    let task = tokio::spawn({
        let pool = pool.clone();
        async move {
            pool.tx(async |tx| {
                tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
                assert_eq!(1, 2, "on purpose");
                Ok(())
            })
            .await
        }
    });
    assert!(task.await.expect_err("a panic").is_panic());
    assert_eq!(rows(&pool).await, 0);
}

/// Dropped at any await, nothing stays open on the server and the pool serves on.
#[tokio::test]
async fn roll_back_when_they_are_dropped() {
    let (database, pool) = with_table().await;
    let dropped = pool.tx(async |tx| {
        tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
        tx.batch_execute("SELECT pg_sleep(60)").await
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), dropped).await.is_err());
    assert_eq!(rows(&pool).await, 0);
    let aside = client(database.url()).await;
    eventually("the abandoned statement is gone", async || {
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND pid <> pg_backend_pid() AND (state <> 'idle' OR xact_start IS NOT NULL)";
        aside.query_one(busy, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;
}

/// What was abandoned may fail after the body has ended, and COMMIT would be answered as if all were well.
#[tokio::test]
async fn do_not_commit_what_was_abandoned() {
    let (_database, pool) = with_table().await;
    let patience = Duration::from_millis(50);
    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tokio::time::timeout(patience, tx.batch_execute("SELECT pg_sleep(60)"))
                .await
                .expect_err("too slow");
            Ok(())
        })
        .await;
    let error = result.expect_err("not committed");
    assert!(error.to_string().starts_with("not committed: a statement"), "{error}");
    assert_eq!(rows(&pool).await, 0);

    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            let mut rows = tx.stream::<i32>("SELECT 1 / (5 - n) FROM generate_series(1, 9) n", &[]).await?;
            futures_util::TryStreamExt::try_next(&mut rows).await?;
            Ok(())
        })
        .await;
    assert!(result.is_err(), "half-read, with an error behind");
    assert_eq!(rows(&pool).await, 0);
}

/// An error that is ignored is still an error, whatever succeeds after it.
#[tokio::test]
async fn do_not_forget_an_error_over_later_success() {
    let (_database, pool) = with_table().await;
    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tx.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
            tx.batch_execute("-- nothing").await
        })
        .await;
    assert_eq!(result.expect_err("rolled back").sqlstate(), SqlState::new("42P01"));
    assert_eq!(rows(&pool).await, 0);
}

/// A caller that keeps its connection must not commit the old transaction with the next.
#[tokio::test]
async fn refuse_a_connection_with_an_abandoned_transaction() {
    let (_database, pool) = with_table().await;
    let mut conn = pool.acquire().await.expect("a connection");
    let abandoned = conn.tx(async |tx| {
        tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    tokio::time::timeout(Duration::from_millis(200), abandoned).await.expect_err("pending");
    let error =
        conn.tx(async |tx| tx.execute("INSERT INTO t VALUES (2)", &[]).await).await.expect_err("refused");
    assert!(error.to_string().starts_with("a transaction on this connection was abandoned"), "{error}");
    conn.execute("INSERT INTO t VALUES (3)", &[]).await.expect_err("refused as well");
    drop(conn);
    assert_eq!((rows(&pool).await, pool.stats().total), (0, 1), "rolled back, and the connection stays");
}

/// A spawned task needs a future that is `Send`.
#[tokio::test]
async fn run_in_spawned_tasks() {
    let (_database, pool) = with_table().await;
    let tasks: Vec<_> = (0..20)
        .map(|n: i32| {
            let pool = pool.clone();
            tokio::spawn(async move {
                pool.tx(async |tx| tx.execute("INSERT INTO t VALUES ($1)", &[&n]).await).await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("commit");
    }
    assert_eq!(rows(&pool).await, 20);
}
