//! A transaction in one round trip behind `pool_mode = transaction`: there it is one session's, with its settings.

use std::time::Duration;

use db_core::{Answer, Batch, Executor, Outcome, Phase, Query, SqlState};
use db_pool::{Pooler, TxOptions};
use futures_util::future::join_all;

use super::bouncer::{Bouncer, Mode};
use crate::support::database;

const INSERT: &str = "INSERT INTO t VALUES ($1)";

/// E1: results, settings and errors are those of one transaction, however many callers there are.
#[tokio::test]
async fn a_batch_is_one_transaction() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let pool = bouncer
        .pool(|settings| {
            (settings.pooler, settings.max) = (Pooler::Transaction, 4);
            settings.lock_timeout = Duration::from_millis(567);
        })
        .await;
    pool.batch_execute("CREATE TABLE t (id int4 PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        .await
        .expect("a table");
    let one = async |id: i32| {
        let name = format!("{id}");
        let statements: Batch<'_> = &[
            ("SELECT pg_backend_pid(), pg_current_xact_id()::text", &[]),
            (INSERT, &[&id]),
            ("SELECT $1::text, current_setting('lock_timeout')", &[&name]),
            ("SELECT pg_backend_pid(), pg_current_xact_id()::text", &[]),
        ];
        let answers = pool.batch(statements).await.expect("committed");
        let [first, inserted, set, last]: [Answer; 4] = answers.try_into().expect("four");
        assert_eq!(inserted.rows_affected(), 1);
        assert_eq!(set.one::<(String, String)>().expect("a row"), (name.clone(), "567ms".to_owned()));
        let (first, last) = (first.one::<(i32, String)>(), last.one::<(i32, String)>());
        assert_eq!(first.expect("a row"), last.expect("a row"));
    };
    join_all((1..=40).map(one)).await;
    let count = async || pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count");
    assert_eq!(count().await, 40);

    for _ in 0..2 {
        let failing: Batch<'_> =
            &[(INSERT, &[&77_i32]), ("SELECT 1 / $1::int4", &[&0_i32]), (INSERT, &[&78_i32])];
        let error = pool.batch(failing).await.expect_err("division by zero");
        assert_eq!((error.sqlstate(), error.outcome()), (SqlState::new("22012"), Outcome::RolledBack));
        assert!(error.to_string().starts_with("statement 2 of 3: "), "{error}");
        let error = pool.batch(&[(INSERT, &[&1_i32])]).await.expect_err("the key");
        assert_eq!((error.sqlstate(), error.phase()), (SqlState::new("23505"), Phase::Commit));
        pool.batch(&[(INSERT, &[&79_i32]), (INSERT, &[&"one"])]).await.expect_err("not a number");
    }
    let first = TxOptions::new().first("INSERT INTO t VALUES (80)").read_only();
    pool.batch_with(&first, &[("SELECT 7", &[])]).await.expect_err("read only");
    let in_one = pool.tx(async |tx| {
        tx.execute(INSERT, &[&81_i32]).await?;
        tx.batch(&[(INSERT, &[&82_i32]), ("SELECT count(*) FROM t", &[])]).await
    });
    assert_eq!(in_one.await.expect("committed").remove(1).one::<i64>().expect("a row"), 42);
    assert_eq!(count().await, 42);
}

/// What PgBouncer says when it has lost its server does not show what became of COMMIT.
#[tokio::test]
async fn a_lost_server_leaves_the_outcome_unknown() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let pool = bouncer.pool(|settings| (settings.pooler, settings.max) = (Pooler::Transaction, 2)).await;
    pool.batch_execute("CREATE TABLE t (id int4)").await.expect("a table");
    let statements: Batch<'_> =
        &[(INSERT, &[&1_i32]), ("SELECT pg_terminate_backend(pg_backend_pid())", &[])];
    let error = pool.batch(statements).await.expect_err("ended");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count"), 0);
}
