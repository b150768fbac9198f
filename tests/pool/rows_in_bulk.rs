//! Many rows at once: COPY both ways and inserts from columns; and LISTEN, which brings rows from elsewhere.

use std::time::Duration;

use db_core::{Executor, Kind, Outcome, Query};
use db_pool::{Column, Heard, Pool, insert_columns};
use db_testkit::TestDatabase;
use tokio::time::timeout;

use crate::support::{client, database, eventually, pool};

async fn with_table() -> (TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (2, 1)).await;
    pool.batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text)").await.expect("set up");
    (database, pool)
}

#[tokio::test]
async fn copy_goes_in_and_out() {
    let (_database, pool) = with_table().await;
    let mut conn = pool.acquire().await.expect("a connection");
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.expect("begun");
    for id in 0..10_000 {
        copy.send(format!("{id}\tname {id}\n")).await.expect("sent");
    }
    assert_eq!(copy.finish().await.expect("stored"), 10_000);

    let mut copy = conn.copy_out("COPY (SELECT name FROM t ORDER BY id) TO STDOUT").await.expect("begun");
    let mut text = Vec::new();
    while let Some(piece) = copy.next().await.expect("data") {
        text.extend_from_slice(&piece);
    }
    assert!(copy.next().await.expect("still the end").is_none());
    let text = String::from_utf8(text).expect("text");
    assert_eq!((text.lines().count(), text.lines().last()), (10_000, Some("name 9999")));
    drop(copy);
    assert_eq!(conn.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("it goes on"), 10_000);
}

/// Wrong data is said at the end, and stores nothing.
#[tokio::test]
async fn copy_stores_all_or_nothing() {
    let (_database, pool) = with_table().await;
    let mut conn = pool.acquire().await.expect("a connection");
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.expect("begun");
    copy.send("1\tone\nnot a number\ttwo\n").await.expect("sent");
    let error = copy.finish().await.expect_err("not a number");
    assert_eq!(error.outcome(), Outcome::RolledBack, "{error}");
    conn.batch_execute("SELECT 1").await.expect_err("it serves nobody any more");
    drop(conn);
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("another connection"), 0);
    let stored = pool
        .tx(async |tx| {
            let mut copy = tx.copy_in("COPY t FROM STDIN").await?;
            copy.send("1\tone\n").await?;
            copy.finish().await
        })
        .await;
    assert_eq!(stored.expect("committed"), 1);
}

/// After a copy that did not begin the driver takes answers for others': that connection serves nobody any more.
#[tokio::test]
async fn a_copy_that_did_not_begin_costs_its_connection() {
    let (database, pool) = with_table().await;
    let role = format!("role_{}", database.name());
    pool.batch_execute(&format!("CREATE ROLE {role}")).await.expect("a role");
    let mut conn = pool.acquire().await.expect("a connection");
    conn.batch_execute(&format!("SET ROLE {role}")).await.expect("without rights");
    conn.copy_in("COPY t FROM STDIN").await.expect_err("permission denied");
    conn.batch_execute("SELECT 1").await.expect_err("it is over");
    drop(conn);
    for _ in 0..5 {
        assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("another connection"), 7);
    }
    pool.batch_execute(&format!("DROP ROLE {role}")).await.expect("drop");
}

/// The server reports these before it has come to the driver's first Sync, and answers twice. The next users must not get
/// each other's rows.
#[tokio::test]
async fn a_copy_that_fails_early_does_not_mix_up_answers() {
    let (_database, pool) = with_table().await;
    pool.batch_execute(
        "CREATE VIEW v AS SELECT id + 0 AS id FROM t;
         CREATE TABLE guarded (n int);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE TRIGGER g BEFORE INSERT ON guarded FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )
    .await
    .expect("set up");
    for round in 0..30 {
        for table in ["v", "guarded"] {
            let mut conn = pool.acquire().await.expect("a connection");
            if let Ok(mut copy) = conn.copy_in(&format!("COPY {table} FROM STDIN")).await {
                copy.send("1\n").await.ok();
                copy.finish().await.expect_err("refused");
            }
            drop(conn);
            for n in 0..3 {
                let next = pool.one::<i32>(&format!("SELECT {n}"), &[]).await;
                assert_eq!(next.expect("an answer"), n, "round {round}, {table}");
            }
        }
    }
}

/// Names are quoted by the server, types are the table's, and nothing is filled up.
#[tokio::test]
async fn rows_are_inserted_from_columns() {
    let (_database, pool) = with_table().await;
    pool.batch_execute(
        "CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE TABLE \"Odd table\" (\"Id\" bigint, note text, mood mood, at date)",
    )
    .await
    .expect("set up");
    let ids: Vec<i64> = (1..=1_000).collect();
    let notes: Vec<Option<String>> =
        ids.iter().map(|id| (id % 2 == 0).then(|| format!("note {id}"))).collect();
    let columns = [Column::new("Id", &ids), Column::new("note", &notes)];
    assert_eq!(insert_columns(&pool, "\"Odd table\"", &columns).await.expect("stored"), 1_000);
    let sums: (i64, i64) =
        pool.one("SELECT sum(\"Id\")::bigint, count(note) FROM \"Odd table\"", &[]).await.expect("sums");
    assert_eq!(sums, (500_500, 500));

    let check = async |columns: &[Column<'_>], expect: &str| {
        let error = insert_columns(&pool, "\"Odd table\"", columns).await.expect_err(expect);
        assert_eq!(error.to_string(), expect);
        assert_eq!(error.kind(), Kind::Query);
    };
    check(&[], "there is no column to insert").await;
    check(
        &[Column::new("Id", &ids), Column::new("note", &["one"])],
        "column Id has 1000 values and column note has 1",
    )
    .await;
    check(&[Column::new("id", &ids)], "table \"Odd table\" has no column id").await;
    insert_columns(&pool, "missing", &[Column::new("id", &ids)]).await.expect_err("no such table");

    pool.batch_execute("CREATE TABLE fixed (c char(10), b varchar(3))").await.expect("set up");
    let texts = ["hello".to_owned()];
    insert_columns(&pool, "fixed", &[Column::new("c", &texts)]).await.expect("stored");
    assert_eq!(pool.one::<String>("SELECT c::text FROM fixed", &[]).await.expect("all of it"), "hello");
    let error = insert_columns(&pool, "fixed", &[Column::new("b", &texts)]).await.expect_err("too long");
    assert_eq!(error.to_string(), "a text is too long (22001)");

    let inserted =
        pool.tx(async |tx| insert_columns(tx, "t", &[Column::new("id", &[1_i32, 2, 3])]).await).await;
    assert_eq!(inserted.expect("in a transaction"), 3);
}

async fn heard(listener: &mut db_pool::Listener) -> Heard {
    timeout(Duration::from_secs(10), listener.next()).await.expect("in time").expect("the pool is open")
}

/// A listener goes on after its connection was lost, and says that there was a gap.
#[tokio::test]
async fn a_listener_survives_the_loss_of_its_connection() {
    let (database, pool) = with_table().await;
    let mut listener = pool.listen(&["jobs", "Odd \"name\""]).await.expect("a listener");
    let aside = client(database.url()).await;
    let check = async |listener: &mut db_pool::Listener, channel: &str, payload: &str| {
        let notify = "SELECT pg_notify($1, $2)";
        aside.execute(notify, &[&channel, &payload]).await.expect("notify");
        match heard(listener).await {
            Heard::Notification(told) => {
                assert_eq!((told.channel.as_str(), told.payload.as_str()), (channel, payload))
            }
            other => panic!("{other:?}"),
        }
    };
    check(&mut listener, "jobs", "one").await;
    check(&mut listener, "Odd \"name\"", "two").await;

    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(aside.query_one(end, &[]).await.expect("terminate").get::<_, i64>(0), 1);
    assert_eq!(heard(&mut listener).await, Heard::Gap);
    check(&mut listener, "jobs", "three").await;

    pool.close(Duration::from_secs(5)).await.expect("close");
    assert_eq!(timeout(Duration::from_secs(5), listener.next()).await.expect("in time"), None);
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("nothing is left", async || {
        aside.query_one(sessions, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;
}
