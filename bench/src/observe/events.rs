//! What single events cost an observer, in nanoseconds and without a server: each event on one thread, then all events of a select
//! on all cores at once, where threads wait for what they share.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use db_core::{Acquired, Executed, Log, Observer, Released};
use serde::Serialize;

use crate::observe::ears::{Composed, Nobody};
use crate::plan::CONNECTIONS;
use crate::report::median;
use crate::workload::SELECT;

/// Events in a batch; one reading of the clock for all of them.
const BATCH: u32 = 2_000;

/// Nanoseconds of each event of a select, for one observer.
#[derive(Debug, Serialize)]
pub(super) struct Costs {
    pub(super) observer: &'static str,
    pub(super) acquired: f64,
    pub(super) executed: f64,
    pub(super) released: f64,
    /// The three of them on as many threads at once as there are cores: nanoseconds of each thread.
    pub(super) at_once: f64,
}

impl Costs {
    /// All events of one select by a verb of the pool.
    pub(super) fn select(&self) -> f64 {
        self.acquired + self.executed + self.released
    }
}

/// The observers take turns, batch by batch.
pub(super) fn measure(batches: usize) -> Result<Vec<Costs>> {
    let composed = Composed::new()?;
    let observers: [(&str, &dyn Observer); 5] = [
        ("does nothing", &Nobody),
        ("log", &Log),
        ("metrics", &composed.metrics),
        ("window", &*composed.window),
        ("all three", &*composed.all),
    ];
    let took = Duration::from_micros(700);
    let acquired = |observer: &dyn Observer| observer.acquired(&Acquired::new("bench", took, 1, CONNECTIONS));
    let executed = |observer: &dyn Observer| {
        observer.executed(&Executed::new("bench", "127.0.0.1:5432", SELECT, took, false, Some(1), None));
    };
    let released = |observer: &dyn Observer| observer.released(&Released::new("bench", took));
    let mut nanos = observers.map(|_| [const { Vec::new() }; 4]);
    for _ in 0..batches {
        for ((_, observer), [one, two, three, all]) in observers.iter().zip(&mut nanos) {
            one.push(batch(|| acquired(*observer)));
            two.push(batch(|| executed(*observer)));
            three.push(batch(|| released(*observer)));
            all.push(at_once(|| {
                acquired(*observer);
                executed(*observer);
                released(*observer);
            }));
        }
    }
    composed.prove()?;
    let costs = observers.iter().zip(&nanos).map(|((observer, _), nanos)| {
        let [acquired, executed, released, at_once] = nanos.each_ref().map(|nanos| median(nanos));
        Costs { observer, acquired, executed, released, at_once }
    });
    Ok(costs.collect())
}

/// The mean of a batch on each core, all of them begun together.
fn at_once(tell: impl Fn() + Sync) -> f64 {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let begin = Barrier::new(threads);
    let one = || {
        begin.wait();
        batch(&tell)
    };
    let nanos: f64 = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
    });
    nanos / threads as f64
}

fn batch(tell: impl Fn()) -> f64 {
    let begun = Instant::now();
    for _ in 0..BATCH {
        tell();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(BATCH)
}
