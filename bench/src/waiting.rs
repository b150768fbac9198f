//! What tasks that wait cost in memory: 1,000 of them select from a table that somebody else has locked, so that no
//! connection comes free and no answer comes. Counted is what is allocated on their thread, which is that of the pool and of
//! the driver as well, while all of them wait, over what was before the first of them was there.
//!
//! Counts the tasks themselves too, since what a pool keeps in the caller's future is memory as any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::contestants::{Contestant, Deadpool, Name, Ours, Sqlx};
use crate::plan::CONNECTIONS;
use crate::report::Waiting;
use crate::workload::{Item, Keys};

const TASKS: usize = 1_000;

/// Of ours and the peers that take part in what is not done by all.
pub(crate) fn memory(single: &Runtime, url: &str) -> Result<Vec<Waiting>> {
    eprintln!("memory of waiting tasks");
    // The lock and the looking are no work of the contestants: on threads where nothing is counted.
    let aside = Runtime::new()?;
    Ok(vec![
        of::<Ours>(Name::Ours, single, &aside, url)?,
        of::<Deadpool>(Name::Deadpool, single, &aside, url)?,
        of::<Sqlx>(Name::Sqlx, single, &aside, url)?,
    ])
}

fn of<C: Contestant>(name: Name, single: &Runtime, aside: &Runtime, url: &str) -> Result<Waiting> {
    let contestant = Arc::new(single.block_on(C::open(url))?);
    single.block_on(warm_up(&contestant))?;
    let (locker, watcher) =
        aside.block_on(async { anyhow::Ok((connect(url).await?, connect(url).await?)) })?;
    aside.block_on(locker.batch_execute("BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))?;

    let begun = Arc::new(AtomicUsize::new(0));
    let still = aside.spawn(until_all_wait(watcher, Arc::clone(&begun)));
    let mut tasks = JoinSet::new();
    let mut watched = None;
    let info = allocation_counter::measure(|| {
        watched = Some(single.block_on(async {
            for task in 0..TASKS {
                let (contestant, begun) = (Arc::clone(&contestant), Arc::clone(&begun));
                tasks.spawn(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    contestant.select(Keys::of_task(task).draw()).await
                });
            }
            still.await
        }));
    });
    let sessions = watched.context("nothing was measured")???;

    aside.block_on(locker.batch_execute("COMMIT"))?;
    let answers = single.block_on(tasks.join_all()).into_iter().collect::<Result<Vec<Item>>>()?;
    if answers.len() != TASKS {
        bail!("{} of {TASKS} were answered", answers.len());
    }
    single.block_on(contestant.close());
    let of_one = |total: i64| total as f64 / TASKS as f64;
    Ok(Waiting {
        name,
        tasks: TASKS,
        sessions,
        bytes: of_one(info.bytes_current),
        count: of_one(info.count_current),
    })
}

/// Opens all connections and prepares the statement on each, often enough for whoever learns from it how long it takes.
async fn warm_up<C: Contestant>(contestant: &Arc<C>) -> Result<()> {
    let mut tasks = JoinSet::new();
    for task in 0..CONNECTIONS as usize * 2 {
        let contestant = Arc::clone(contestant);
        tasks.spawn(async move {
            let mut keys = Keys::of_task(task);
            for _ in 0..100 {
                contestant.select(keys.draw()).await?;
            }
            anyhow::Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async { connection.await.ok() });
    Ok(client)
}

/// Returns when all tasks have begun and the number of sessions that wait for the lock has stood still for ten looks. Gives
/// that number.
async fn until_all_wait(watcher: Client, begun: Arc<AtomicUsize>) -> Result<i64> {
    const LOOKS: usize = 10;
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(10);
    let (mut last, mut looks) = (0, 0);
    while Instant::now() < deadline {
        let waiting: i64 = watcher.query_one(sql, &[]).await?.get(0);
        let is_still = begun.load(Ordering::Relaxed) == TASKS && waiting > 0 && waiting == last;
        looks = if is_still { looks + 1 } else { 0 };
        if looks == LOOKS {
            return Ok(waiting);
        }
        last = waiting;
        sleep(Duration::from_millis(20)).await;
    }
    bail!("after 10 s {} tasks have begun and {last} sessions wait", begun.load(Ordering::Relaxed))
}
