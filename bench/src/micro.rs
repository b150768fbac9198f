//! What the comparison of throughput does not show: acquiring alone, the cost of observing, and allocations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use db_core::{AcquireFailed, Acquired, Closed, ConnectFailed, Connected, HighUse, Observer, Released};
use tokio::runtime::Runtime;

use crate::contestants::{Bb8, Contestant, Deadpool, Diesel, Name, Ours, Sqlx};
use crate::measure;
use crate::plan::Plan;
use crate::report::{Acquire, Allocations, Observing, median, quartiles};
use crate::server::Server;
use crate::workload::{Keys, Workload};

/// Acquires in a batch; one reading of the clock for all of them.
const BATCH: u32 = 200;

/// Acquire and release without a statement, by one task, in batches that take turns. Those of the peers that do no more on
/// a release than give the connection back.
pub(crate) async fn acquire(url: &str, server: &Server, plan: &Plan) -> Result<Vec<Acquire>> {
    eprintln!("acquire and release");
    let ours = measure::open::<Ours>(url, server).await?;
    let deadpool = measure::open::<Deadpool>(url, server).await?;
    let bb8 = measure::open::<Bb8>(url, server).await?;
    let mut nanos = [const { Vec::new() }; 3];
    for _ in 0..plan.batches {
        nanos[0].push(batch(&ours).await?);
        nanos[1].push(batch(&deadpool).await?);
        nanos[2].push(batch(&bb8).await?);
    }
    ours.close().await;
    deadpool.close().await;
    measure::close(bb8, server).await?;
    let names = [Name::Ours, Name::Deadpool, Name::Bb8];
    Ok(names.into_iter().zip(nanos).map(|(name, nanos)| Acquire { name, nanos: median(&nanos) }).collect())
}

/// Nanoseconds of one acquire and release, on a worker of the runtime.
async fn batch<C: Contestant>(contestant: &Arc<C>) -> Result<f64> {
    let contestant = Arc::clone(contestant);
    let task = tokio::spawn(async move {
        let begun = Instant::now();
        for _ in 0..BATCH {
            drop(contestant.acquire().await?);
        }
        Ok(begun.elapsed().as_nanos() as f64 / f64::from(BATCH))
    });
    task.await?
}

/// Ours with an observer that counts every event against one that does nothing, in pairs whose order alternates.
pub(crate) async fn observing(url: &str, server: &Server, plan: &Plan) -> Result<Observing> {
    const TASKS: usize = 64;
    eprintln!("cost of observing");
    let counts = Arc::new(Counts::default());
    let without = measure::open_by(Ours::open_observed(url, Arc::new(Blind)), server).await?;
    let with = measure::open_by(Ours::open_observed(url, counts.clone()), server).await?;
    for pool in [&without, &with] {
        measure::sample(pool, Workload::Select, TASKS, plan.warm_up).await?;
    }
    let (mut blind, mut counting) = (Vec::new(), Vec::new());
    for pair in 0..plan.pairs {
        let is_first = pair % 2 == 0;
        for is_counting in [is_first, !is_first] {
            let (pool, throughputs) =
                if is_counting { (&with, &mut counting) } else { (&without, &mut blind) };
            let sample = measure::sample(pool, Workload::Select, TASKS, plan.pair_window).await?;
            throughputs.push(sample.throughput);
        }
    }
    without.close().await;
    measure::close(with, server).await?;
    let ratios: Vec<_> = counting.iter().zip(&blind).map(|(counting, blind)| counting / blind).collect();
    Ok(Observing {
        without: median(&blind),
        with: median(&counting),
        ratio: median(&ratios),
        quartiles: quartiles(&ratios),
        events: counts.sum(),
    })
}

/// Allocations of one operation with everything that the client does for it, driver tasks included: all of it runs on
/// the calling thread, on which they are counted.
pub(crate) fn allocations(runtime: &Runtime, url: &str) -> Result<Vec<Allocations>> {
    let mut all = Vec::new();
    for workload in [Workload::Select, Workload::Transaction] {
        for name in Name::POOLS {
            let (count, bytes) = match name {
                Name::Ours => counted::<Ours>(runtime, url, workload)?,
                Name::Deadpool => counted::<Deadpool>(runtime, url, workload)?,
                Name::Bb8 => counted::<Bb8>(runtime, url, workload)?,
                Name::Sqlx => counted::<Sqlx>(runtime, url, workload)?,
                Name::Diesel => counted::<Diesel>(runtime, url, workload)?,
                Name::Pgbench => continue,
            };
            all.push(Allocations { name, workload, count, bytes });
        }
    }
    Ok(all)
}

fn counted<C: Contestant>(runtime: &Runtime, url: &str, workload: Workload) -> Result<(f64, f64)> {
    const OPERATIONS: u32 = 1_000;
    let contestant = runtime.block_on(C::open(url))?;
    let mut keys = Keys::of_task(0);
    let mut operations = |count: u32| {
        runtime.block_on(async {
            for _ in 0..count {
                workload.next(&mut keys).run_on(&contestant, keys.draw()).await?;
            }
            anyhow::Ok(())
        })
    };
    operations(OPERATIONS / 5)?;
    let mut result = Ok(());
    let info = allocation_counter::measure(|| result = operations(OPERATIONS));
    result?;
    runtime.block_on(contestant.close());
    let of_one = |total: u64| total as f64 / f64::from(OPERATIONS);
    Ok((of_one(info.count_total), of_one(info.bytes_total)))
}

/// Sees nothing.
struct Blind;

impl Observer for Blind {}

/// Counts every event by its kind.
#[derive(Debug, Default)]
struct Counts([AtomicU64; 7]);

impl Counts {
    fn add(&self, kind: usize) {
        self.0[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Observer for Counts {
    fn connected(&self, _event: &Connected<'_>) {
        self.add(0);
    }

    fn connect_failed(&self, _event: &ConnectFailed<'_>) {
        self.add(1);
    }

    fn acquired(&self, _event: &Acquired<'_>) {
        self.add(2);
    }

    fn acquire_failed(&self, _event: &AcquireFailed<'_>) {
        self.add(3);
    }

    fn high_use(&self, _event: &HighUse<'_>) {
        self.add(4);
    }

    fn released(&self, _event: &Released<'_>) {
        self.add(5);
    }

    fn closed(&self, _event: &Closed<'_>) {
        self.add(6);
    }
}
