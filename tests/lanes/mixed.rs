//! The property of lanes: whatever runs beside whatever, each caller sees exactly its own result.

use std::cell::Cell;
use std::time::Duration;

use db_core::{Executor, Outcome, Query};
use db_pool::Pool;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::{SLEEP, learn};
use crate::support::{client, database, eventually, pool};

/// How many callers there are at a time.
const CALLERS: usize = 200;

const ECHO: &str = "SELECT $1::int8, 'number ' || $2";
const DIVIDE: &str = "SELECT 100 / $1::int8";
const REPEAT: &str = "SELECT repeat($1, $2)";
const INSERT: &str = "INSERT INTO t (id) VALUES ($1)";

/// Something that a caller does.
#[derive(Clone, Copy, Debug)]
enum Statement {
    /// Gives back what it is given.
    Echo,
    /// Fails with an error of its own.
    Failing,
    /// Is as slow as that, in milliseconds, some beyond the time-out of a lane.
    Slow(u16),
    /// Has a result of so many bytes.
    Large(i32),
    /// Is given up after so many microseconds.
    GivenUp(u16),
    /// Writes what nobody else writes.
    Insert,
    /// Writes what is there already.
    Duplicate,
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        8 => Just(Statement::Echo),
        2 => Just(Statement::Failing),
        1 => (1..=300_u16).prop_map(Statement::Slow),
        1 => (1..=200_000_i32).prop_map(Statement::Large),
        2 => (0..=3_000_u16).prop_map(Statement::GivenUp),
        3 => Just(Statement::Insert),
        1 => Just(Statement::Duplicate),
    ]
}

/// Runs it, and looks whether what came is its own. `key` is nobody else's.
async fn check(statement: Statement, key: i64, pool: &Pool) -> Result<(), String> {
    let own = |is_own: bool, what: &dyn std::fmt::Debug| {
        if is_own { Ok(()) } else { Err(format!("{statement:?} of {key} got {what:?}")) }
    };
    match statement {
        Statement::Echo => {
            let got = pool.one::<(i64, String)>(ECHO, &[&key, &key.to_string()]).await;
            own(
                matches!(&got, Ok((number, text)) if *number == key && *text == format!("number {key}")),
                &got,
            )
        }
        Statement::Failing => {
            let got = pool.one::<i64>(DIVIDE, &[&0_i64]).await;
            own(matches!(&got, Err(error) if error.code() == "22012"), &got)
        }
        Statement::Slow(millis) => {
            let got = pool.one::<i64>(SLEEP, &[&(f64::from(millis) / 1e3), &key]).await;
            own(matches!(&got, Ok(number) if *number == key), &got)
        }
        Statement::Large(bytes) => {
            let letter = char::from(b'a' + u8::try_from(key % 26).unwrap_or(0)).to_string();
            let got = pool.one::<String>(REPEAT, &[&letter, &bytes]).await;
            own(
                matches!(&got, Ok(text) if *text == letter.repeat(bytes as usize)),
                &got.map(|text| text.len()),
            )
        }
        Statement::GivenUp(micros) => {
            let got =
                timeout(Duration::from_micros(micros.into()), pool.one::<(i64, String)>(ECHO, &[&key, &"x"]))
                    .await;
            own(!matches!(&got, Ok(got) if got.as_ref().map_or(true, |(number, _)| *number != key)), &got)
        }
        Statement::Insert => {
            let got = pool.execute(INSERT, &[&key]).await;
            own(matches!(got, Ok(1)), &got)
        }
        Statement::Duplicate => {
            let got = pool.execute(INSERT, &[&0_i64]).await;
            let is_own = matches!(&got, Err(error) if error.code() == "23505" && error.outcome() == Outcome::RolledBack);
            own(is_own, &got)
        }
    }
}

/// A random mix of short, failing, slow, large, cancelled and writing statements by 200 callers at a time: each sees exactly its
/// own result, and what was written is there once.
#[test]
fn each_sees_exactly_its_own_result() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (database, pool) = runtime.block_on(async {
        let database = database().await;
        let pool = pool(&database, |settings| (settings.max, settings.queue_limit) = (12, 1_000)).await;
        pool.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (0)")
            .await
            .expect("a table");
        (database, pool)
    });
    let key = Cell::new(0_i64);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let mixes = prop::collection::vec(statement(), CALLERS * 4);
    let ran = runner.run(&mixes, |mix| {
        key.set(key.get() + 1_000_000);
        let from = key.get();
        runtime.block_on(async {
            // What was sent back by the mix before is on lanes again.
            learn::<(i64, String)>(&pool, ECHO, &[&1_i64, &"x"]).await;
            learn::<i64>(&pool, DIVIDE, &[&1_i64]).await;
            if from == 1_000_000 {
                learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
                learn::<String>(&pool, REPEAT, &[&"x", &1_i32]).await;
            }
            let mut callers = tokio::task::JoinSet::new();
            let mut inserted = 0;
            for (index, share) in mix.chunks(4).enumerate() {
                inserted += share.iter().filter(|one| matches!(one, Statement::Insert)).count();
                let (share, pool) = (share.to_vec(), pool.clone());
                let first = from + i64::try_from(index).unwrap_or(0) * 100;
                callers.spawn(async move {
                    for (number, statement) in share.into_iter().enumerate() {
                        check(statement, first + i64::try_from(number).unwrap_or(0), &pool).await?;
                    }
                    Ok::<_, String>(())
                });
            }
            while let Some(caller) = callers.join_next().await {
                caller.expect("no panic").map_err(TestCaseError::fail)?;
            }
            let stored: i64 = pool
                .one("SELECT count(*) FROM t WHERE id BETWEEN $1 AND $2", &[&from, &(from + 999_999)])
                .await
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(stored, i64::try_from(inserted).unwrap_or(0));
            Ok(())
        })
    });
    ran.expect("each sees its own");
    let stats = pool.stats().lanes;
    assert!(stats.statements > 1_000 && stats.demotions > 0, "{stats:?}");
    runtime.block_on(async {
        pool.close(Duration::from_secs(10)).await.expect("closed");
        let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        let admin = client(database.url()).await;
        eventually("nothing is left", async || {
            admin.query_one(left, &[]).await.expect("a row").get::<_, i64>(0) == 1
        })
        .await;
    });
}
