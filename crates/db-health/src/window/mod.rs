//! What happened in the last minute, from the events of pools and retries. Figures only: what is too much is for
//! [alerts](crate::Alerts) to say.
//!
//! Why shards and not atomics? A second that ends must be forgotten whole while others count; plain numbers behind a lock do
//! that without a race. Each thread has its own of several locks, and holds it for a few additions.

mod codes;
mod figures;
mod ledger;
mod times;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use db_core::{Abandoned, AcquireFailed, Acquired, ConnectFailed, Executed, GaveUp, Observer, Retried};
use jiff::Timestamp;

use codes::Code;
use figures::millis;
use ledger::{Ledger, Sum};

pub use figures::{ErrorCount, SlowStatement, WindowFigures};

/// How many threads count at a time without waiting for each other.
const SHARDS: usize = 8;

/// How many slow statements are kept.
const SLOW: usize = 10;

/// The longest window, in seconds.
const LONGEST: u64 = 3_600;

/// Listens to pools and retries, and knows the figures of the last seconds. To be given to them as an
/// [`Observer`], in an `Arc`.
///
/// # What counts as an error
/// A statement that failed, and a caller who went away without a connection, unless the fault was in the statement or its data
/// ([`Kind::Query`](db_core::Kind::Query): a duplicate key, a syntax error). Such faults say nothing about the health of the
/// database: they are in [`Window::errors`], by their code, but neither in [`WindowFigures::errors`] nor in
/// [`WindowFigures::error_rate`]. Every attempt counts, so that what a retry has saved is seen as well. A failure to
/// connect is a figure of its own; the call that needed the connection counts when it fails.
///
/// # Cost
/// An event takes a clock, a lock that other threads rarely want, and a few additions. A slow statement or an error
/// takes a little more.
pub struct Window {
    begin: Instant,
    seconds: u64,
    shards: [Shard; SHARDS],
    slow: Mutex<VecDeque<SlowStatement>>,
}

/// A part of the counts. On cache lines of its own, so that threads do not slow each other down.
#[repr(align(128))]
struct Shard(Mutex<Ledger>);

impl Window {
    /// A window over the last `length`, in whole seconds from 1 s to 1 h.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let seconds = length.as_secs().clamp(1, LONGEST);
        Self {
            begin: Instant::now(),
            seconds,
            shards: std::array::from_fn(|_| Shard(Mutex::new(Ledger::new(seconds)))),
            slow: Mutex::default(),
        }
    }

    /// The figures now. Takes some 10 µs: for once a second, not for each request.
    #[must_use]
    pub fn figures(&self) -> WindowFigures {
        let now = self.begin.elapsed();
        WindowFigures::of(&self.sum(now), self.seconds, now)
    }

    /// The errors of the window by code, most first: at most 10, of which the last is `other` when there are more codes.
    #[must_use]
    pub fn errors(&self) -> Vec<ErrorCount> {
        self.sum(self.begin.elapsed()).codes.ranking()
    }

    /// The last 10 statements that took longer than their pool's limit for slow ones (`DB_SLOW_QUERY_MS`), newest first,
    /// however old they are.
    #[must_use]
    pub fn slow(&self) -> Vec<SlowStatement> {
        lock(&self.slow).iter().cloned().collect()
    }

    fn sum(&self, now: Duration) -> Sum {
        let mut sum = Sum::default();
        for shard in &self.shards {
            lock(&shard.0).add_to(&mut sum, now);
        }
        sum
    }

    /// Keeps a slow statement, whose text was read outside the lock.
    fn remember(&self, took: Duration, statement: String) {
        let slow = SlowStatement { at: Timestamp::now(), took_ms: millis(took), statement };
        let mut kept = lock(&self.slow);
        kept.truncate(SLOW - 1);
        kept.push_front(slow);
    }

    /// Counts something in the shard of this thread, at this moment.
    fn count(&self, add: impl FnOnce(&mut Sum)) {
        // Before the lock: reading the clock is half of the work.
        let now = self.begin.elapsed();
        add(lock(&self.shards[shard()].0).at(now));
    }
}

impl Default for Window {
    /// A window over the last minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("seconds", &self.seconds).finish_non_exhaustive()
    }
}

impl Observer for Window {
    fn executed(&self, event: &Executed<'_>) {
        let error = event.error.map(|error| (Code::of(error), error.kind()));
        self.count(|sum| {
            sum.times.record(event.took);
            sum.slow += u64::from(event.is_slow);
            if let Some((code, kind)) = error {
                sum.failed(code, kind);
            }
        });
        if event.is_slow {
            self.remember(event.took, event.statement());
        }
    }

    /// It took that long, and did not fail: who gave it up knows why.
    fn abandoned(&self, event: &Abandoned<'_>) {
        self.count(|sum| {
            sum.times.record(event.took);
            sum.slow += u64::from(event.is_slow);
        });
        if event.is_slow {
            self.remember(event.took, event.statement());
        }
    }

    fn acquired(&self, event: &Acquired<'_>) {
        self.count(|sum| sum.waits.record(event.waited));
    }

    fn acquire_failed(&self, event: &AcquireFailed<'_>) {
        let (code, kind) = (Code::of(event.error), event.error.kind());
        self.count(|sum| {
            sum.refused += 1;
            sum.failed(code, kind);
        });
    }

    fn connect_failed(&self, event: &ConnectFailed<'_>) {
        let code = Code::of(event.error);
        self.count(|sum| {
            sum.connect_failures += 1;
            sum.codes.add(code, 1);
        });
    }

    fn retried(&self, _: &Retried<'_>) {
        self.count(|sum| sum.retries += 1);
    }

    fn gave_up(&self, _: &GaveUp<'_>) {
        self.count(|sum| sum.gave_up += 1);
    }
}

/// The shard of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    // While a thread ends its own is gone.
    MINE.try_with(|mine| *mine).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
