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

/// How long a lane is held: less than its time-out.
const HELD: f64 = 0.15;

/// As many callers as one lane would never be given at a time.
const CALLERS: i64 = 240;

async fn with_lanes(max: u32) -> (TestDatabase, Pool) {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.queue_limit) = (max, 1_000)).await;
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    (database, pool)
}

/// Has a lane do nothing for a while.
async fn hold_a_lane(pool: &Pool) -> JoinHandle<()> {
    let begun = pool.clone();
    let held = tokio::spawn(async move {
        begun.one::<i64>(SLEEP, &[&HELD, &1_i64]).await.expect("a row");
    });
    eventually("a lane is held", async || pool.stats().lanes.in_flight == 1).await;
    held
}

/// One lane of two does not move: callers who come then are served by the other one, but for the few that were given to the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_does_not_move_holds_up_few() {
    let (_database, pool) = with_lanes(8).await;
    let select = || {
        let pool = pool.clone();
        tokio::spawn(async move { pool.one::<i32>("SELECT 1", &[]).await.expect("a row") })
    };
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    eventually("there are two lanes", async || {
        for caller in join_all((0..CALLERS).map(|_| select())).await {
            caller.expect("no panic");
        }
        pool.stats().lanes.open == 2
    })
    .await;
    let held = hold_a_lane(&pool).await;
    let before = pool.stats().lanes.statements;
    let callers: Vec<_> = (0..CALLERS).map(|_| select()).collect();
    held.await.expect("no panic");
    let served = callers.iter().filter(|caller| caller.is_finished()).count();
    assert!(served > 140, "{served} of {CALLERS} were served beside a lane that did not move");
    join_all(callers).await.into_iter().for_each(|caller| assert_eq!(caller.expect("no panic"), 1));
    assert!(pool.stats().lanes.statements - before > 100, "{:?}", pool.stats().lanes);
}

/// Whoever gives up while its statement waits is told that it has not run, and it never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_before_it_was_sent_never_runs() {
    let (database, pool) = with_lanes(4).await;
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
