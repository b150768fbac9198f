//! How far the server of a session is, told from requests that are made anyhow: nothing is asked for the sake of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const UNKNOWN: u64 = u64::MAX;

/// The least time to the server and back. A statement's own least time would not do: one that sleeps on the server always takes as
/// long.
#[derive(Debug)]
pub(crate) struct Way {
    /// In nanoseconds.
    least: AtomicU64,
    has_prepared: AtomicBool,
}

impl Way {
    pub(super) fn new() -> Self {
        Self { least: AtomicU64::new(UNKNOWN), has_prepared: AtomicBool::new(false) }
    }

    /// The least that is known; zero as long as nothing is.
    pub(crate) fn least(&self) -> Duration {
        match self.least.load(Ordering::Relaxed) {
            UNKNOWN => Duration::ZERO,
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// A request was answered that asked for nothing.
    pub(super) fn asked_nothing(&self, took: Duration) {
        self.least.fetch_min(nanos(took), Ordering::Relaxed);
    }

    /// A statement was prepared, for which the server does little. For the first one it reads its catalogs, which takes longer.
    pub(super) fn prepared(&self, took: Duration) {
        if self.has_prepared.swap(true, Ordering::Relaxed) {
            self.asked_nothing(took);
        }
    }

    /// A statement ran, for which the server may have done much: the way is no longer than that.
    pub(crate) fn ran(&self, took: Duration) {
        if self.least.load(Ordering::Relaxed) != UNKNOWN {
            self.asked_nothing(took);
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_much_on_the_server_does_not_tell_the_way() {
        let (way, millis) = (Way::new(), Duration::from_millis);
        way.ran(millis(50));
        way.prepared(millis(40));
        assert_eq!(way.least(), Duration::ZERO, "nothing tells it yet");
        way.prepared(millis(30));
        assert_eq!(way.least(), millis(30));
        way.ran(millis(50));
        assert_eq!(way.least(), millis(30));
        way.ran(millis(20));
        assert_eq!(way.least(), millis(20), "it cannot be longer");
        way.asked_nothing(millis(10));
        assert_eq!(way.least(), millis(10));
    }
}
