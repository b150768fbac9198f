//! Many callers on fewer connections on still fewer sessions, and what named statements do there: the control.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_core::{Error, Executor, Query};
use db_pool::{Pool, Pooler};

use super::bouncer::{Bouncer, Mode, SERVERS};
use crate::support::database;

const TASKS: u32 = 16;

/// Statements of each kind until there have been that many; gives their number, and in which sessions they ran.
async fn load(pool: &Pool, statements: u32) -> Result<(u32, BTreeSet<i32>), Error> {
    let served = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let mut sessions = BTreeSet::new();
                while served.fetch_add(1, Ordering::Relaxed) < statements {
                    sessions.insert(one_round(&pool, task, served.load(Ordering::Relaxed)).await?);
                }
                Ok::<_, Error>(sessions)
            })
        })
        .collect();
    let mut sessions = BTreeSet::new();
    for task in tasks {
        sessions.extend(task.await.expect("no panic")?);
    }
    Ok((served.load(Ordering::Relaxed), sessions))
}

async fn one_round(pool: &Pool, task: u32, round: u32) -> Result<i32, Error> {
    let (task, round) = (i64::from(task), i64::from(round));
    match round % 4 {
        0 => pool
            .execute("UPDATE t SET n = n + 1 WHERE id = $1", &[&task])
            .await
            .map(|rows| assert_eq!(rows, 1))?,
        1 => {
            let add = "UPDATE t SET n = n + $2 WHERE id = $1 RETURNING n";
            pool.tx(async |tx| {
                let more: i64 = tx.one(add, &[&task, &1_i64]).await?;
                tx.one::<i64>(add, &[&task, &-1_i64]).await.map(|less| assert_eq!(less + 1, more))
            })
            .await?;
        }
        _ => {
            let sql = format!("SELECT $1::int8 + {}", round % 10);
            assert_eq!(pool.one::<i64>(&sql, &[&task]).await?, task + round % 10);
        }
    }
    pool.one("SELECT pg_backend_pid()", &[]).await
}

/// E1: thousands of statements of 16 callers on 8 connections and 2 sessions, without an error, and nothing is left in the
/// sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_fails_and_none_is_left() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let pool = bouncer
        .pool(|settings| {
            (settings.max, settings.min) = (8, 8);
            settings.pooler = Pooler::Transaction;
            settings.statement_timeout = Duration::from_secs(30);
        })
        .await;
    pool.batch_execute("CREATE TABLE t (id int8, n int8); INSERT INTO t SELECT generate_series(0, 15), 0")
        .await
        .expect("a table");
    assert_eq!(bouncer.in_each_session("SELECT 'both are open'").await.len(), SERVERS);
    let (served, sessions) = load(&pool, 2_000).await.expect("no error");
    assert!(served >= 2_000);
    assert_eq!(sessions.len(), SERVERS, "the sessions did change");
    assert_eq!(pool.stats().opened, 8, "no connection was given up");
    let left = "SELECT count(*)::text FROM pg_prepared_statements";
    assert_eq!(bouncer.in_each_session(left).await, ["0"; SERVERS]);
}

/// A named statement does fail in another session: the test above shows something.
#[tokio::test]
async fn named_statements_do_fail() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    for pooler in [Pooler::None, Pooler::Session] {
        let pool = bouncer
            .pool(|settings| {
                (settings.max, settings.min) = (1, 1);
                settings.pooler = pooler;
            })
            .await;
        let mut codes = BTreeSet::new();
        let others = [bouncer.client().await, bouncer.client().await];
        for other in &others {
            other.batch_execute("BEGIN").await.expect("hold a session");
        }
        for other in &others {
            // The only session that is free now.
            other.batch_execute("ROLLBACK").await.expect("let go");
            if let Err(error) = pool.tx(async |tx| tx.one::<i32>("SELECT $1::int4", &[&7]).await).await {
                codes.insert(error.sqlstate().map(|code| code.to_string()));
            }
            other.batch_execute("BEGIN").await.expect("hold it again");
        }
        assert!(codes.contains(&Some("26000".to_owned())), "{pooler:?}: {codes:?}");
    }
}
