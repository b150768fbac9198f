//! What the composed `Database` does when the way to the server fails in the worst moment: transactions that are run again or
//! resolved, and single statements that are run again only as far as their caller allows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database, Isolation, Resolution, Resolver, TxOptions};
use db_core::{Error, Executor, Outcome, Query, SqlState};
use db_testkit::{Direction, End, Fault, Proxy, TestDatabase};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use crate::support::{client, database, eventually};

/// A database behind a proxy, and a table `t`.
pub(super) async fn behind_a_proxy(max: &str) -> (TestDatabase, Proxy, Database) {
    let database = database().await;
    let aside = client(database.url()).await;
    aside.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let db = open(&proxy.url(), max).await;
    (database, proxy, db)
}

async fn open(url: &str, max: &str) -> Database {
    open_with(url, max, &[]).await
}

/// With other variables as well.
pub(super) async fn open_with(url: &str, max: &str, more: &[(&str, &str)]) -> Database {
    let layers = Layers::default()
        .with_environment("DATABASE_URL", url)
        .with_environment("DB_POOL_MAX", max)
        .with_environment("DB_POOL_MIN", "1")
        .with_environment("DB_SSL_MODE", "disable")
        .with_environment("DB_ACQUIRE_TIMEOUT_MS", "20000")
        .with_environment("DB_CONNECT_TIMEOUT_MS", "10000")
        // A fault is not to strike what looks after the server's health.
        .with_environment("DB_HEALTH_INTERVAL_MS", "3600000");
    let layers = more.iter().fold(layers, |layers, (name, value)| layers.with_environment(name, value));
    Database::open(Config::load(&layers).expect("valid")).await.expect("open")
}

/// Looked at from the side, whatever happens to the proxy.
pub(super) async fn rows(database: &TestDatabase) -> i64 {
    let aside = client(database.url()).await;
    aside.query_one("SELECT count(*) FROM t", &[]).await.expect("count").get(0)
}

/// Inserts a row, and gives how often its body ran.
async fn insert(db: &Database, options: &TxOptions) -> (Result<u64, Error>, u32) {
    let runs = AtomicU32::new(0);
    let result = db.tx_with(options, async |tx| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.execute("INSERT INTO t VALUES (1)", &[]).await
    });
    (result.await, runs.load(Ordering::Relaxed))
}

/// E5: the answer to COMMIT is lost, and the caller learns that it was committed.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_be_one() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for resolver in [Resolver::Marker, Resolver::Xid] {
        let lost = proxy.inject(Fault::lost_acknowledgement().nth(1));
        let before = rows(&database).await;
        let (result, runs) = insert(&db, &TxOptions::new().retry().resolver(resolver)).await;
        assert_eq!((result.expect("committed"), runs, lost.fired()), (1, 1, 1), "{resolver:?}");
        assert_eq!(rows(&database).await, before + 1, "{resolver:?}");
    }
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_run_again() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for resolver in [Resolver::Marker, Resolver::Xid] {
        let lost = proxy.inject(Fault::lost_commit().nth(1));
        let before = rows(&database).await;
        let (result, runs) = insert(&db, &TxOptions::new().retry().resolver(resolver)).await;
        assert_eq!((result.expect("committed"), runs, lost.fired()), (1, 2, 1), "{resolver:?}");
        assert_eq!(rows(&database).await, before + 1, "{resolver:?}");
    }
}

/// Who did not ask for retries is told that nothing of it stays.
#[tokio::test]
async fn a_commit_that_never_arrived_is_reported_as_rolled_back() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    proxy.inject(Fault::lost_commit().nth(1));
    let (result, runs) = insert(&db, &TxOptions::new().resolver(Resolver::Marker)).await;
    let error = result.expect_err("not committed");
    assert_eq!((error.outcome(), runs), (Outcome::RolledBack, 1), "{error}");
    assert!(error.to_string().starts_with("not committed: commit: "), "{error}");
    assert_eq!(rows(&database).await, 0);
}

/// Without somebody to ask, what is in doubt stays in doubt, and is not run again.
#[tokio::test]
async fn without_a_resolver_the_outcome_is_unknown() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for (fault, stays) in [(Fault::lost_acknowledgement(), 1), (Fault::lost_commit(), 0)] {
        proxy.inject(fault.nth(1));
        let before = rows(&database).await;
        let (result, runs) = insert(&db, &TxOptions::new().retry()).await;
        let error = result.expect_err("in doubt");
        assert_eq!((error.outcome(), error.in_doubt(), runs), (Outcome::Unknown, None, 1), "{error}");
        assert_eq!(rows(&database).await, before + stays);
    }
}

/// A read-only transaction has nothing that could be in doubt.
#[tokio::test]
async fn the_lost_commit_of_a_read_is_none() {
    let (_database, proxy, db) = behind_a_proxy("4").await;
    proxy.inject(Fault::lost_commit().nth(1));
    let options = TxOptions::new().read_only().resolver(Resolver::Marker);
    let read: i32 = db.tx_with(&options, async |tx| tx.one("SELECT 7", &[]).await).await.expect("read");
    assert_eq!(read, 7);
}

/// The connection goes while the body runs: nothing was committed, so the whole may run again.
#[tokio::test]
async fn a_transaction_that_lost_its_connection_before_its_commit_is_run_again() {
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let aside = client(database.url()).await;
    let runs = AtomicU32::new(0);
    let kill = "SELECT pg_terminate_backend($1)";
    let body = async |tx: &mut db_app::Tx<'_>| {
        tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            let pid: i32 = tx.one("SELECT pg_backend_pid()", &[]).await?;
            aside.execute(kill, &[&pid]).await.expect("terminate");
        }
        tx.execute("INSERT INTO t VALUES (2)", &[]).await
    };
    let once = db.tx_with(&TxOptions::new(), body).await.expect_err("not asked for");
    assert!(matches!(once.outcome(), Outcome::RolledBack | Outcome::NotExecuted), "{once}");
    runs.store(0, Ordering::Relaxed);
    db.tx_with(&TxOptions::new().retry(), body).await.expect("the second time");
    assert_eq!((runs.load(Ordering::Relaxed), rows(&database).await), (2, 2));
}

/// D1, E5: who loses a race runs again, and sees what the winner did.
#[tokio::test]
async fn a_lost_race_is_run_again() {
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let aside = client(database.url()).await;
    let body = async |tx: &mut db_app::Tx<'_>| {
        let seen: i64 = tx.one("SELECT count(*) FROM t", &[]).await?;
        if seen == 0 {
            let other = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t; INSERT INTO t VALUES (1); COMMIT";
            aside.batch_execute(other).await.expect("the other wins");
        }
        tx.execute("INSERT INTO t SELECT $1::bigint::int", &[&seen]).await?;
        Ok(seen)
    };
    let options = TxOptions::new().isolation(Isolation::Serializable);
    let lost = db.tx_with(&options, body).await.expect_err("not asked for");
    assert_eq!(lost.sqlstate(), Some(SqlState::SERIALIZATION_FAILURE));
    aside.batch_execute("DELETE FROM t").await.expect("empty again");
    assert_eq!(db.tx_with(&options.retry(), body).await.expect("the second time"), 1);
    assert_eq!(rows(&database).await, 2);
}

/// An error type of the caller's own hides nothing from the retries, and its own failures are not retried.
#[tokio::test]
async fn a_body_may_have_errors_of_its_own() {
    #[derive(Debug)]
    enum Mine {
        Poor,
        Database,
    }
    impl From<Error> for Mine {
        fn from(_: Error) -> Self {
            Self::Database
        }
    }
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let aside = client(database.url()).await;
    let runs = AtomicU32::new(0);
    let lose = async |tx: &mut db_app::Tx<'_>| {
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            let pid: i32 = tx.one("SELECT pg_backend_pid()", &[]).await?;
            aside.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate");
        }
        tx.execute("INSERT INTO t VALUES (1)", &[]).await.map_err(|_| Mine::Poor)
    };
    let retried: Result<u64, Mine> = db.try_tx_with(&TxOptions::new().retry(), lose).await;
    assert_eq!((retried.expect("the second time"), runs.load(Ordering::Relaxed)), (1, 2));

    let poor = async |tx: &mut db_app::Tx<'_>| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.execute("INSERT INTO t VALUES (2)", &[]).await?;
        Err::<(), _>(Mine::Poor)
    };
    let refused = db.try_tx_with(&TxOptions::new().retry(), poor).await.expect_err("by itself");
    assert!(matches!(refused, Mine::Poor));
    assert_eq!((runs.load(Ordering::Relaxed), rows(&database).await), (3, 1));
    let refused = db.try_tx_with(&TxOptions::new(), async |tx| {
        tx.execute("SELECT nothing", &[]).await?;
        Ok::<_, Mine>(())
    });
    assert!(matches!(refused.await.expect_err("no such column"), Mine::Database));
}

/// One deadline bounds a COMMIT that nobody answers, and who was in doubt can ask later.
#[tokio::test]
async fn who_is_left_in_doubt_can_ask_later() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for (fault, expect) in [
        (Fault::lost_acknowledgement(), Resolution::Committed),
        (Fault::lost_commit(), Resolution::RolledBack),
    ] {
        let before = rows(&database).await;
        insert(&db, &TxOptions::new().resolver(Resolver::Marker)).await.0.expect("the way is open");
        let lost = proxy.inject(fault.nth(1).end(End::Silence));
        let limit = Duration::from_secs(2);
        let options = TxOptions::new().retry().deadline(limit).resolver(Resolver::Marker);
        let started = Instant::now();
        let stalling = async {
            proxy.until(|counts| counts.fired > 0 && lost.fired() == 1).await;
            proxy.stall();
        };
        let ((result, runs), ()) = tokio::join!(insert(&db, &options), stalling);
        let took = started.elapsed();
        assert!(took <= limit.mul_f64(1.1), "{took:?}");
        let error = result.expect_err("nobody answers");
        assert_eq!((error.outcome(), runs), (Outcome::Unknown, 1), "{error}");
        let name = error.in_doubt().expect("a name to ask for").to_owned();
        proxy.heal();
        let asked = db.resolve(&name, Duration::from_secs(20)).await.expect("an answer");
        assert_eq!(asked, expect);
        assert_eq!(db.resolve(&name, Duration::from_secs(20)).await.expect("the same again"), expect);
        let stays = i64::from(expect == Resolution::Committed);
        assert_eq!(rows(&database).await, before + 1 + stays);
        db.rotate();
    }
    let error = db.resolve("nonsense", Duration::from_secs(1)).await.expect_err("no name");
    assert_eq!(error.outcome(), Outcome::NotExecuted, "{error}");
}

/// A role that may not create the table is told what is missing.
#[tokio::test]
async fn a_missing_table_of_markers_is_named() {
    let database = database().await;
    let aside = client(database.url()).await;
    let role = format!("poor_{}", database.name());
    aside.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await.expect("a role");
    let mut url = database.url().to_owned();
    let at = url.find('@').expect("a user in the URL");
    url.replace_range(.."postgres://".len().max(at), &format!("postgres://{role}:secret"));
    let db = open(&url, "2").await;
    let options = TxOptions::new().resolver(Resolver::Marker);
    let error = db.tx_with(&options, async |_| Ok(())).await.expect_err("no table");
    assert!(error.to_string().contains("the table db_tx_outcome"), "{error}");
    db.close(Duration::from_secs(5)).await.expect("closed");
    aside.batch_execute(&format!("DROP ROLE {role}")).await.expect("dropped");
}

/// B5, E5: a single statement whose answer was lost is run again when its caller says that it may happen twice, and never
/// otherwise.
#[tokio::test]
async fn a_single_statement_is_run_again_as_far_as_its_caller_allows() {
    let (database, proxy, db) = behind_a_proxy("1").await;
    let sql = "INSERT INTO t VALUES (1)";
    // So that its preparation is not what is lost.
    for _ in 0..2 {
        db.execute(sql, &[]).await.expect("the way is open");
    }
    let before = rows(&database).await;
    let lose_the_answer = || proxy.inject(Fault::cut_after(Direction::ToClient, 0).nth(1));

    let lost = lose_the_answer();
    let error = db.execute(sql, &[]).await.expect_err("in doubt");
    assert_eq!((error.outcome(), lost.fired()), (Outcome::Unknown, 1), "{error}");
    assert_eq!(rows(&database).await, before + 1, "run once");

    db.execute(sql, &[]).await.expect("prepared on the new connection");
    let lost = lose_the_answer();
    db.idempotent_writes().execute(sql, &[]).await.expect("run again");
    assert_eq!((rows(&database).await, lost.fired()), (before + 4, 1), "run twice, as its caller allowed");

    let count = "SELECT count(*) FROM t";
    db.one::<i64>(count, &[]).await.expect("prepared");
    let lost = lose_the_answer();
    assert_eq!(db.reads().one::<i64>(count, &[]).await.expect("read again"), before + 4);
    assert_eq!(lost.fired(), 1);
}

/// E6: one deadline for a single statement, wherever it is when time runs out; and what ran is cancelled on the server.
#[tokio::test]
async fn a_single_statement_keeps_to_its_deadline() {
    let (database, proxy, db) = behind_a_proxy("1").await;
    let limit = Duration::from_secs(1);
    let in_time = async |sql: &str, expect| {
        let started = Instant::now();
        let error = db.primary().within(limit).execute(sql, &[]).await.expect_err("too late");
        let took = started.elapsed();
        assert!(took <= limit.mul_f64(1.1), "{took:?}: {error}");
        assert_eq!(error.outcome(), expect, "{error}");
    };
    let rows_in_time = async {
        let (started, view) = (Instant::now(), db.primary().within(limit));
        // Each is large enough to be sent at once, and comes in time.
        let slow = "SELECT repeat('x', 20000) FROM generate_series(1, 40) WHERE pg_sleep(0.2) IS NOT NULL";
        let mut rows = view.stream::<String>(slow, &[]).await.expect("begun");
        let error = loop {
            match rows.try_next().await {
                Ok(row) => assert!(row.is_some(), "all of them came"),
                Err(error) => break error,
            }
        };
        assert!(started.elapsed() <= limit.mul_f64(1.1), "{:?}: {error}", started.elapsed());
    };
    rows_in_time.await;

    let held = db.acquire().await.expect("the only connection");
    in_time("INSERT INTO t VALUES (1)", Outcome::NotExecuted).await;
    drop(held);

    in_time("SELECT pg_sleep(60)", Outcome::Unknown).await;
    let aside = client(database.url()).await;
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
    eventually("it is cancelled", async || {
        aside.query_one(running, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;

    db.execute("INSERT INTO t VALUES (1)", &[]).await.expect("prepared");
    proxy.stall();
    in_time("INSERT INTO t VALUES (1)", Outcome::Unknown).await;
    proxy.heal();
    let stream = db.primary().within(Duration::from_secs(20)).stream::<i32>("SELECT 7", &[]).await.map(drop);
    stream.expect("the way is open again");
}
