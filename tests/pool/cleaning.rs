//! What a user leaves behind: nothing of it reaches the next one.

use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::{Conn, Pool, Reset};
use db_testkit::Proxy;
use tokio::time::timeout;

use crate::support::{database, eventually, pool, settings};

async fn one_connection(reset: Reset) -> (db_testkit::TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min, settings.reset) = (1, 1, reset);
        settings.statement_timeout = Duration::ZERO;
    })
    .await;
    (database, pool)
}

async fn used(pool: &Pool, sql: &str) -> i32 {
    let conn = pool.acquire().await.expect("a connection");
    conn.batch_execute(sql).await.expect(sql);
    conn.process_id()
}

async fn number(pool: &Pool, sql: &str) -> i64 {
    pool.one(sql, &[]).await.expect(sql)
}

/// What was seen on the wire is undone, and the connection stays.
#[tokio::test]
async fn light_undoes_what_it_saw() {
    let (database, pool) = one_connection(Reset::Light).await;
    let role = format!("role_{}", database.name());
    let other = format!("CREATE ROLE {role}");
    let pid = used(&pool, &other).await;
    let check = async |change: &str, look: &str| {
        assert_eq!(used(&pool, change).await, pid, "{change}");
        assert_eq!(number(&pool, look).await, 0, "{change}");
    };
    check("SET work_mem = '77MB'", "SELECT (current_setting('work_mem') = '77MB')::int::bigint").await;
    check(&format!("SET ROLE {role}"), "SELECT (current_user <> session_user)::int::bigint").await;
    check(
        "SELECT set_config('my.tenant', '7', false)",
        "SELECT (coalesce(current_setting('my.tenant', true), '') = '7')::int::bigint",
    )
    .await;
    check("LISTEN jobs", "SELECT count(*) FROM pg_listening_channels()").await;
    check(
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*) FROM pg_cursors WHERE is_holdable",
    )
    .await;
    check("SELECT pg_advisory_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await;
    let idle: String = pool.one("SHOW idle_in_transaction_session_timeout", &[]).await.expect("setting");
    assert_eq!(idle, "30s", "what the pool set is not undone");
    used(&pool, &format!("DROP ROLE {role}")).await;
    assert_eq!(pool.stats().opened, 1);
}

/// The same by a statement with parameters, prepared before.
#[tokio::test]
async fn light_sees_what_prepared_statements_do() {
    let (_database, pool) = one_connection(Reset::Light).await;
    for _ in 0..3 {
        let set = "SELECT set_config('my.tenant', $1, false)";
        pool.one::<String>(set, &[&"7"]).await.expect("set");
        let left = "SELECT coalesce(current_setting('my.tenant', true), '')";
        assert_eq!(pool.one::<String>(left, &[]).await.expect("look"), "");
    }
}

#[tokio::test]
async fn none_leaves_settings_alone() {
    let (_database, pool) = one_connection(Reset::None).await;
    used(&pool, "SET work_mem = '77MB'").await;
    assert_eq!(pool.one::<String>("SHOW work_mem", &[]).await.expect("setting"), "77MB");
}

#[tokio::test]
async fn discard_undoes_everything() {
    let (_database, pool) = one_connection(Reset::Discard).await;
    let pid = used(&pool, "CREATE TEMP TABLE mine (n int); SET work_mem = '77MB'").await;
    let left = "SELECT count(*) FROM pg_class WHERE relname = 'mine'";
    assert_eq!(number(&pool, left).await, 0);
    assert_eq!(number(&pool, left).await, 0, "also when the statement was prepared before");
    assert_eq!(used(&pool, "SELECT 1").await, pid);
    assert_eq!(pool.one::<String>("SHOW work_mem", &[]).await.expect("setting"), "4MB");
}

/// Types that the driver looks up go on to work, whatever was done to the statements by which it does so.
#[tokio::test]
async fn new_types_work_after_statements_were_discarded() {
    for reset in [Reset::Light, Reset::Discard] {
        let (_database, pool) = one_connection(reset).await;
        used(&pool, "CREATE TYPE a AS ENUM ('x'); CREATE TYPE b AS ENUM ('y')").await;
        pool.fetch("SELECT 'x'::a", &[]).await.expect("a value");
        used(&pool, "DISCARD ALL").await;
        pool.fetch("SELECT 'y'::b", &[]).await.expect("a value");
        used(&pool, "PREPARE mine AS SELECT 1").await;
        let left = "SELECT count(*) FROM pg_prepared_statements WHERE from_sql";
        assert_eq!(number(&pool, left).await, 0);
    }
}

/// Not every setting whose name begins so is for one transaction.
#[tokio::test]
async fn a_setting_with_a_local_name_is_undone() {
    let (_database, pool) = one_connection(Reset::Light).await;
    for name in ["local_app.tenant", "local.tenant", "locale_x.y"] {
        used(&pool, &format!("SET {name} = '7'")).await;
        let left: String = pool
            .one(&format!("SELECT coalesce(current_setting('{name}', true), '')"), &[])
            .await
            .expect(name);
        assert_eq!(left, "", "{name}");
    }
}

/// An error is told before the server is ready again; the connection must not be handed out in between.
#[tokio::test]
async fn after_an_error_the_server_is_waited_for() {
    let (_database, pool) = one_connection(Reset::Light).await;
    for _ in 0..200 {
        pool.one::<i32>("SELECT 1 / 0", &[]).await.expect_err("division by zero");
        assert_eq!(number(&pool, "SELECT 7::bigint").await, 7);
    }
    assert_eq!(pool.stats().opened, 1);
}

/// A connection survives what was given up on it: it is cancelled, cleaned and used again.
#[tokio::test]
async fn a_connection_survives_what_was_given_up() {
    let (_database, pool) = one_connection(Reset::Light).await;
    let pid = used(&pool, "CREATE TABLE t (n int)").await;
    let give_up = async |what: &str, work: &mut (dyn Future<Output = ()> + Send + Unpin)| {
        assert!(timeout(Duration::from_millis(100), work).await.is_err(), "{what}");
    };
    for _ in 0..3 {
        let conn = pool.acquire().await.expect("a connection");
        give_up(
            "a statement",
            &mut Box::pin(async { drop(conn.batch_execute("SELECT pg_sleep(60)").await) }),
        )
        .await;
        drop(conn);
        assert_eq!(used(&pool, "SELECT 1").await, pid);

        let work = pool.tx(async |tx| {
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tx.batch_execute("SELECT pg_sleep(60)").await
        });
        assert!(timeout(Duration::from_millis(100), work).await.is_err());
        assert_eq!(used(&pool, "SELECT 1").await, pid);
    }
    assert_eq!(number(&pool, "SELECT count(*) FROM t").await, 0);
    assert_eq!(pool.stats().opened, 1);
}

/// A copy that is not finished stores nothing, and its connection is used again.
#[tokio::test]
async fn a_copy_that_was_given_up_stores_nothing() {
    let (_database, pool) = one_connection(Reset::Light).await;
    let pid = used(&pool, "CREATE TABLE t (n int)").await;
    let mut conn: Conn = pool.acquire().await.expect("a connection");
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.expect("begun");
    copy.send("1\n2\n").await.expect("sent");
    drop(copy);
    drop(conn);
    assert_eq!(number(&pool, "SELECT count(*) FROM t").await, 0);
    assert_eq!(used(&pool, "SELECT 1").await, pid);

    // The driver cannot feed this one, and the server waits for data for ever.
    let conn = pool.acquire().await.expect("a connection");
    conn.batch_execute("COPY t FROM STDIN").await.expect_err("no data");
    drop(conn);
    eventually("it is replaced", async || pool.stats().closed.unclean == 1).await;
    assert_ne!(used(&pool, "SELECT 1").await, pid);
}

/// Settings for one transaction cost no round trip when the connection comes back.
#[tokio::test]
async fn a_setting_for_one_transaction_needs_no_cleaning() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let mut settings = settings();
    (settings.max, settings.min) = (1, 1);
    let pool = Pool::open(proxy.config(), settings).await.expect("a pool");
    let work = async || {
        pool.tx(async |tx| tx.execute("SET LOCAL my.tenant = '7'", &[]).await).await.expect("committed")
    };
    work().await;
    let before = proxy.counts().requests;
    work().await;
    drop(pool.acquire().await.expect("a connection"));
    // BEGIN, SET LOCAL, COMMIT.
    assert_eq!(proxy.counts().requests - before, 3);
}
