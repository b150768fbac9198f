//! What the attempts of a transaction are told apart by: one that surely left nothing runs again or is reported so, and
//! anything else does neither.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_app::{Resolver, TxOptions};
use db_core::{Error, Executor, Outcome, Query, SqlState};
use db_testkit::{Direction, Fault};
use tokio::time::Instant;

use super::database::{behind_a_proxy, open_with, rows};
use crate::support::{client, eventually};

#[derive(Debug)]
enum Mine {
    Own,
    Database,
}

impl From<Error> for Mine {
    fn from(_: Error) -> Self {
        Self::Database
    }
}

/// The answer to BEGIN is lost, as when the server was restarted and nobody has noticed: nothing can have been committed.
#[tokio::test]
async fn a_transaction_that_could_not_begin_is_run_again() {
    let (database, proxy, db) = behind_a_proxy("1").await;
    for options in [TxOptions::new(), TxOptions::new().resolver(Resolver::Marker)] {
        let insert = async |tx: &mut db_app::Tx<'_>| tx.execute("INSERT INTO t VALUES (1)", &[]).await;
        db.tx_with(&options, insert).await.expect("the way is open");
        let before = rows(&database).await;
        let lost = proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
        let error = db.tx_with(&options, insert).await.expect_err("not asked for");
        assert_eq!((error.outcome(), lost.fired()), (Outcome::RolledBack, 1), "{error}");
        db.tx_with(&options, insert).await.expect("the way is open");
        let lost = proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
        db.tx_with(&options.clone().retry(), insert).await.expect("the second time");
        assert_eq!((rows(&database).await, lost.fired()), (before + 2, 1));
    }
}

/// The table of the markers is looked for before anything begins.
#[tokio::test]
async fn nothing_is_in_doubt_before_the_transaction() {
    let (_database, proxy, db) = behind_a_proxy("1").await;
    let options = TxOptions::new().resolver(Resolver::Marker);
    // So that its preparation is not what is lost.
    db.one::<bool>("SELECT to_regclass('db_tx_outcome') IS NOT NULL", &[]).await.expect("the way is open");
    let lost = proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
    let error = db.tx_with(&options, async |_| Ok(())).await.expect_err("no table yet");
    assert_eq!((error.outcome(), lost.fired()), (Outcome::RolledBack, 1), "{error}");

    let limit = Duration::from_secs(1);
    db.one::<i32>("SELECT 1", &[]).await.expect("the way is open");
    for resolver in [Resolver::Marker, Resolver::Xid] {
        proxy.stall();
        let started = Instant::now();
        let options = TxOptions::new().resolver(resolver).retry().deadline(limit);
        let error = db.tx_with(&options, async |_| Ok(())).await.expect_err("nobody answers");
        let took = started.elapsed();
        assert!(took <= limit.mul_f64(1.1), "{resolver:?}: {took:?}");
        assert!(
            matches!(error.outcome(), Outcome::RolledBack | Outcome::NotExecuted),
            "{resolver:?}: {error}"
        );
        proxy.heal();
    }
}

/// Whatever notices first that time is up: before COMMIT there is no doubt.
#[tokio::test]
async fn a_deadline_before_the_commit_leaves_no_doubt() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for _ in 0..3 {
        let limit = Duration::from_secs(1);
        let started = Instant::now();
        let stalled = db.tx_with(&TxOptions::new().retry().deadline(limit), async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            proxy.stall();
            tx.execute("INSERT INTO t VALUES (1)", &[]).await
        });
        let error = stalled.await.expect_err("nobody answers");
        let took = started.elapsed();
        assert!(took <= limit.mul_f64(1.1), "{took:?}");
        assert_eq!(error.outcome(), Outcome::RolledBack, "{error}");
        proxy.heal();
    }
    assert_eq!(rows(&database).await, 0);
}

/// An error that was undone by hand decides nothing any more.
#[tokio::test]
async fn a_failure_that_was_undone_is_no_reason_to_run_again() {
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let aside = client(database.url()).await;
    aside
        .batch_execute("INSERT INTO t VALUES (1); BEGIN; LOCK TABLE t IN EXCLUSIVE MODE")
        .await
        .expect("lock");
    let runs = AtomicU32::new(0);
    let body = async |tx: &mut db_app::Tx<'_>| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.batch_execute("SAVEPOINT a").await?;
        let busy = tx.batch_execute("LOCK TABLE t IN EXCLUSIVE MODE NOWAIT").await.expect_err("locked");
        assert_eq!(busy.sqlstate(), Some(SqlState::LOCK_NOT_AVAILABLE));
        tx.batch_execute("ROLLBACK TO a").await?;
        Err::<(), _>(Mine::Own)
    };
    let refused = db.try_tx_with(&TxOptions::new().retry(), body).await.expect_err("by itself");
    assert!(matches!(refused, Mine::Own));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

/// A body that commits by itself: what comes after can neither be undone nor run again.
#[tokio::test]
async fn what_a_body_committed_by_itself_is_not_run_again() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    let aside = client(database.url()).await;
    for ending in ["COMMIT", "COMMIT AND CHAIN", "COMMIT; BEGIN", "END"] {
        let before = rows(&database).await;
        let runs = AtomicU32::new(0);
        let body = async |tx: &mut db_app::Tx<'_>| {
            runs.fetch_add(1, Ordering::Relaxed);
            let pid: i32 = tx.one("SELECT pg_backend_pid()", &[]).await?;
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tx.batch_execute(ending).await?;
            aside.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate");
            tx.execute("INSERT INTO t VALUES (2)", &[]).await
        };
        db.tx_with(&TxOptions::new().retry(), body).await.expect_err("ended by itself");
        assert_eq!((rows(&database).await - before, runs.load(Ordering::Relaxed)), (1, 1), "{ending}");
        runs.store(0, Ordering::Relaxed);
        let body = async |tx: &mut db_app::Tx<'_>| Ok::<_, Mine>(body(tx).await?);
        db.try_tx_with(&TxOptions::new().retry(), body).await.expect_err("ended by itself");
        assert_eq!((rows(&database).await - before, runs.load(Ordering::Relaxed)), (2, 1), "{ending}");
    }
    // The marker went with the ROLLBACK, so that nobody could say what became of the rest.
    for ending in ["ROLLBACK AND CHAIN", "ROLLBACK; BEGIN"] {
        let before = rows(&database).await;
        proxy.withdraw_all();
        proxy.inject(Fault::lost_acknowledgement().nth(1));
        let runs = AtomicU32::new(0);
        let body = async |tx: &mut db_app::Tx<'_>| {
            runs.fetch_add(1, Ordering::Relaxed);
            tx.batch_execute(ending).await?;
            tx.execute("INSERT INTO t VALUES (1)", &[]).await
        };
        let options = TxOptions::new().retry().resolver(Resolver::Marker);
        db.tx_with(&options, body).await.expect_err("ended by itself");
        assert_eq!((rows(&database).await - before, runs.load(Ordering::Relaxed)), (0, 1), "{ending}");
    }
}

/// What a transaction refuses because it was asked to, it refuses again.
#[tokio::test]
async fn a_write_in_a_read_only_transaction_is_not_run_again() {
    let (_database, _proxy, db) = behind_a_proxy("4").await;
    let runs = AtomicU32::new(0);
    let write = async |tx: &mut db_app::Tx<'_>| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.execute("INSERT INTO t VALUES (1)", &[]).await
    };
    let error = db.tx_with(&TxOptions::new().read_only().retry(), write).await.expect_err("refused");
    assert_eq!((error.sqlstate(), runs.load(Ordering::Relaxed)), (Some(SqlState::READ_ONLY_TRANSACTION), 1));
}

/// The index stays behind, invalid: a second run would hide why.
#[tokio::test]
async fn what_is_several_transactions_is_run_once() {
    let (database, proxy, _) = behind_a_proxy("1").await;
    let db = open_with(&proxy.url(), "1", &[("DB_LOCK_TIMEOUT_MS", "300"), ("DB_RETRY_ON", "all")]).await;
    let aside = client(database.url()).await;
    aside.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("a lock");
    let error =
        db.execute("CREATE INDEX CONCURRENTLY i ON t (n)", &[]).await.expect_err("it waits for the lock");
    assert_eq!(error.sqlstate(), Some(SqlState::LOCK_NOT_AVAILABLE), "{error}");
}

/// The resolver waits for a COMMIT under way for longer than statements may take.
#[tokio::test]
async fn a_commit_that_takes_long_is_waited_for() {
    let (database, proxy, _) = behind_a_proxy("1").await;
    let aside = client(database.url()).await;
    let wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait()";
    aside.batch_execute(wait).await.expect("set up");
    let db = open_with(&proxy.url(), "2", &[("DB_STATEMENT_TIMEOUT_MS", "400")]).await;
    let options = TxOptions::new().resolver(Resolver::Marker).deadline(Duration::from_secs(20));
    db.tx_with(&options, async |_| Ok(())).await.expect("the way is open");
    let inserted = db.tx_with(&options, async |tx| {
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        tx.execute("INSERT INTO t VALUES (1)", &[]).await
    });
    let cut = async {
        let committing =
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'
            AND datname = current_database()";
        eventually("COMMIT is under way", async || {
            aside.query_one(committing, &[]).await.expect("look").get::<_, i64>(0) == 1
        })
        .await;
        proxy.cut();
    };
    let (inserted, ()) = tokio::join!(inserted, cut);
    inserted.expect("it was committed in the end");
    assert_eq!(rows(&database).await, 1);
}
