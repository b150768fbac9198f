//! The profile `standard`: workers that read and write rows by primary key, each one query after the other. With a pause
//! between two queries that is how a service behaves; without one it is as much as the pool gives.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use db_app::Database;
use db_app::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::measure::{Failure, Meter, Recorder, Stage};
use super::progress::Bar;

/// Rows that are there from the beginning.
const ROWS: i64 = 10_000;

pub(super) const TABLES: &str = "
    CREATE TABLE db_bench.items (id bigint PRIMARY KEY, name text NOT NULL, visits int NOT NULL DEFAULT 0);
    INSERT INTO db_bench.items (id, name) SELECT id, 'item ' || id FROM generate_series(0, 9999) AS id;
    ANALYZE db_bench.items;";

/// How much is asked, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    /// Tells the rows that this load inserts from those of another.
    pub(super) number: i64,
    pub(super) workers: u32,
    pub(super) queries: u32,
    /// Of a worker, between two queries.
    pub(super) pause: Duration,
}

pub(super) async fn stage(database: &Database, load: Load, bar: &Bar) -> Result<Stage> {
    bar.begin(load.name, Some(u64::from(load.workers) * u64::from(load.queries)));
    let meter = Meter::start(database)?;
    let mut workers = JoinSet::new();
    for worker in 0..load.workers {
        workers.spawn(work(database.clone(), load, worker, meter.recorder(), bar.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    bar.end();
    Ok(meter.finish(load.name, load.to_string()))
}

async fn work(database: Database, load: Load, worker: u32, recorder: Arc<Recorder>, bar: Bar) {
    // Not all in step: they would ask together and then pause together.
    sleep(load.pause.mul_f64(f64::from(worker) / f64::from(load.workers))).await;
    for number in 0..load.queries {
        let begun = Instant::now();
        let result = query(&database, load, worker, number).await;
        recorder.record(begun.elapsed(), result);
        bar.step();
        sleep(load.pause).await;
    }
}

/// Of ten queries seven read a row, two change one, and one adds one.
async fn query(database: &Database, load: Load, worker: u32, number: u32) -> Result<(), Failure> {
    let spread = i64::from(worker) * 7_919 + i64::from(number) * 104_729;
    let id = spread % ROWS;
    let changed = match number % 10 {
        0..=6 => {
            let reads = database.reads().preference(db_app::Preference::Primary);
            let name: String = reads.one("SELECT name FROM db_bench.items WHERE id = $1", &[&id]).await?;
            if name != format!("item {id}") {
                return Err(Failure::wrong(format!("row {id} is {name:?}")));
            }
            return Ok(());
        }
        7 | 8 => {
            database.execute("UPDATE db_bench.items SET visits = visits + 1 WHERE id = $1", &[&id]).await?
        }
        _ => {
            let id = (load.number << 48) | (i64::from(worker) << 24) | i64::from(number);
            database.execute("INSERT INTO db_bench.items (id, name) VALUES ($1, 'new')", &[&id]).await?
        }
    };
    if changed == 1 { Ok(()) } else { Err(Failure::wrong(format!("{changed} rows changed by primary key"))) }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} workers, {} queries each", self.workers, self.queries)?;
        if self.pause.is_zero() {
            return f.write_str(", back to back");
        }
        write!(f, ", each pausing {} ms between two", self.pause.as_millis())
    }
}
