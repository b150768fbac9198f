//! A transaction in one round trip whose connection is lost: its COMMIT may have been read, unless something shows that it was
//! not.

use std::time::Duration;

use db_core::{Action, Batch, Executor, Outcome, Phase, Query, SqlState};
use db_pool::{Pool, TxOptions};
use db_testkit::{Direction, End, Fault, Proxy, TestDatabase};
use tokio::time::Instant;

use super::rows;
use crate::support::{client, database, eventually, settings};

const STATEMENTS: Batch<'static> = &[("INSERT INTO t VALUES (1)", &[]), ("INSERT INTO t VALUES (2)", &[])];

async fn behind_a_proxy() -> (TestDatabase, Proxy, Pool) {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    pool.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    (database, proxy, pool)
}

/// Prepared where it will run: the next batch is nothing but its one round trip.
async fn prepared(pool: &Pool) {
    pool.batch(STATEMENTS).await.expect("prepared");
    pool.execute("DELETE FROM t", &[]).await.expect("empty");
}

/// Wherever it is cut, nobody is told that it is rolled back while it is committed.
#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_unknown() {
    let (database, proxy, pool) = behind_a_proxy().await;
    let aside = client(database.url()).await;
    let faults: [(_, &[i64]); 3] = [
        (Fault::lost_commit(), &[0]),
        (Fault::lost_acknowledgement(), &[2]),
        // The server may notice on its way to COMMIT that nobody reads its answers any more.
        (Fault::cut_after(Direction::ToClient, 0), &[0, 2]),
    ];
    for (at, (fault, stays)) in faults.into_iter().enumerate() {
        for end in [End::Reset, End::Close] {
            prepared(&pool).await;
            let pid: i32 = pool.one("SELECT pg_backend_pid()", &[]).await.expect("a session");
            proxy.inject(fault.nth(1).end(end));
            let error = pool.batch(STATEMENTS).await.expect_err("lost");
            assert_eq!((error.outcome(), error.phase()), (Outcome::Unknown, Phase::Commit), "{at}: {error}");
            assert_eq!(error.advice().commit, Action::Resolve);
            assert!(error.to_string().contains("whether it took effect is unknown"), "{error}");
            let ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
            eventually("it has ended", async || {
                aside.query_one(ended, &[&pid]).await.expect("look").get::<_, bool>(0)
            })
            .await;
            let count = aside.query_one("SELECT count(*) FROM t", &[]).await.expect("count").get(0);
            assert!(stays.contains(&count), "{at}: {count} of {stays:?}");
            proxy.withdraw_all();
            pool.execute("DELETE FROM t", &[]).await.expect("empty");
        }
    }
}

/// An error that had come shows that COMMIT found nothing.
#[tokio::test]
async fn an_error_that_came_first_proves_a_rollback() {
    let (_database, proxy, pool) = behind_a_proxy().await;
    let failing: Batch<'_> =
        &[("INSERT INTO t VALUES (1)", &[]), ("SELECT 1 / n FROM (SELECT 0 AS n) x", &[])];
    pool.batch(failing).await.expect_err("prepared");
    // BEGIN, what guards it, two statements: the answer to COMMIT does not come.
    proxy.inject(Fault::lost_answer().nth(5).end(End::Close));
    let error = pool.batch(failing).await.expect_err("division by zero");
    assert_eq!((error.sqlstate(), error.outcome()), (SqlState::new("22012"), Outcome::RolledBack), "{error}");
    assert_eq!(rows(&pool).await, 0);
}

/// A server that ends the session in the middle of a statement has not come to COMMIT.
#[tokio::test]
async fn a_session_that_is_ended_in_a_statement_proves_a_rollback() {
    let (database, _proxy, pool) = behind_a_proxy().await;
    let aside = client(database.url()).await;
    let slow: Batch<'_> = &[("INSERT INTO t VALUES (1)", &[]), ("SELECT pg_sleep(60)", &[])];
    let ended = async {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE wait_event = 'PgSleep' AND datname = current_database()";
        eventually("it sleeps", async || !aside.query(end, &[]).await.expect("look").is_empty()).await;
    };
    let (result, ()) = tokio::join!(pool.batch(slow), ended);
    let error = result.expect_err("ended");
    assert_eq!((error.sqlstate(), error.outcome()), (SqlState::new("57P01"), Outcome::RolledBack), "{error}");
    assert_eq!(rows(&pool).await, 0);
}

/// What did not leave this process whole was not committed.
#[tokio::test]
async fn what_was_not_sent_whole_is_rolled_back() {
    let (_database, proxy, pool) = behind_a_proxy().await;
    let large = "x".repeat(64 << 20);
    let statements: Batch<'_> = &[("INSERT INTO t VALUES (1)", &[]), ("SELECT length($1)", &[&large])];
    pool.batch(statements).await.expect("prepared");
    pool.execute("DELETE FROM t", &[]).await.expect("empty");
    // The statement is larger than everything on its way can hold.
    proxy.inject(Fault::cut_after(Direction::ToServer, 1 << 20).nth(1));
    let error = pool.batch(statements).await.expect_err("cut");
    assert_eq!((error.outcome(), error.phase()), (Outcome::RolledBack, Phase::Execute), "{error}");
    assert_eq!(error.advice().write, Action::RetryTransaction);
    assert_eq!(rows(&pool).await, 0);
}

/// What only reads has nothing in doubt.
#[tokio::test]
async fn a_read_is_not_in_doubt() {
    let (_database, proxy, pool) = behind_a_proxy().await;
    let read = TxOptions::new().read_only();
    let statements: Batch<'_> = &[("SELECT 7", &[])];
    pool.batch_with(&read, statements).await.expect("prepared");
    proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));
    let error = pool.batch_with(&read, statements).await.expect_err("no answer");
    assert_eq!(error.outcome(), Outcome::RolledBack, "{error}");
    proxy.withdraw_all();
    pool.batch_with(&read, statements).await.expect("prepared");
    // The whole answer is there but for COMMIT's.
    proxy.inject(Fault::lost_commit().nth(1).end(End::Close));
    let answers = pool.batch_with(&read, statements).await;
    let is_right = match answers {
        Ok(answers) => answers.len() == 1,
        Err(error) => error.outcome() == Outcome::RolledBack,
    };
    assert!(is_right, "never unknown");
}

/// A server that does not answer is waited for as long as for a statement.
#[tokio::test]
async fn a_silent_server_ends_the_wait() {
    let (_database, proxy, _) = behind_a_proxy().await;
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    settings.statement_timeout = Duration::from_secs(1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    prepared(&pool).await;
    proxy.stall();
    let began = Instant::now();
    let error = pool.batch(STATEMENTS).await.expect_err("no answer");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    proxy.heal();
}
