//! `pool_mode = transaction` with [`Pooler::Transaction`]: what works as without a pooler, and what is refused.

use std::time::Duration;

use db_core::{Executor, Kind, Outcome, Query};
use db_pool::{Pool, Pooler, Settings};
use db_testkit::TestDatabase;
use futures_util::StreamExt;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::bouncer::{Bouncer, Mode};
use crate::support::{client, database, eventually};

async fn pooled(change: impl FnOnce(&mut Settings)) -> (TestDatabase, Bouncer, Pool) {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let pool = bouncer
        .pool(|settings| {
            settings.pooler = Pooler::Transaction;
            change(settings);
        })
        .await;
    (database, bouncer, pool)
}

/// E1: all verbs, with parameters and results of several types.
#[tokio::test]
async fn all_verbs_work() {
    let (_database, _bouncer, pool) = pooled(|settings| settings.max = 4).await;
    pool.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY, name text, tags text[], at timestamptz)")
        .await
        .expect("batch");
    let at: Timestamp = "2026-02-03T04:05:06.789Z".parse().expect("a time");
    let tags = vec!["a".to_owned(), "b,c".to_owned()];
    let insert = "INSERT INTO t VALUES ($1, $2, $3, $4)";
    // The first learns the types, the others know them.
    for id in 1..=5_i64 {
        let name = (id % 2 == 0).then(|| format!("name {id}"));
        assert_eq!(pool.execute(insert, &[&id, &name, &tags, &at]).await.expect("insert"), 1);
    }
    type Line = (i64, Option<String>, Vec<String>, Timestamp);
    let select = "SELECT * FROM t WHERE id = ANY($1) ORDER BY id";
    for _ in 0..3 {
        let rows: Vec<Line> = pool.query(select, &[&vec![1_i64, 2]]).await.expect("query");
        assert_eq!(rows, [(1, None, tags.clone(), at), (2, Some("name 2".to_owned()), tags.clone(), at)]);
    }
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("one"), 5);
    let none: Option<i64> =
        pool.one_or_none("SELECT id FROM t WHERE id = $1", &[&9_i64]).await.expect("none");
    assert_eq!(none, None);
    pool.none("SELECT id FROM t WHERE name = $1", &[&"x"]).await.expect("no row");
    assert_eq!(pool.many::<i64>("SELECT id FROM t", &[]).await.expect("many").len(), 5);
    let ids: Vec<i64> = pool
        .stream::<i64>("SELECT id FROM t WHERE id > $1 ORDER BY id", &[&2_i64])
        .await
        .expect("stream")
        .map(|id| id.expect("a row"))
        .collect()
        .await;
    assert_eq!(ids, [3, 4, 5]);
    assert_eq!(pool.execute("DELETE FROM t WHERE id > $1", &[&2_i64]).await.expect("delete"), 3);
}

/// A transaction stays in its session, is there as a whole or not at all, and says why not.
#[tokio::test]
async fn transactions_work() {
    let (_database, _bouncer, pool) = pooled(|settings| settings.max = 4).await;
    pool.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY)").await.expect("a table");
    let insert = "INSERT INTO t VALUES ($1)";
    for id in 0..3_i64 {
        let (first, second): (i32, i32) = pool
            .tx(async |tx| {
                let first = tx.one("SELECT pg_backend_pid()", &[]).await?;
                tx.execute(insert, &[&id]).await?;
                Ok((first, tx.one("SELECT pg_backend_pid()", &[]).await?))
            })
            .await
            .expect("committed");
        assert_eq!(first, second);
    }
    let error = pool
        .tx(async |tx| {
            tx.execute(insert, &[&7_i64]).await?;
            tx.execute(insert, &[&1_i64]).await
        })
        .await
        .expect_err("there is a 1");
    assert_eq!((error.kind(), error.outcome()), (Kind::Query, Outcome::RolledBack), "{error}");
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count"), 3);
}

/// B5: errors are those of the server, single statements are undone, and the connection serves on.
#[tokio::test]
async fn errors_are_the_servers() {
    let (_database, _bouncer, pool) = pooled(|settings| (settings.max, settings.min) = (1, 1)).await;
    pool.batch_execute("CREATE TABLE t (id int4 PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        .await
        .expect("a table");
    let check = async |sql: &str, parameter: i32, expect: &str| {
        for _ in 0..2 {
            let error = pool.execute(sql, &[&parameter]).await.expect_err(sql);
            assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some(expect), "{error}");
            assert_eq!(pool.one::<i32>("SELECT $1::int4", &[&7]).await.expect("it serves on"), 7);
        }
    };
    check("SELECT 1 / $1::int4", 0, "22012").await;
    check("SELECT nothing WHERE $1 = 1", 0, "42703").await;
    pool.execute("INSERT INTO t VALUES ($1)", &[&1]).await.expect("insert");
    // Only COMMIT finds this one.
    check("INSERT INTO t VALUES ($1)", 1, "23505").await;
    let error = pool.one::<i32>("SELECT $1::int4", &[&"text"]).await.expect_err("not a number");
    assert_eq!(error.kind(), Kind::Query, "{error}");
    let error = pool.one::<i32>("SELECT $1::int4", &[]).await.expect_err("no parameter");
    assert!(error.to_string().contains("expected 1 parameters but got 0"), "{error}");
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
}

/// B2, E1: settings hold in single statements, streams and transactions, and nobody else gets them.
#[tokio::test]
async fn settings_reach_the_server_and_nobody_else() {
    const SETTINGS: &str =
        "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('search_path'),
        current_setting('transaction_read_only'), current_setting('application_name'))";
    let (_database, bouncer, pool) = pooled(|settings| {
        settings.statement_timeout = Duration::from_millis(1_234);
        settings.lock_timeout = Duration::from_millis(567);
        settings.idle_in_transaction_timeout = Duration::from_millis(8_901);
        settings.search_path = Some("app, \"My Schema\"".to_owned());
        settings.application_name = "billing".to_owned();
        settings.read_only = true;
    })
    .await;
    let ours = "1234ms 567ms 8901ms app, \"My Schema\" on billing";
    let others = "0 0 0 \"$user\", public off other";
    for _ in 0..3 {
        assert_eq!(pool.one::<String>(SETTINGS, &[]).await.expect("settings"), ours);
        assert_eq!(bouncer.in_each_session(SETTINGS).await, [others; 2]);
        let streamed = pool.stream::<String>(SETTINGS, &[]).await.expect("stream").next().await;
        assert_eq!(streamed.expect("a row").expect("settings"), ours);
        assert_eq!(bouncer.in_each_session(SETTINGS).await, [others; 2]);
        let in_tx = pool.tx(async |tx| tx.one::<String>(SETTINGS, &[]).await).await;
        assert_eq!(in_tx.expect("settings"), ours);
        assert_eq!(bouncer.in_each_session(SETTINGS).await, [others; 2]);
    }
    let write = "CREATE TABLE public.t ()";
    for error in [
        pool.execute(write, &[]).await.expect_err("read-only"),
        pool.tx(async |tx| tx.execute(write, &[]).await).await.expect_err("read-only"),
    ] {
        assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some("25006"), "{error}");
    }
}

/// E6: the server ends what takes too long, alone, in a transaction and in a stream.
#[tokio::test]
async fn what_takes_too_long_is_the_servers_error() {
    let (_database, _bouncer, pool) = pooled(|settings| {
        (settings.max, settings.min) = (1, 1);
        settings.statement_timeout = Duration::from_millis(100);
    })
    .await;
    let sleep = "SELECT 1 FROM pg_sleep(60)";
    let in_stream = async {
        let mut rows = pool.stream::<i32>(sleep, &[]).await?;
        rows.next().await.expect("an item")
    };
    for error in [
        pool.one::<i32>(sleep, &[]).await.expect_err("too long"),
        pool.tx(async |tx| tx.one::<i32>(sleep, &[]).await).await.expect_err("too long"),
        in_stream.await.expect_err("too long"),
    ] {
        assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some("57014"), "{error}");
        assert_eq!((error.kind(), error.outcome()), (Kind::Performance, Outcome::RolledBack), "{error}");
    }
    assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("it serves on"), 7);
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
}

/// E6: what is dropped is cancelled on the server, through the pooler, and the connection serves on.
#[tokio::test]
async fn what_is_dropped_ends_on_the_server() {
    let (database, _bouncer, pool) = pooled(|settings| {
        (settings.max, settings.min) = (1, 1);
        settings.statement_timeout = Duration::ZERO;
    })
    .await;
    let aside = client(database.url()).await;
    let runs = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let runs = async || aside.query_one(runs, &[]).await.expect("look").get::<_, i64>(0) > 0;
    let sleep = "SELECT 1 FROM pg_sleep(60)";
    for round in 0..6 {
        let work = tokio::spawn({
            let pool = pool.clone();
            async move {
                match round % 2 {
                    0 => pool.one::<i32>(sleep, &[]).await,
                    _ => pool.tx(async |tx| tx.one::<i32>(sleep, &[]).await).await,
                }
            }
        });
        eventually("it runs", runs).await;
        work.abort();
        eventually("it is gone", async || !runs().await).await;
        assert_eq!(pool.one::<i32>("SELECT $1::int4", &[&7]).await.expect("it serves on"), 7);
    }
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
}

/// What a stream leaves behind when it fails or is dropped is not where the next statement of its connection runs: that
/// would be undone with it.
#[tokio::test]
async fn a_stream_that_ends_early_takes_nothing_along() {
    let (database, _bouncer, pool) = pooled(|settings| settings.max = 2).await;
    pool.batch_execute("CREATE TABLE t (id int4)").await.expect("a table");
    let aside = client(database.url()).await;
    let stored =
        async || aside.query_one("SELECT count(*) FROM t", &[]).await.expect("count").get::<_, i64>(0);

    let conn = pool.acquire().await.expect("a connection");
    let rows: Vec<_> = conn
        .stream::<i32>("SELECT 1 / (3 - i) FROM generate_series(1, 5) i", &[])
        .await
        .expect("begun")
        .collect()
        .await;
    assert!(rows.last().expect("an item").is_err());
    assert_eq!(conn.execute("INSERT INTO t VALUES ($1)", &[&1]).await.expect("it serves on"), 1);
    drop(conn);
    assert_eq!(stored().await, 1);

    let conn = pool.acquire().await.expect("a connection");
    let mut rows = conn.stream::<i32>("SELECT generate_series(1, 5)", &[]).await.expect("begun");
    assert_eq!(rows.next().await.expect("an item").expect("a row"), 1);
    drop(rows);
    let after = conn.execute("INSERT INTO t VALUES ($1)", &[&2]).await;
    drop(conn);
    pool.pause(Duration::from_secs(5)).await.expect("cleaned");
    pool.resume();
    match after {
        Ok(_) => assert_eq!(stored().await, 2, "what was acknowledged is there"),
        Err(error) => {
            assert_eq!(stored().await, 1, "{error}");
            assert_eq!(error.kind(), Kind::Query, "{error}");
        }
    }
}

/// COPY works in a transaction, and says so elsewhere.
#[tokio::test]
async fn copy_works_in_a_transaction_only() {
    let (_database, _bouncer, pool) = pooled(|settings| (settings.max, settings.min) = (1, 1)).await;
    pool.batch_execute("CREATE TABLE t (id int4, name text)").await.expect("a table");
    let mut conn = pool.acquire().await.expect("a connection");
    let expect = "behind this pooler COPY works in a transaction only";
    let error = conn.copy_in("COPY t FROM STDIN").await.expect_err("outside");
    assert_eq!(error.to_string(), expect);
    let error = conn.copy_out("COPY t TO STDOUT").await.expect_err("outside");
    assert_eq!(error.to_string(), expect);
    for _ in 0..3 {
        let stored = conn
            .tx(async |tx| {
                let mut copy = tx.copy_in("COPY t FROM STDIN").await?;
                for id in 0..1_000 {
                    copy.send(format!("{id}\tname {id}\n")).await?;
                }
                copy.finish().await
            })
            .await;
        assert_eq!(stored.expect("stored"), 1_000);
    }
    let size = conn
        .tx(async |tx| {
            let mut copy = tx.copy_out("COPY (SELECT id FROM t WHERE id = 7) TO STDOUT").await?;
            let mut size = 0;
            while let Some(piece) = copy.next().await? {
                size += piece.len();
            }
            Ok(size)
        })
        .await;
    assert_eq!(size.expect("read"), 3 * "7\n".len());
    drop(conn);
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count"), 3_000);
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
}

/// Statements without parameters do not get into the transaction in which another caller's statement is learned, and
/// which is rolled back.
#[tokio::test]
async fn a_batch_takes_its_turn() {
    let (_database, _bouncer, pool) = pooled(|settings| settings.max = 2).await;
    pool.batch_execute("CREATE TABLE t (id int4)").await.expect("a table");
    let conn = pool.acquire().await.expect("a connection");
    let all = (0..40).map(|id| {
        let conn = &conn;
        async move {
            match id % 2 {
                0 => conn.batch_execute(&format!("INSERT INTO t VALUES ({id})")).await.expect("stored"),
                _ => {
                    drop(conn.execute(&format!("SELECT {id} / $1::int4"), &[&0]).await.expect_err("by zero"))
                }
            }
        }
    });
    join_all(all).await;
    assert_eq!(conn.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count"), 20);
}

/// Concurrent callers of one connection do not get into each other's transactions.
#[tokio::test]
async fn callers_of_one_connection_take_turns() {
    let (_database, _bouncer, pool) = pooled(|settings| settings.max = 2).await;
    pool.batch_execute("CREATE TABLE t (id int4 PRIMARY KEY)").await.expect("a table");
    let conn = pool.acquire().await.expect("a connection");
    let all = (0..100).map(|id| {
        let conn = &conn;
        // Every other one is there already.
        async move { conn.execute("INSERT INTO t VALUES ($1)", &[&(id / 2)]).await.is_ok() }
    });
    let all = timeout(Duration::from_secs(20), join_all(all)).await.expect("in time");
    assert_eq!(all.iter().filter(|is_ok| **is_ok).count(), 50);
    assert_eq!(conn.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("count"), 50);
}

/// What a lane has in flight would be in several sessions of the server: there are none.
#[tokio::test]
async fn there_are_no_lanes() {
    let (_database, _bouncer, pool) = pooled(|settings| settings.max = 4).await;
    for _ in 0..30 {
        assert_eq!(pool.one::<i32>("SELECT $1::int", &[&7]).await.expect("a row"), 7);
    }
    assert_eq!(pool.stats().lanes, db_pool::LaneStats::default());
}
