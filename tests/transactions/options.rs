//! How a transaction is begun: isolation, access, deadline; and what its end says.

use std::time::Duration;

use db_core::{Error, Executor, Kind, Outcome, Query, SqlState};
use db_pool::{Isolation, TxOptions};
use tokio::time::Instant;

use super::{rows, with_table};
use crate::support::{client, eventually};

const SETTINGS: &str =
    "SELECT current_setting('transaction_isolation') || ' ' || current_setting('transaction_read_only')
    || ' ' || current_setting('transaction_deferrable') || ' ' || current_setting('statement_timeout')";

#[tokio::test]
async fn a_transaction_is_what_it_was_asked_to_be() {
    let (_database, pool) = with_table().await;
    let check = async |options: &TxOptions, expect: &str| {
        let told: String = pool.tx_with(options, async |tx| tx.one(SETTINGS, &[]).await).await.expect(expect);
        assert_eq!(told, expect);
    };
    check(&TxOptions::new(), "read committed off off 5s").await;
    check(&TxOptions::new().isolation(Isolation::RepeatableRead), "repeatable read off off 5s").await;
    let report = TxOptions::new().isolation(Isolation::Serializable).read_only().deferrable();
    check(&report, "serializable on on 5s").await;
    check(&TxOptions::new(), "read committed off off 5s").await;
    assert_eq!(pool.stats().opened, 1, "all on one connection");
}

#[tokio::test]
async fn read_only_refuses_writes() {
    let (_database, pool) = with_table().await;
    let options = TxOptions::new().read_only();
    let written = pool.tx_with(&options, async |tx| tx.execute("INSERT INTO t VALUES (1)", &[]).await).await;
    assert_eq!(written.expect_err("refused").sqlstate(), SqlState::new("25006"));
}

/// The server ends the statement first, and says so; the connection stays.
#[tokio::test]
async fn the_server_knows_the_deadline() {
    let (_database, pool) = with_table().await;
    let started = Instant::now();
    let options = TxOptions::new().deadline(started + Duration::from_millis(400));
    let slow = pool.tx_with(&options, async |tx| tx.batch_execute("SELECT pg_sleep(60)").await).await;
    assert_eq!(slow.expect_err("too slow").sqlstate(), SqlState::new("57014"));
    let timeout: String = pool.one("SHOW statement_timeout", &[]).await.expect("as before");
    assert_eq!((timeout.as_str(), pool.stats().opened), ("5s", 1));
}

/// Whatever the body waits for, the transaction ends with its deadline, and nothing of it stays.
#[tokio::test]
async fn the_deadline_ends_a_body_that_waits_for_something_else() {
    let (_database, pool) = with_table().await;
    let limit = Duration::from_millis(300);
    let options = TxOptions::new().deadline(Instant::now() + limit);
    let waiting = pool.tx_with(&options, async |tx| {
        tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    let error = waiting.await.expect_err("late");
    assert_eq!((error.kind(), error.outcome()), (Kind::Performance, Outcome::RolledBack), "{error}");
    assert_eq!((rows(&pool).await, pool.stats().opened), (0, 1));
}

#[tokio::test]
async fn nothing_is_committed_after_the_deadline() {
    let (_database, pool) = with_table().await;
    let mut conn = pool.acquire().await.expect("a connection");
    let deadline = Instant::now() + Duration::from_millis(300);
    let tx = conn.begin(&TxOptions::new().deadline(deadline)).await.expect("begin");
    tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("in time");
    tokio::time::sleep_until(deadline).await;
    let error = tx.commit().await.expect_err("late");
    assert_eq!(error.outcome(), Outcome::RolledBack, "{error}");
    drop(conn);
    assert_eq!(rows(&pool).await, 0);
}

/// E5: the loser of a race is told that the whole may run again.
#[tokio::test]
async fn a_serializable_transaction_that_does_not_fit_is_refused() {
    let (database, pool) = with_table().await;
    let other = crate::support::pool(&database, |_| {}).await;
    let options = TxOptions::new().isolation(Isolation::Serializable);
    let (mut first, mut second) =
        (pool.acquire().await.expect("one"), other.acquire().await.expect("another"));
    let (one, two) =
        (first.begin(&options).await.expect("begin"), second.begin(&options).await.expect("begin"));
    for tx in [&one, &two] {
        let _: i64 = tx.one("SELECT count(*) FROM t", &[]).await.expect("look");
    }
    one.execute("INSERT INTO t VALUES (1)", &[]).await.expect("write");
    one.commit().await.expect("the first wins");
    let lost = async {
        two.execute("INSERT INTO t VALUES (2)", &[]).await?;
        two.commit().await
    };
    let error: Error = lost.await.expect_err("the second loses");
    assert_eq!(
        (error.sqlstate(), error.outcome()),
        (Some(SqlState::SERIALIZATION_FAILURE), Outcome::RolledBack)
    );
}

#[tokio::test]
async fn what_is_begun_by_hand_and_dropped_is_rolled_back() {
    let (_database, pool) = with_table().await;
    let mut conn = pool.acquire().await.expect("a connection");
    let tx = conn.begin(&TxOptions::new().first("INSERT INTO t VALUES (7)")).await.expect("begin");
    assert_eq!(tx.one::<i32>("SELECT n FROM t", &[]).await.expect("look"), 7, "it ran with BEGIN");
    drop(tx);
    drop(conn);
    assert_eq!((rows(&pool).await, pool.stats().total), (0, 1));
}

/// The session is ended while COMMIT waits for the constraint, which waits for a lock: nobody says what became of it.
#[tokio::test]
async fn a_commit_without_an_answer_is_unknown_and_its_connection_is_closed() {
    let (database, pool) = with_table().await;
    let wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()";
    pool.batch_execute(wait).await.expect("set up");
    let aside = client(database.url()).await;
    aside.batch_execute("SELECT pg_advisory_lock(1)").await.expect("lock");

    let options = TxOptions::new().deadline(Instant::now() + Duration::from_millis(500));
    let body = async |tx: &mut db_pool::Tx<'_>| tx.execute("INSERT INTO t VALUES (1)", &[]).await;
    let error = pool.tx_with(&options, body).await.expect_err("no answer");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(error.to_string().starts_with("commit: whether it took effect is unknown: "), "{error}");
    eventually("the pool has a connection that works", async || {
        pool.one::<i32>("SELECT 1", &[]).await.is_ok()
    })
    .await;
    assert_eq!(pool.stats().opened, 2, "the other was closed");
}

/// Errors of the body's own type, in a transaction with options.
#[tokio::test]
async fn a_body_with_errors_of_its_own_may_have_options() {
    let (_database, pool) = with_table().await;
    let refused: Result<(), Box<dyn std::error::Error>> = pool
        .try_tx_with(&TxOptions::new().isolation(Isolation::Serializable), async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            Err("changed my mind".into())
        })
        .await;
    assert_eq!(
        (refused.expect_err("rolled back").to_string().as_str(), rows(&pool).await),
        ("changed my mind", 0)
    );
}
