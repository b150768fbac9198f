//! Savepoints: a part of a transaction that is undone alone.

use std::time::Duration;

use db_core::{Error, Executor, Query, SqlState};

use super::{rows, with_table};

#[tokio::test]
async fn a_part_is_kept_or_undone_alone() {
    let (_database, pool) = with_table().await;
    let kept = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            let undone: Result<(), Error> = tx
                .tx(async |part| {
                    part.execute("INSERT INTO t VALUES (2)", &[]).await?;
                    part.execute("INSERT INTO missing VALUES (2)", &[]).await.map(drop)
                })
                .await;
            assert_eq!(undone.expect_err("undone").sqlstate(), SqlState::new("42P01"));
            tx.tx(async |part| {
                part.execute("INSERT INTO t VALUES (3)", &[]).await?;
                let inner = part.tx(async |_| Err::<(), _>(super::changed_my_mind())).await;
                inner.expect_err("undone");
                part.tx(async |deepest| deepest.one::<i32>("INSERT INTO t VALUES (4) RETURNING n", &[]).await)
                    .await
            })
            .await
        })
        .await;
    assert_eq!(kept.expect("commit"), 4);
    let left: Vec<i32> = pool.query("SELECT n FROM t ORDER BY n", &[]).await.expect("look");
    assert_eq!(left, [1, 3, 4]);
}

/// Whoever ignores an error in a savepoint loses the savepoint, not the transaction.
#[tokio::test]
async fn an_ignored_error_undoes_its_part() {
    let (_database, pool) = with_table().await;
    pool.tx(async |tx| {
        let part = tx
            .tx(async |part| {
                part.execute("INSERT INTO t VALUES (1)", &[]).await?;
                part.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
                let next = part.execute("INSERT INTO t VALUES (2)", &[]).await.expect_err("aborted");
                assert_eq!(next.sqlstate(), SqlState::new("42P01"), "the first error is reported");
                Ok(())
            })
            .await;
        assert_eq!(part.expect_err("undone").sqlstate(), SqlState::new("42P01"));
        tx.execute("INSERT INTO t VALUES (3)", &[]).await
    })
    .await
    .expect("commit");
    assert_eq!(rows(&pool).await, 1);
}

/// What is left of it must not be committed with the rest.
#[tokio::test]
async fn a_dropped_part_takes_the_transaction_with_it() {
    let (_database, pool) = with_table().await;
    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            let part = tx.tx(async |part| {
                part.execute("INSERT INTO t VALUES (2)", &[]).await?;
                std::future::pending::<()>().await;
                Ok(())
            });
            tokio::time::timeout(Duration::from_millis(200), part).await.expect_err("pending");
            tx.execute("INSERT INTO t VALUES (3)", &[]).await.expect_err("refused");
            Ok(())
        })
        .await;
    let error = result.expect_err("rolled back");
    assert!(error.to_string().starts_with("a transaction on this connection was abandoned"), "{error}");
    assert_eq!((rows(&pool).await, pool.stats().total), (0, 1), "rolled back, and the connection stays");
}

#[tokio::test]
async fn a_failed_transaction_takes_no_savepoint() {
    let (_database, pool) = with_table().await;
    let result = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
            tx.tx(async |_| -> Result<(), Error> { panic!("not to be run") }).await
        })
        .await;
    assert_eq!(result.expect_err("rolled back").sqlstate(), SqlState::new("42P01"));
}
