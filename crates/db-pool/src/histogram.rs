//! How long callers waited: a count for each power of two of microseconds, cheap enough for every checkout.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Below 1 µs, then up to 2, 4, 8 ... µs; the last holds everything from about 34 s on.
const BUCKETS: usize = 27;

#[derive(Debug, Default)]
pub(crate) struct Histogram([AtomicU64; BUCKETS]);

/// Times that callers waited for a connection, from [`Stats`](crate::Stats). A percentile is the upper border of its
/// bucket: at most twice the true value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WaitTimes {
    /// Checkouts since the pool was opened.
    pub count: u64,
    /// Half waited no longer than this, in microseconds.
    pub p50_us: u64,
    /// 95 % waited no longer than this, in microseconds.
    pub p95_us: u64,
    /// 99 % waited no longer than this, in microseconds.
    pub p99_us: u64,
    /// For each bucket its upper border in microseconds and how many waits were in it; empty ones are left out.
    pub buckets: Vec<(u64, u64)>,
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.0[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> WaitTimes {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let percentile = |percent: u64| {
            let rank = (count * percent).div_ceil(100);
            let mut seen = 0;
            let reaches = |of_bucket: &u64| {
                seen += of_bucket;
                seen >= rank
            };
            if count == 0 { 0 } else { counts.iter().position(reaches).map_or(0, border) }
        };
        WaitTimes {
            count,
            p50_us: percentile(50),
            p95_us: percentile(95),
            p99_us: percentile(99),
            buckets: counts
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
                .map(|(at, count)| (border(at), *count))
                .collect(),
        }
    }
}

fn border(bucket: usize) -> u64 {
    1 << bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_borders() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().p99_us, 0);
        for _ in 0..98 {
            histogram.record(Duration::from_nanos(300));
        }
        histogram.record(Duration::from_micros(100));
        histogram.record(Duration::MAX);
        let times = histogram.read();
        assert_eq!((times.count, times.p50_us, times.p95_us, times.p99_us), (100, 1, 1, 128));
        assert_eq!(times.buckets, [(1, 98), (128, 1), (1 << 26, 1)]);
    }
}
