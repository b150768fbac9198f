//! Types that the driver does not know and looks up, behind `pool_mode = transaction`.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::BytesMut;
use db_core::{Executor, Query};
use db_pool::{Pool, Pooler};
use db_testkit::TestDatabase;
use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::bouncer::{Bouncer, Mode, SERVERS};
use crate::support::database;

/// How many types there are: more than the driver has queries to look them up.
const TYPES: usize = 5;

/// A label of any enum.
#[derive(Debug, PartialEq)]
struct Label(String);

impl ToSql for Label {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(candidate: &Type) -> bool {
        matches!(candidate.kind(), Kind::Enum(_))
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Label {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(std::str::from_utf8(bytes)?.to_owned()))
    }

    fn accepts(candidate: &Type) -> bool {
        matches!(candidate.kind(), Kind::Enum(_))
    }
}

/// A pool of one connection, and types with a table for each.
async fn with_types() -> (TestDatabase, Bouncer, Pool) {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let pool = bouncer
        .pool(|settings| {
            (settings.max, settings.min) = (1, 1);
            settings.pooler = Pooler::Transaction;
        })
        .await;
    for index in 0..TYPES {
        let sql = format!(
            "CREATE TYPE mood{index} AS ENUM ('good', 'bad'); CREATE TABLE t{index} (id int4, mood mood{index})"
        );
        pool.batch_execute(&sql).await.expect("a type");
    }
    (database, bouncer, pool)
}

/// A type of one's own is a parameter and a result, alone and in a transaction.
#[tokio::test]
async fn an_enum_goes_in_and_out() {
    let (_database, _bouncer, pool) = with_types().await;
    let good = || Label("good".to_owned());
    for id in 1..=3 {
        pool.execute("INSERT INTO t0 VALUES ($1, $2)", &[&id, &good()]).await.expect("insert");
    }
    let rows: Vec<(Label, i32)> =
        pool.query("SELECT mood, id FROM t0 WHERE mood = $1 ORDER BY id", &[&good()]).await.expect("query");
    assert_eq!(rows, [(good(), 1), (good(), 2), (good(), 3)]);
    let in_tx =
        pool.tx(async |tx| tx.one::<(Label, i64)>("SELECT max(mood), count(*) FROM t0", &[]).await).await;
    assert_eq!(in_tx.expect("in a transaction"), (good(), 3));
}

/// A result of 10,000 rows with a type that is still to be looked up: the driver alone would wait for ever.
#[tokio::test]
async fn many_rows_of_an_enum_come_out() {
    let (_database, _bouncer, pool) = with_types().await;
    pool.batch_execute("INSERT INTO t0 SELECT i, 'bad' FROM generate_series(1, 10000) i")
        .await
        .expect("rows");
    for _ in 0..2 {
        let rows: Vec<(i32, Label)> = pool.query("SELECT id, mood FROM t0", &[]).await.expect("query");
        assert_eq!(rows.len(), 10_000);
        assert_eq!(rows[9_999].1, Label("bad".to_owned()));
    }
}

/// The driver looks types up by statements that it makes in one session. The next type, looked up in another, works as well,
/// and no such statement is left in either.
#[tokio::test]
async fn types_are_looked_up_in_whatever_session() {
    let (_database, bouncer, pool) = with_types().await;
    let others = [bouncer.client().await, bouncer.client().await];
    for other in &others {
        other.batch_execute("BEGIN").await.expect("hold a session");
    }
    for index in 0..TYPES {
        // The only session that is free now.
        let other = &others[index % SERVERS];
        other.batch_execute("ROLLBACK").await.expect("let go");
        let sql = format!("SELECT count(*) FROM t{index} WHERE mood = $1");
        let good = Label("good".to_owned());
        let count: i64 = match index % 3 {
            0 => pool.one(&sql, &[&good]).await.expect("a type"),
            1 => pool.tx(async |tx| tx.one(&sql, &[&good]).await).await.expect("a type in a transaction"),
            _ => {
                let mut rows = pool.stream(&sql, &[&good]).await.expect("a type in a stream");
                let count = rows.next().await.expect("a row").expect("a count");
                assert!(rows.next().await.is_none());
                count
            }
        };
        assert_eq!(count, 0);
        other.batch_execute("BEGIN").await.expect("hold it again");
    }
    for other in &others {
        other.batch_execute("ROLLBACK").await.expect("let go");
    }
    let error = pool.one::<i32>("SELECT mood FROM t0 WHERE nothing", &[]).await.expect_err("no such column");
    assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some("42703"), "{error}");
    assert_eq!(pool.stats().opened, 1, "the connection is used again");
    let left = "SELECT count(*)::text FROM pg_prepared_statements";
    assert_eq!(bouncer.in_each_session(left).await, ["0"; SERVERS]);
}

/// Statements of those lookups that another process left under a name that is ours next are passed by.
#[tokio::test]
async fn names_that_another_process_left_are_passed_by() {
    let (_database, bouncer, pool) = with_types().await;
    // In both sessions, under the names that the driver will use for a while: it counts from zero in each process.
    let leave = "DO $$ BEGIN FOR i IN 0..2000 LOOP
        IF i % 3 > 0 THEN EXECUTE format('PREPARE s%s AS SELECT 1', i); END IF; END LOOP; END $$";
    let clients = [bouncer.client().await, bouncer.client().await];
    for client in &clients {
        client.batch_execute("BEGIN").await.expect("begin");
        client.batch_execute(leave).await.expect("left");
    }
    for client in &clients {
        client.batch_execute("COMMIT").await.expect("commit");
    }
    for n in 0..20_i32 {
        let sql = format!("SELECT $1::int4 + {n}");
        assert_eq!(pool.one::<i32>(&sql, &[&1]).await.expect("a name"), n + 1);
    }
}

/// E6: whoever is dropped while the types of a statement are looked up leaves nothing in a session, and whoever comes next
/// gets nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_that_are_dropped_leave_nothing() {
    const ROUNDS: u64 = 1_000;
    let (_database, bouncer, _pool) = with_types().await;
    let pool = bouncer
        .pool(|settings| {
            (settings.max, settings.min) = (4, 4);
            settings.pooler = Pooler::Transaction;
            settings.statement_cache = 8;
        })
        .await;
    let tasks = (0..4_u64).map(|task| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let sql = format!("SELECT count(*) + {round} FROM t{} WHERE mood = $1", round % TYPES as u64);
                let good = Label("good".to_owned());
                let patience = Duration::from_micros((round * 7_919 + task * 131) % 3_000);
                let given_up = async {
                    match round % 2 {
                        0 => pool.one::<i64>(&sql, &[&good]).await,
                        _ => pool.tx(async |tx| tx.one::<i64>(&sql, &[&good]).await).await,
                    }
                };
                if let Ok(count) = timeout(patience, given_up).await {
                    assert_eq!(count.expect("what ends in time ends well"), round as i64);
                }
                let next = pool.tx(async |tx| tx.one::<i32>("SELECT $1::int4", &[&7]).await).await;
                assert_eq!(next.expect("nothing is in the way"), 7);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no error");
    }
    let stats = pool.stats();
    assert!(u64::from(stats.closed.total()) <= ROUNDS / 20, "connections are used again: {stats:?}");
    pool.close(Duration::from_secs(5)).await.expect("close");
    let left = "SELECT string_agg(name || ': ' || statement, E'\\n') FROM pg_prepared_statements";
    let left = format!("SELECT coalesce(({left}), '')");
    assert_eq!(bouncer.in_each_session(&left).await, [""; SERVERS]);
}
