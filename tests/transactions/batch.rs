//! A transaction in one round trip: what it gives, and what it says when it fails. What a lost connection does to it is in
//! `batch_lost.rs`.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Answer, Batch, Error, Executor, Kind, Outcome, Params, Phase, Query, SqlState};
use db_pool::{Isolation, Pool, TxOptions};
use db_testkit::{Direction, Proxy, TestDatabase};
use tokio::time::{Instant, timeout};

use super::{rows, with_table};
use crate::support::{Recorder, client, database, eventually, settings};

const INSERT: &str = "INSERT INTO t VALUES ($1)";

/// A table, and a pool of one connection whose statements are written down.
async fn watched() -> (TestDatabase, Pool, Recorder) {
    let database = database().await;
    let recorder = Recorder::default();
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    let pool = Pool::open_observed(database.config(), settings, Arc::new(recorder.clone())).await;
    let pool = pool.expect("a pool");
    pool.batch_execute("CREATE TABLE t (n int PRIMARY KEY)").await.expect("a table");
    (database, pool, recorder)
}

fn executed(recorder: &Recorder) -> Vec<String> {
    recorder
        .events()
        .into_iter()
        .filter(|event| event.contains(" INSERT ") || event.contains(" SELECT "))
        .collect()
}

/// Each statement has its answer, in order, and the verbs count its rows.
#[tokio::test]
async fn every_statement_has_its_answer() {
    let (_database, pool) = with_table().await;
    for _ in 0..2 {
        let (name, some) = ("four".to_owned(), Some(4_i64));
        let answers = pool
            .batch(&[
                ("INSERT INTO t VALUES ($1), ($2)", &[&1_i32, &2_i32]),
                ("UPDATE t SET n = n + $1 WHERE n < $2 RETURNING n", &[&10_i32, &10_i32]),
                ("SELECT n FROM t WHERE n > $1", &[&100_i32]),
                ("SELECT $1::text, $2::bigint, $3::int", &[&name, &some, &None::<i32>]),
                ("DELETE FROM t", &[]),
            ])
            .await
            .expect("committed");
        let counts: Vec<_> = answers.iter().map(Answer::rows_affected).collect();
        assert_eq!(counts, [2, 2, 0, 1, 2]);
        let [inserted, updated, none, typed, _]: [Answer; 5] = answers.try_into().expect("five");
        inserted.none().expect("no row");
        assert_eq!(updated.many::<i32>().expect("rows"), [11, 12]);
        assert_eq!(none.one_or_none::<i32>().expect("none"), None);
        assert_eq!(typed.one::<(String, i64, Option<i32>)>().expect("a row"), ("four".to_owned(), 4, None));
    }
    // An odd number of rows is an error of whoever reads them, and the statement has run.
    let mut answers = pool.batch(&[("SELECT generate_series(1, 2)", &[])]).await.expect("committed");
    let error = answers.remove(0).one::<i32>().expect_err("two");
    assert_eq!(
        (error.to_string().as_str(), error.outcome()),
        ("expected exactly one row, got 2", Outcome::Executed)
    );
    // More than are polled one by one.
    let many: Vec<_> = (0..200).collect::<Vec<i32>>();
    let params: Vec<[&(dyn tokio_postgres::types::ToSql + Sync); 1]> =
        many.iter().map(|n| [n as _]).collect();
    let many: Vec<_> = params.iter().map(|params| (INSERT, &params[..])).collect();
    assert_eq!(pool.batch(&many).await.expect("committed").len(), 200);
    assert_eq!(rows(&pool).await, 200);
}

/// A spawned task may run one, so its future may change threads.
#[tokio::test]
async fn it_runs_in_a_task() {
    let (_database, pool) = with_table().await;
    let task = tokio::spawn(async move { pool.batch(&[(INSERT, &[&1_i32])]).await });
    assert_eq!(task.await.expect("no panic").expect("committed").len(), 1);
}

/// The error of the statement that failed, and of no other; those behind it are nobody's business.
#[tokio::test]
async fn a_statement_that_fails_undoes_all() {
    let (_database, pool, recorder) = watched().await;
    let statements: Batch<'_> =
        &[(INSERT, &[&1_i32]), ("SELECT 1 / $1::int", &[&0_i32]), ("INSERT INTO t VALUES (2)", &[])];
    for _ in 0..2 {
        let error = pool.batch(statements).await.expect_err("division by zero");
        assert_eq!(error.to_string(), "statement 2 of 3: division by zero (22012)");
        assert_eq!((error.outcome(), error.phase()), (Outcome::RolledBack, Phase::Execute));
        assert_eq!(rows(&pool).await, 0);
    }
    let told = executed(&recorder);
    let one = ["executed INSERT INTO t VALUES ($1) ok", "executed SELECT ? / $1::int failed"];
    let both: Vec<_> = told.iter().filter(|event| !event.contains("count")).collect();
    assert_eq!(both, [one[0], one[1], one[0], one[1]]);
    assert!(!recorder.events().iter().any(|event| event.starts_with("closed")), "{:?}", recorder.events());
}

/// A deferred constraint is looked at by COMMIT, and its error is COMMIT's.
#[tokio::test]
async fn a_commit_that_fails_says_so() {
    let (_database, pool) = with_table().await;
    let twice: Batch<'_> = &[(INSERT, &[&1_i32]), (INSERT, &[&1_i32])];
    let error = pool.batch(twice).await.expect_err("the key");
    assert_eq!(error.sqlstate(), SqlState::new("23505"));
    assert_eq!((error.outcome(), error.phase()), (Outcome::RolledBack, Phase::Commit));
    assert!(error.to_string().starts_with("commit: "), "{error}");
    assert_eq!(rows(&pool).await, 0);
}

/// What does not fit, or must not be there, is found before BEGIN is sent.
#[tokio::test]
async fn mistakes_send_nothing() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    proxy.record();
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    pool.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    let check = async |statements: Batch<'_>, expect: &str| {
        let error: Error = pool.batch(statements).await.expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!((error.kind(), error.outcome()), (Kind::Query, Outcome::NotExecuted), "{error}");
    };
    let first: (&str, Params<'_>) = (INSERT, &[&1_i32]);
    check(&[first, (INSERT, &[])], "statement 2 of 2: expected 1 parameters but got 0").await;
    check(&[first, (INSERT, &[&"one"])], "the Rust type `&str` and the Postgres type `int4`").await;
    for sql in
        ["COMMIT", "/* x */ rollback", "BEGIN", "END", "ABORT", "ROLLBACK TO a", "PREPARE TRANSACTION 'x'"]
    {
        check(&[first, (sql, &[])], "statement 2 of 2: not sent: ").await;
    }
    check(&[first, ("COPY t FROM STDIN", &[])], "COPY does not run in a batch").await;
    assert!(pool.batch(&[]).await.expect("nothing to do").is_empty());
    let requests = proxy.requests();
    assert!(
        !requests.iter().any(|sql| sql.starts_with("BEGIN") || sql.starts_with("INSERT")),
        "{requests:?}"
    );
    // What cannot be prepared has not run either.
    let missing = pool.batch(&[first, ("SELECT * FROM missing", &[])]).await.expect_err("no table");
    assert!(missing.to_string().starts_with("statement 2 of 2: "), "{missing}");
    assert_eq!((missing.kind(), rows(&pool).await), (Kind::Schema, 0));
    let ends = TxOptions::new().first("SELECT 1; COMMIT");
    pool.batch_with(&ends, &[first]).await.expect_err("it would end it");
    assert_eq!(rows(&pool).await, 0);
}

/// The statements do not run unless BEGIN and what comes with it did.
#[tokio::test]
async fn a_mistake_in_what_comes_first_undoes_all() {
    let (_database, pool) = with_table().await;
    for first in ["not SQL", "SELECT 1 / 0", "SET LOCAL work_mem = 'x'"] {
        let options = TxOptions::new().first(first);
        pool.batch_with(&options, &[(INSERT, &[&1_i32])]).await.expect_err(first);
        assert_eq!(rows(&pool).await, 0, "{first}");
    }
    let options = TxOptions::new().first("INSERT INTO t VALUES (1)").isolation(Isolation::Serializable);
    let level: Vec<Answer> =
        pool.batch_with(&options, &[("SHOW transaction_isolation", &[])]).await.expect("committed");
    let level: Vec<String> = level.into_iter().map(|answer| answer.one().expect("a row")).collect();
    assert_eq!((level, rows(&pool).await), (vec!["serializable".to_owned()], 1));
    let error = pool.batch_with(&TxOptions::new().read_only(), &[(INSERT, &[&2_i32])]).await;
    assert_eq!(error.expect_err("read only").sqlstate(), Some(SqlState::READ_ONLY_TRANSACTION));
}

/// A batch of five takes as long as one statement, when the way is what takes long.
#[tokio::test]
async fn it_is_one_round_trip() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    settings.check_after = Duration::from_secs(3600);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    pool.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    let mut conn = pool.acquire().await.expect("a connection");
    let statements: Batch<'_> = &[
        (INSERT, &[&1_i32]),
        ("SELECT 7", &[]),
        ("UPDATE t SET n = n + 1", &[]),
        ("SELECT count(*) FROM t", &[]),
        ("DELETE FROM t", &[]),
    ];
    conn.one::<i32>("SELECT 7", &[]).await.expect("prepared");
    conn.batch(statements).await.expect("prepared");
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.delay(direction, Duration::from_millis(50));
    }
    let (mut single, mut batch) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let began = Instant::now();
        conn.one::<i32>("SELECT 7", &[]).await.expect("a value");
        single = single.min(began.elapsed());
        let began = Instant::now();
        conn.batch(statements).await.expect("committed");
        batch = batch.min(began.elapsed());
    }
    assert!(single >= Duration::from_millis(100), "{single:?}");
    assert!(batch < single.mul_f64(1.5), "{batch:?} for a batch, {single:?} for a statement");
    // Statements that are not prepared cost one more, however many they are.
    let fresh: Batch<'_> = &[("SELECT 1", &[]), ("SELECT 2", &[]), ("SELECT 3", &[]), ("SELECT 4", &[])];
    let began = Instant::now();
    conn.batch(fresh).await.expect("committed");
    assert!(began.elapsed() < single.mul_f64(2.8), "{:?}", began.elapsed());
}

/// Who goes away in the middle leaves nothing, and a connection that others can use.
#[tokio::test]
async fn a_batch_that_is_dropped_is_undone() {
    let (_database, pool, recorder) = watched().await;
    let slow: Batch<'_> = &[(INSERT, &[&1_i32]), ("SELECT pg_sleep(60)", &[]), (INSERT, &[&2_i32])];
    for _ in 0..3 {
        timeout(Duration::from_millis(300), pool.batch(slow)).await.expect_err("too slow");
        assert_eq!(rows(&pool).await, 0);
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' \
                        AND pid <> pg_backend_pid() AND datname = current_database()";
        assert_eq!(pool.one::<i64>(sleeping, &[]).await.expect("count"), 0);
    }
    assert!(recorder.has("abandoned SELECT pg_sleep(?)"), "{:?}", recorder.events());
    let mut conn = pool.acquire().await.expect("a connection");
    timeout(Duration::from_millis(300), conn.batch(slow)).await.expect_err("too slow");
    conn.batch_execute("SELECT 1").await.expect_err("it serves nobody any more");
}

/// A deadline ends what is slow, on the server first, and the whole within a tenth of it.
#[tokio::test]
async fn a_deadline_holds() {
    let (_database, pool) = with_table().await;
    let limit = Duration::from_secs(1);
    for slow in ["SELECT pg_sleep(60)", "SELECT pg_sleep(0.4)"] {
        let began = Instant::now();
        let options = TxOptions::new().deadline(began + limit);
        let mut statements: Vec<(&str, Params<'_>)> = vec![(slow, &[]); 100];
        statements[0] = (INSERT, &[&1_i32]);
        pool.batch_with(&options, &statements).await.expect_err("too slow");
        assert!(began.elapsed() <= limit.mul_f64(1.1), "{:?}", began.elapsed());
        assert_eq!(rows(&pool).await, 0);
    }
    let passed = TxOptions::new().deadline(Instant::now());
    assert!(pool.batch_with(&passed, &[(INSERT, &[&1_i32])]).await.is_err());
    assert_eq!(rows(&pool).await, 0);
}

/// A migration between two batches is nobody's error: nothing of the first attempt had stayed.
#[tokio::test]
async fn a_result_that_changes_its_type_is_no_error() {
    let (database, pool, recorder) = watched().await;
    let aside = client(database.url()).await;
    let statements: Batch<'_> = &[("INSERT INTO t SELECT count(*) FROM t", &[]), ("SELECT * FROM t", &[])];
    for count in 1..=3_u64 {
        let answers = pool.batch(statements).await.expect("committed");
        assert_eq!((answers[1].rows_affected(), rows(&pool).await), (count, count as i64));
        aside.batch_execute(&format!("ALTER TABLE t ADD c{count} int")).await.expect("a migration");
    }
    pool.batch_execute("DEALLOCATE ALL").await.expect("forgotten");
    pool.batch(statements).await.expect("prepared again");
    let failed = |events: Vec<String>| events.iter().any(|event| event.ends_with("failed"));
    assert!(!failed(recorder.events()), "{:?}", recorder.events());
    // In a transaction of the caller's it is told.
    aside.batch_execute("ALTER TABLE t ADD more int").await.expect("a migration");
    let told =
        pool.tx(async |tx| tx.batch(statements).await).await.expect_err("it has ended the transaction");
    assert_eq!(told.sqlstate(), SqlState::new("0A000"));
    pool.tx(async |tx| tx.batch(statements).await).await.expect("the next one");
}

/// In a transaction it is a statement of many.
#[tokio::test]
async fn it_runs_in_a_transaction_that_is_open() {
    let (_database, pool) = with_table().await;
    let given = pool.tx(async |tx| {
        tx.execute(INSERT, &[&1_i32]).await?;
        let answers = tx.batch(&[(INSERT, &[&2_i32]), ("SELECT count(*) FROM t", &[])]).await?;
        answers.into_iter().nth(1).expect("two").one::<i64>()
    });
    assert_eq!((given.await.expect("committed"), rows(&pool).await), (2, 2));
    let failed = pool.tx(async |tx| {
        tx.execute(INSERT, &[&3_i32]).await?;
        let error =
            tx.batch(&[("SELECT 1 / $1::int", &[&0_i32]), (INSERT, &[&4_i32])]).await.expect_err("zero");
        assert_eq!(error.to_string(), "statement 1 of 2: division by zero (22012)");
        tx.batch(&[("COMMIT", &[])]).await.expect_err("refused");
        Ok(())
    });
    assert_eq!(failed.await.expect_err("rolled back").sqlstate(), SqlState::new("22012"));
    assert_eq!(rows(&pool).await, 2);
    let mut conn = pool.acquire().await.expect("a connection");
    conn.batch_execute("BEGIN").await.expect("by hand");
    let error = conn.batch(&[(INSERT, &[&5_i32])]).await.expect_err("one is open");
    assert_eq!(error.to_string(), "a transaction is open on this connection already");
    drop(conn);
    eventually("it is rolled back", async || rows(&pool).await == 2).await;
}

/// What it sets for itself is not cleaned up after it, which would cost everybody a round trip.
#[tokio::test]
async fn it_leaves_no_setting() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    proxy.record();
    let mut settings = settings();
    (settings.min, settings.max) = (1, 1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    pool.batch(&[("SELECT 7", &[])]).await.expect("committed");
    let settings = pool.batch(&[("SHOW exit_on_error", &[])]).await.expect("committed");
    assert_eq!(settings.into_iter().next().expect("one").one::<String>().expect("a row"), "off");
    let requests = proxy.requests();
    assert!(!requests.iter().any(|sql| sql.contains("RESET") || sql.contains("DISCARD")), "{requests:?}");
    let set = pool.batch(&[("SET work_mem = '7MB'", &[])]).await.expect("committed");
    assert_eq!(set.len(), 1);
    assert_ne!(pool.one::<String>("SHOW work_mem", &[]).await.expect("a row"), "7MB", "it is the caller's");
}
