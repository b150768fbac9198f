//! Statements that wait for a lane: none is bound to one that does not move, and one that was not sent has no effect.

use std::time::Duration;

use db_core::{Executor, Outcome, Query};
use db_pool::Pool;
use db_testkit::TestDatabase;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{SLEEP, learn};
use crate::support::{client, database, eventually, pool};

const INSERT: &str = "INSERT INTO t (id) VALUES ($1)";

/// How long it is held, in seconds.
const HELD: f64 = 1.0;

/// More callers than a lane is given at a time, and fewer than it could take.
const CALLERS: i64 = 240;

/// A pool that has lanes.
async fn with_lanes(most: u32) -> (TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.queue_limit) = (4 * most, 1_000);
        settings.lanes.timeout = Duration::from_secs(2);
    })
    .await;
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    (database, pool)
}

/// Has one lane do nothing for a while.
async fn hold_a_lane(pool: &Pool) -> JoinHandle<()> {
    let begun = pool.clone();
    let held = tokio::spawn(async move {
        begun.one::<i64>(SLEEP, &[&HELD, &1_i64]).await.expect("a row");
    });
    eventually("it is held", async || pool.stats().lanes.in_flight == 1).await;
    held
}

/// So many callers that select.
fn select(pool: &Pool) -> Vec<JoinHandle<i32>> {
    let one = |pool: Pool| async move { pool.one::<i32>("SELECT 1", &[]).await.expect("a row") };
    (0..CALLERS).map(|_| tokio::spawn(one(pool.clone()))).collect()
}

/// The lane does not move: what was given to it has to wait, and the rest of those who came are served by other connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_does_not_move_holds_up_few() {
    let (_database, pool) = with_lanes(1).await;
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    let held = hold_a_lane(&pool).await;
    // Sooner than the lane is late and they would be sent elsewhere.
    let callers = select(&pool);
    let served = || callers.iter().filter(|caller| caller.is_finished()).count();
    eventually("most are served", async || served() > 140).await;
    assert!(!held.is_finished(), "while the lane did not move");
    held.await.expect("no panic");
    join_all(callers).await.into_iter().for_each(|caller| assert_eq!(caller.expect("no panic"), 1));
}

/// One of two lanes does not move: the other one takes all that wait in line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_moves_takes_what_waits() {
    let (_database, pool) = with_lanes(2).await;
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    eventually("there are two lanes", async || {
        join_all(select(&pool)).await;
        pool.stats().lanes.open == 2
    })
    .await;
    let held = hold_a_lane(&pool).await;
    let before = pool.stats().lanes.statements;
    let callers = select(&pool);
    let served = || callers.iter().filter(|caller| caller.is_finished()).count();
    eventually("most are served", async || served() > 140).await;
    let on_lanes = pool.stats().lanes.statements - before;
    assert!(!held.is_finished() && on_lanes > 120, "{on_lanes} on the lane that moves");
    held.await.expect("no panic");
    join_all(callers).await.into_iter().for_each(|caller| assert_eq!(caller.expect("no panic"), 1));
}

/// Whoever gives up while its statement waits is told that it has not run, and it never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_before_it_was_sent_never_runs() {
    let (database, pool) = with_lanes(1).await;
    let aside = client(database.url()).await;
    aside.batch_execute("CREATE TABLE t (id int8)").await.expect("a table");
    for _ in 0..12 {
        pool.execute(INSERT, &[&-2_i64]).await.expect("learned");
    }
    let held = hold_a_lane(&pool).await;
    // Sooner than the lane is late and they would be sent elsewhere.
    let deadline = Instant::now() + Duration::from_millis(10);
    let view = pool.autocommit().until(deadline);
    let outcomes = join_all((0..CALLERS).map(|id| async move {
        let result = view.execute(INSERT, &[&id]).await;
        (id, result.err().map(|error| error.outcome()))
    }))
    .await;
    held.await.expect("no panic");
    eventually("the lane is empty", async || pool.stats().lanes.in_flight == 0).await;
    assert_eq!(pool.stats().lanes.waiting, 0);
    let rows = aside.query("SELECT id FROM t WHERE id >= 0", &[]).await.expect("rows");
    let stored: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    for (id, outcome) in &outcomes {
        match outcome {
            None => assert!(stored.contains(id), "{id} was acknowledged"),
            // Some found a connection of their own, and were cancelled there.
            Some(Outcome::NotExecuted | Outcome::RolledBack) => {
                assert!(!stored.contains(id), "{id} has no effect");
            }
            Some(outcome) => assert_eq!(*outcome, Outcome::Unknown),
        }
    }
    let unsent = outcomes.iter().filter(|(_, outcome)| *outcome == Some(Outcome::NotExecuted)).count();
    assert!(unsent > 50, "{unsent} of {CALLERS} waited for the lane");
}
