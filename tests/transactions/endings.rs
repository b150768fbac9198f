//! What is said about a transaction that did not end as it should: by COPY, by statements of its own, by lost answers.

use std::time::Duration;

use db_core::{Executor, Outcome, Phase, Query, SqlState};
use db_pool::{Pool, TxOptions};
use db_testkit::{Direction, End, Fault, Proxy, TestDatabase};
use tokio::time::{Instant, timeout};

use super::{rows, with_table};
use crate::support::{database, settings};

async fn behind_a_proxy() -> (TestDatabase, Proxy, Pool) {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    pool.batch_execute("CREATE TABLE t (n int PRIMARY KEY)").await.expect("set up");
    (database, proxy, pool)
}

/// A COPY in a transaction is a statement of it like any other.
#[tokio::test]
async fn a_copy_without_an_answer_is_rolled_back_with_its_transaction() {
    let (_database, proxy, pool) = behind_a_proxy().await;
    let into = "COPY t FROM STDIN";
    for after in 0..2 {
        let mut conn = pool.acquire().await.expect("a connection");
        let mut tx = conn.begin(&TxOptions::new()).await.expect("begin");
        if after == 0 {
            proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
        }
        let copied = match tx.copy_in(into).await {
            Ok(mut copy) => {
                copy.send("1\n").await.expect("sent");
                proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
                copy.finish().await
            }
            Err(error) => Err(error),
        };
        let error = copied.expect_err("no answer");
        assert!(matches!(error.outcome(), Outcome::RolledBack | Outcome::NotExecuted), "{after}: {error}");
        assert!(tx.first_error().is_some(), "{after}: it is why nothing is committed");
    }
    assert_eq!(rows(&pool).await, 0);
}

#[tokio::test]
async fn a_copy_that_failed_is_why_nothing_is_committed() {
    let (_database, _proxy, pool) = behind_a_proxy().await;
    let result = pool.tx(async |tx| {
        let mut copy = tx.copy_in("COPY t FROM STDIN").await?;
        copy.send("1\n1\n").await?;
        copy.finish().await.expect_err("the key");
        Ok(())
    });
    assert_eq!(result.await.expect_err("not committed").sqlstate(), SqlState::new("23505"));
    let result = pool.tx(async |tx| {
        let mut copy =
            tx.copy_out("COPY (SELECT 1 / (3 - n) FROM generate_series(1, 5) n) TO STDOUT").await?;
        while let Ok(Some(_)) = copy.next().await {}
        Ok(())
    });
    assert_eq!(result.await.expect_err("not committed").sqlstate(), SqlState::new("22012"));
    assert_eq!(rows(&pool).await, 0);
}

/// The first error is the first that still matters.
#[tokio::test]
async fn an_error_that_was_undone_is_not_reported_for_another() {
    let (_database, _proxy, pool) = behind_a_proxy().await;
    let result = pool.tx(async |tx| {
        tx.batch_execute("SAVEPOINT a").await?;
        tx.execute("INSERT INTO missing VALUES (1)", &[]).await.expect_err("no such table");
        tx.batch_execute("ROLLBACK TO a").await?;
        assert!(tx.first_error().is_none());
        tx.execute("SELECT 1 / 0", &[]).await.expect_err("division by zero");
        Ok(())
    });
    assert_eq!(result.await.expect_err("rolled back").sqlstate(), SqlState::new("22012"));
}

const ENDINGS: [&str; 7] = [
    "COMMIT",
    "ROLLBACK",
    "ABORT",
    "COMMIT AND CHAIN",
    "COMMIT; BEGIN",
    "ROLLBACK AND CHAIN",
    "ROLLBACK; START TRANSACTION",
];

/// Where no transaction is any more, a statement would be committed alone.
#[tokio::test]
async fn nothing_runs_in_a_transaction_that_was_ended() {
    let (_database, _proxy, pool) = behind_a_proxy().await;
    for (at, ending) in ENDINGS.into_iter().enumerate() {
        let first = 10 * at as i32;
        let mut refused = None;
        let result = pool
            .tx(async |tx| {
                tx.execute("INSERT INTO t VALUES ($1)", &[&first]).await?;
                tx.batch_execute(ending).await?;
                refused = tx.execute("INSERT INTO t VALUES ($1)", &[&(first + 1)]).await.err();
                Ok(())
            })
            .await;
        let error = result.expect_err("not by us");
        assert_eq!(refused.map(|error| error.outcome()), Some(Outcome::NotExecuted), "{ending}");
        let stays: i64 = pool.one("SELECT count(*) FROM t WHERE n >= $1", &[&first]).await.expect("count");
        let is_committed = ending.starts_with("COMMIT");
        let expect = if is_committed { (Outcome::Executed, 1) } else { (Outcome::NotExecuted, 0) };
        assert_eq!((error.outcome(), stays), expect, "{ending}: {error}");
    }
}

/// What is set with BEGIN for longer than the transaction is undone like any other setting.
#[tokio::test]
async fn a_setting_that_came_with_begin_does_not_reach_the_next_caller() {
    let (_database, _proxy, pool) = behind_a_proxy().await;
    let usual: String = pool.one("SHOW work_mem", &[]).await.expect("look");
    for first in ["SET work_mem = '123kB'", "SELECT set_config('work_mem', '124kB', false)"] {
        let options = TxOptions::new().first(first);
        let set = pool.tx_with(&options, async |tx| tx.one::<String>("SHOW work_mem", &[]).await);
        assert_ne!(set.await.expect("set"), usual, "{first}");
        assert_eq!(pool.one::<String>("SHOW work_mem", &[]).await.expect("look"), usual, "{first}");
    }
}

/// The end of an error's answer is lost: COMMIT was never sent.
#[tokio::test]
async fn a_commit_that_was_not_sent_leaves_no_doubt() {
    let (_database, proxy, pool) = behind_a_proxy().await;
    for bytes in 1..200 {
        let mut conn = pool.acquire().await.expect("a connection");
        let tx = conn.begin(&TxOptions::new()).await.expect("begin");
        let lost = proxy.inject(Fault::cut_after(Direction::ToClient, bytes).nth(1).end(End::Close));
        tx.batch_execute("INSERT INTO missing VALUES (1)").await.expect_err("no such table");
        let error = tx.commit().await.expect_err("not committed");
        assert!(matches!(error.outcome(), Outcome::RolledBack | Outcome::NotExecuted), "{bytes}: {error}");
        if lost.fired() == 0 {
            proxy.withdraw_all();
            break;
        }
    }
}

/// It commits and goes on, and its caller does not wait: nobody may say that nothing of it is there.
#[tokio::test]
async fn a_commit_inside_of_what_was_abandoned_is_in_doubt() {
    let (_database, pool) = with_table().await;
    let commits = "INSERT INTO t VALUES (1); COMMIT; SELECT pg_sleep(60)";
    let mut conn = pool.acquire().await.expect("a connection");
    let tx = conn.begin(&TxOptions::new()).await.expect("begin");
    let waited = timeout(Duration::from_millis(300), tx.batch_execute(commits)).await;
    waited.expect_err("it goes on");
    let error = tx.commit().await.expect_err("nobody knows");
    assert_eq!((error.outcome(), error.phase()), (Outcome::Unknown, Phase::Commit), "{error}");
    drop(conn);

    let late = TxOptions::new().deadline(Instant::now() + Duration::from_millis(300));
    let batch = "INSERT INTO t VALUES (2); COMMIT; SELECT pg_sleep(60)";
    let body = async |tx: &mut db_pool::Tx<'_>| {
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        tx.batch_execute(batch).await
    };
    let error = pool.tx_with(&late, body).await.expect_err("late");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(rows(&pool).await, 2, "both are there");
}
