//! What a single event costs an observer: nanoseconds on one thread, without a server. What several threads cost each other is
//! seen in the throughput.

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
    let mut nanos = observers.map(|_| [const { Vec::new() }; 3]);
    for _ in 0..batches {
        for ((_, observer), [acquired, executed, released]) in observers.iter().zip(&mut nanos) {
            let took = Duration::from_micros(700);
            acquired.push(batch(|| observer.acquired(&Acquired::new("bench", took, 1, CONNECTIONS))));
            let event = Executed::new("bench", "127.0.0.1:5432", SELECT, took, false, Some(1), None);
            executed.push(batch(|| observer.executed(&event)));
            released.push(batch(|| observer.released(&Released::new("bench", took))));
        }
    }
    composed.prove()?;
    let costs = observers.iter().zip(&nanos).map(|((observer, _), [acquired, executed, released])| Costs {
        observer,
        acquired: median(acquired),
        executed: median(executed),
        released: median(released),
    });
    Ok(costs.collect())
}

fn batch(tell: impl Fn()) -> f64 {
    let begun = Instant::now();
    for _ in 0..BATCH {
        tell();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(BATCH)
}
