//! What is measured while a load runs: every operation with its time and its error, and the pool beside it. Says nothing about
//! whether that is good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_app::Database;
use db_app::core::Error;
use db_pool::Stats;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

/// One load with what was measured under it.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// What the load was, in words.
    pub(super) load: String,
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) errors_by_code: BTreeMap<String, Seen>,
    pub(super) seconds: f64,
    pub(super) throughput_per_s: f64,
    pub(super) latency: Latency,
    pub(super) acquire_wait: AcquireWait,
    pub(super) utilization: Utilization,
    pub(super) lanes: OnLanes,
}

/// Errors of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) count: u64,
    /// The text of the first one.
    pub(super) first: String,
}

/// Why an operation did not do what it should: a code, and the text.
#[derive(Debug)]
pub(super) struct Failure {
    code: String,
    message: String,
}

/// How long operations took, waiting for a connection and failed ones included.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) average_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// How long callers waited for a connection: upper borders of the pool's buckets, at most twice the true value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct AcquireWait {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// Connections in use in per cent of the pool's maximum, looked at every [`LOOK`].
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Utilization {
    pub(super) average: f64,
    pub(super) peak: f64,
}

/// What ran on lanes, the connections that short statements of many callers share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct OnLanes {
    /// The most lanes; zero where there are none.
    pub(super) max: u32,
    /// Statements that were answered on them.
    pub(super) statements: u64,
    /// Of these, ran once more on a connection of their own.
    pub(super) reruns: u64,
    /// How often a statement was sent back to connections of its own.
    pub(super) sent_back: u64,
    /// The most in flight on one lane, looked at every [`LOOK`].
    pub(super) deepest: u32,
}

/// Takes down operations; shared by all tasks of a load.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Taken>);

#[derive(Debug)]
struct Taken {
    /// Microseconds, three digits.
    latency: Histogram<u64>,
    errors: BTreeMap<String, Seen>,
}

/// A measurement under way.
pub(super) struct Meter {
    database: Database,
    recorder: Arc<Recorder>,
    begun: Instant,
    before: Stats,
    looks: Arc<Mutex<Looks>>,
    _looking: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Looks {
    sum: f64,
    count: u32,
    peak: f64,
    deepest: u32,
}

/// Between two looks at the pool.
const LOOK: Duration = Duration::from_millis(5);

/// Whatever takes longer counts as this long.
const LONGEST: Duration = Duration::from_secs(600);

impl Meter {
    pub(super) fn start(database: &Database) -> anyhow::Result<Self> {
        let looks = Arc::new(Mutex::new(Looks::default()));
        let looking = tokio::spawn(look(database.clone(), Arc::clone(&looks)));
        Ok(Self {
            recorder: Arc::new(Recorder::new()?),
            begun: Instant::now(),
            before: database.stats(),
            database: database.clone(),
            looks,
            _looking: AbortOnDropHandle::new(looking),
        })
    }

    pub(super) fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    pub(super) fn finish(self, name: &'static str, load: String) -> Stage {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (before, after) = (&self.before, self.database.stats());
        let acquire_wait = waits_between(&before.waited.buckets, &after.waited.buckets);
        let taken = self.recorder.lock();
        let operations = taken.latency.len();
        let at = |quantile| millis(taken.latency.value_at_quantile(quantile));
        let latency = Latency {
            average_ms: rounded(taken.latency.mean() / 1e3),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: millis(taken.latency.max()),
        };
        let looks = lock(&self.looks);
        let average = rounded(looks.sum / f64::from(looks.count.max(1)));
        let utilization = Utilization { average, peak: looks.peak };
        let lanes = OnLanes {
            max: after.lanes.max,
            statements: after.lanes.statements.saturating_sub(before.lanes.statements),
            reruns: after.lanes.reruns.saturating_sub(before.lanes.reruns),
            sent_back: after.lanes.demotions.saturating_sub(before.lanes.demotions),
            deepest: looks.deepest,
        };
        Stage {
            name,
            load,
            operations,
            errors: taken.errors.values().map(|seen| seen.count).sum(),
            errors_by_code: taken.errors.clone(),
            seconds: rounded(seconds),
            throughput_per_s: rounded(float(operations) / seconds.max(f64::EPSILON)),
            latency,
            acquire_wait,
            utilization,
            lanes,
        }
    }
}

impl Recorder {
    fn new() -> anyhow::Result<Self> {
        let longest = u64::try_from(LONGEST.as_micros())?;
        let latency = Histogram::new_with_bounds(1, longest, 3)?;
        Ok(Self(Mutex::new(Taken { latency, errors: BTreeMap::new() })))
    }

    pub(super) fn record(&self, took: Duration, result: Result<(), Failure>) {
        let mut taken = self.lock();
        taken.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        if let Err(failure) = result {
            failure.count_in(&mut taken.errors);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        lock(&self.0)
    }
}

/// The code of a statement that succeeded and gave something else than it must.
pub(super) const WRONG_ANSWER: &str = "wrong answer";

impl Failure {
    /// The statement succeeded and gave something else than it must.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self { code: WRONG_ANSWER.to_owned(), message: message.into() }
    }

    pub(super) fn count_in(self, errors: &mut BTreeMap<String, Seen>) {
        let seen = errors.entry(self.code).or_insert(Seen { count: 0, first: self.message });
        seen.count += 1;
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { code: error.report().code, message: error.to_string() }
    }
}

async fn look(database: Database, looks: Arc<Mutex<Looks>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let now = database.stats();
        let mut looks = lock(&looks);
        looks.sum += now.utilization;
        looks.count += 1;
        looks.peak = looks.peak.max(now.utilization);
        looks.deepest = looks.deepest.max(now.lanes.deepest);
    }
}

/// The waits that are in `after` and were not in `before`; each is a border in microseconds and a count.
fn waits_between(before: &[(u64, u64)], after: &[(u64, u64)]) -> AcquireWait {
    let earlier =
        |border: u64| before.iter().find(|(other, _)| *other == border).map_or(0, |(_, count)| *count);
    let new: Vec<(u64, u64)> =
        after.iter().map(|(border, count)| (*border, count.saturating_sub(earlier(*border)))).collect();
    let count: u64 = new.iter().map(|(_, count)| count).sum();
    let percentile = |percent: u64| {
        let rank = (count * percent).div_ceil(100);
        let mut seen = 0;
        let reaches = |(_, of_bucket): &&(u64, u64)| {
            seen += of_bucket;
            seen >= rank
        };
        let border = if count == 0 { None } else { new.iter().find(reaches) };
        border.map_or(0.0, |(border, _)| millis(*border))
    };
    AcquireWait { count, p50_ms: percentile(50), p95_ms: percentile(95), p99_ms: percentile(99) }
}

fn millis(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}

/// To three digits behind the point.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// Exact up to nine quadrillion.
fn float(count: u64) -> f64 {
    Duration::from_secs(count).as_secs_f64()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_before_do_not_count() {
        let before = [(1, 1_000), (2_048, 5)];
        let after = [(1, 1_090), (2_048, 14), (65_536, 1)];
        let expect = AcquireWait { count: 100, p50_ms: 0.001, p95_ms: 2.048, p99_ms: 2.048 };
        assert_eq!(waits_between(&before, &after), expect);
        assert_eq!(waits_between(&after, &after).p99_ms, 0.0);
    }

    #[test]
    fn failed_operations_have_their_time_and_their_code() {
        let recorder = Recorder::new().unwrap();
        recorder.record(Duration::from_millis(10), Ok(()));
        recorder.record(Duration::from_millis(30), Err(Failure::wrong("no row")));
        recorder.record(Duration::from_millis(20), Err(Failure::wrong("two rows")));
        let taken = recorder.lock();
        assert_eq!((taken.latency.len(), (taken.latency.mean() / 1e3).round()), (3, 20.0));
        let expect = Seen { count: 2, first: "no row".to_owned() };
        assert_eq!(taken.errors.get("wrong answer"), Some(&expect));
    }
}
