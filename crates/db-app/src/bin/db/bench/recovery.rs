//! A load through a fault: whether the layer comes back by itself, how long callers had no success, and whether every
//! acknowledged write is there afterwards, once. What the fault is, is in `blow`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use db_app::prelude::*;
use db_app::{Database, Preference};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::blow::Blow;
use super::measure::{Failure, Seen, WRONG_ANSWER};
use super::progress::Bar;

/// No key, so that a write that happened twice is seen twice.
pub(super) const TABLES: &str = "
    CREATE TABLE db_bench.ledger (worker bigint NOT NULL, entry bigint NOT NULL);
    CREATE INDEX ON db_bench.ledger (worker, entry);";

/// What came of the fault.
#[derive(Debug, Serialize)]
pub(super) struct Recovery {
    pub(super) name: &'static str,
    /// What the fault was, in words.
    pub(super) fault: String,
    /// Whether every worker had successes again after it.
    pub(super) recovered: bool,
    /// From the fault to the success that ended the longest time without one.
    pub(super) seconds_until_success: f64,
    /// The longest time in which no caller had a success.
    pub(super) seconds_without_success: f64,
    pub(super) operations: u64,
    /// What callers were told, after all retries.
    pub(super) errors: u64,
    pub(super) errors_by_code: BTreeMap<String, Seen>,
    /// Writes that a caller was told of as done.
    pub(super) acknowledged: u32,
    /// Of these, the ones that are not there.
    pub(super) lost: u32,
    /// Writes that are there more than once, acknowledged or not.
    pub(super) doubled: u32,
    /// Writes that failed for the caller and are there all the same: their answer was lost.
    pub(super) unacknowledged_found: u32,
}

impl Recovery {
    /// Reads that did not find what was acknowledged, or found it twice.
    pub(super) fn wrong_answers(&self) -> u32 {
        let count = self.errors_by_code.get(WRONG_ANSWER).map_or(0, |seen| seen.count);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Successes of each worker before the fault, and after it until all is well again.
const ENOUGH: u32 = 20;

/// How long each of the two may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Of a worker, between two operations: enough are under way when the fault comes, and the machine has time for the server.
const PAUSE: Duration = Duration::from_millis(10);

/// After an error, so that a server that is away is not asked without end.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// Shared by the workers.
struct Watch {
    seen: Mutex<Seeing>,
    /// Told when every worker had enough successes.
    enough: Notify,
}

struct Seeing {
    /// Successes of each worker that began after `since`.
    fresh: Vec<u32>,
    since: Instant,
    /// When the fault came.
    fault: Option<Instant>,
    last_success: Instant,
    gap: Gap,
    operations: u64,
    errors: BTreeMap<String, Seen>,
}

/// The longest time without a success since the fault.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    lasted: Duration,
    ended: Option<Instant>,
}

pub(super) async fn stage(database: &Database, blow: &Blow, workers: u32, bar: &Bar) -> Result<Recovery> {
    bar.begin(blow.name(), None);
    let watch = Arc::new(Watch::new(workers));
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        tasks.spawn(work(database.clone(), worker, Arc::clone(&watch)));
    }
    let (fault, recovered) = if watch.enough_within(LIMIT).await {
        watch.fault();
        let fault = blow.strike(database).await?;
        watch.begin_anew();
        (fault, watch.enough_within(LIMIT).await)
    } else {
        ("none was made, since not every worker had a success before it".to_owned(), false)
    };
    // Nothing is dropped: what is under way is to be told how it ended.
    watch.stop();
    let mut acknowledged = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        acknowledged.extend(ended?);
    }
    let audit = audit(database, &acknowledged).await?;
    bar.end();
    Ok(watch.recovery(blow.name(), fault, recovered, &audit))
}

/// Writes and reads until told to stop; gives what was acknowledged.
async fn work(database: Database, worker: u32, watch: Arc<Watch>) -> Vec<(i64, i64)> {
    let worker = i64::from(worker);
    let mut acknowledged = Vec::new();
    let mut entry = 0;
    while !watch.is_stopped() {
        entry += 1;
        let begun = Instant::now();
        let insert = "INSERT INTO db_bench.ledger (worker, entry) VALUES ($1, $2)";
        let written = database.execute(insert, &[&worker, &entry]).await;
        if written.is_ok() {
            acknowledged.push((worker, entry));
        }
        let is_well = watch.note(worker, begun, written.map(drop).map_err(Failure::from));
        sleep(if is_well { PAUSE } else { AFTER_ERROR }).await;

        let Some((_, latest)) = acknowledged.last() else { continue };
        let begun = Instant::now();
        let reads = database.reads().preference(Preference::Primary);
        let found = "SELECT count(*) FROM db_bench.ledger WHERE worker = $1 AND entry = $2";
        let read = match reads.one::<i64>(found, &[&worker, latest]).await {
            Ok(1) => Ok(()),
            Ok(count) => Err(Failure::wrong(format!("an acknowledged write is there {count} times"))),
            Err(error) => Err(error.into()),
        };
        let is_well = watch.note(worker, begun, read);
        sleep(if is_well { PAUSE } else { AFTER_ERROR }).await;
    }
    acknowledged
}

/// What is there, against what was acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Audit {
    acknowledged: u32,
    lost: u32,
    doubled: u32,
    unacknowledged_found: u32,
}

async fn audit(database: &Database, acknowledged: &[(i64, i64)]) -> Result<Audit> {
    let rows: Vec<(i64, i64, i64)> = database
        .reads()
        .preference(Preference::Primary)
        .query("SELECT worker, entry, count(*) FROM db_bench.ledger GROUP BY worker, entry", &[])
        .await?;
    Ok(compare(acknowledged, &rows))
}

fn compare(acknowledged: &[(i64, i64)], rows: &[(i64, i64, i64)]) -> Audit {
    let mut there: HashMap<(i64, i64), i64> =
        rows.iter().map(|(worker, entry, count)| ((*worker, *entry), *count)).collect();
    let doubled = count(there.values().filter(|times| **times > 1).count());
    let mut audit = Audit { doubled, ..Audit::default() };
    for write in acknowledged {
        audit.acknowledged += 1;
        if there.remove(write).is_none() {
            audit.lost += 1;
        }
    }
    audit.unacknowledged_found = count(there.len());
    audit
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Watch {
    fn new(workers: u32) -> Self {
        let now = Instant::now();
        let seen = Seeing {
            fresh: vec![0; workers as usize],
            since: now,
            fault: None,
            last_success: now,
            gap: Gap::default(),
            operations: 0,
            errors: BTreeMap::new(),
        };
        Self { seen: Mutex::new(seen), enough: Notify::new() }
    }

    /// Takes down an operation; whether it succeeded.
    fn note(&self, worker: i64, begun: Instant, result: Result<(), Failure>) -> bool {
        let mut seen = self.lock();
        seen.operations += 1;
        if let Err(failure) = result {
            failure.count_in(&mut seen.errors);
            return false;
        }
        seen.success(usize::try_from(worker).unwrap_or_default(), begun, Instant::now());
        if seen.is_enough() {
            self.enough.notify_one();
        }
        true
    }

    async fn enough_within(&self, limit: Duration) -> bool {
        let give_up = Instant::now() + limit;
        while !self.lock().is_enough() {
            if timeout_at(give_up, self.enough.notified()).await.is_err() {
                return false;
            }
        }
        true
    }

    fn fault(&self) {
        self.lock().fault = Some(Instant::now());
    }

    /// From now on everybody has to prove again that it works.
    fn begin_anew(&self) {
        let mut seen = self.lock();
        seen.since = Instant::now();
        seen.fresh.fill(0);
    }

    fn stop(&self) {
        self.lock().fresh.clear();
    }

    fn is_stopped(&self) -> bool {
        self.lock().fresh.is_empty()
    }

    fn recovery(&self, name: &'static str, fault: String, recovered: bool, audit: &Audit) -> Recovery {
        let mut seen = self.lock();
        let now = Instant::now();
        if !recovered {
            seen.close_gap(now);
        }
        let since_fault = |at: Instant| seen.fault.map_or(Duration::ZERO, |fault| at - fault);
        let Audit { acknowledged, lost, doubled, unacknowledged_found } = *audit;
        Recovery {
            name,
            fault,
            recovered,
            seconds_until_success: seen.gap.ended.map_or(Duration::ZERO, since_fault).as_secs_f64(),
            seconds_without_success: seen.gap.lasted.as_secs_f64(),
            operations: seen.operations,
            errors: seen.errors.values().map(|seen| seen.count).sum(),
            errors_by_code: seen.errors.clone(),
            acknowledged,
            lost,
            doubled,
            unacknowledged_found,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seeing> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seeing {
    fn success(&mut self, worker: usize, begun: Instant, now: Instant) {
        self.close_gap(now);
        self.last_success = now;
        if begun >= self.since
            && let Some(count) = self.fresh.get_mut(worker)
        {
            *count += 1;
        }
    }

    /// Ends the time without success, which counts from the fault on.
    fn close_gap(&mut self, now: Instant) {
        let Some(fault) = self.fault else { return };
        let lasted = now.saturating_duration_since(self.last_success.max(fault));
        if lasted > self.gap.lasted {
            self.gap = Gap { lasted, ended: Some(now) };
        }
    }

    fn is_enough(&self) -> bool {
        self.fresh.iter().all(|count| *count >= ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_doubled_writes_are_found() {
        let check = |acknowledged: &[(i64, i64)], rows: &[(i64, i64, i64)], expect: [u32; 4]| {
            let Audit { acknowledged, lost, doubled, unacknowledged_found } = compare(acknowledged, rows);
            assert_eq!([acknowledged, lost, doubled, unacknowledged_found], expect);
        };
        check(&[(0, 1), (1, 1)], &[(0, 1, 1), (1, 1, 1)], [2, 0, 0, 0]);
        check(&[(0, 1), (1, 1)], &[(0, 1, 1)], [2, 1, 0, 0]);
        check(&[(0, 1)], &[(0, 1, 2), (0, 2, 1)], [1, 0, 1, 1]);
        check(&[], &[(0, 1, 2)], [0, 0, 1, 1]);
    }

    #[test]
    fn the_longest_time_without_success_counts_from_the_fault() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let watch = Watch::new(2);
        let mut seen = watch.lock();
        seen.success(0, at(0), at(900));
        seen.fault = Some(at(1_000));
        // Still answered, though the fault is there.
        seen.success(1, at(990), at(1_010));
        seen.since = at(2_000);
        seen.fresh.fill(0);
        seen.success(0, at(1_990), at(3_010));
        seen.success(1, at(2_500), at(3_020));
        assert_eq!((seen.gap.lasted, seen.gap.ended), (Duration::from_secs(2), Some(at(3_010))));
        assert_eq!(seen.fresh, [0, 1], "only what began after the fault proves anything");
    }
}
