//! Counts by the second, those of the last seconds only. Pure: the clock is passed in, as the time since the beginning.

use std::collections::VecDeque;
use std::time::Duration;

use db_core::Kind;

use super::codes::{Code, Codes};
use super::times::Times;

/// What was counted, in a second or in all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    /// Statements that ended.
    pub(super) times: Times,
    /// Those that were slow.
    pub(super) slow: u64,
    /// How long callers waited for the connection that they got.
    pub(super) waits: Times,
    /// Callers who got no connection.
    pub(super) refused: u64,
    /// Failures of statements and callers that were not the statement's own fault.
    pub(super) errors: u64,
    pub(super) connect_failures: u64,
    pub(super) retries: u64,
    pub(super) gave_up: u64,
    pub(super) codes: Codes,
}

impl Sum {
    /// Counts a failure.
    pub(super) fn failed(&mut self, code: Code, kind: Kind) {
        self.errors += u64::from(kind != Kind::Query);
        self.codes.add(code, 1);
    }

    fn add(&mut self, other: &Self) {
        let Self { times, slow, waits, refused, errors, connect_failures, retries, gave_up, codes } = other;
        self.times.add(times);
        self.slow += slow;
        self.waits.add(waits);
        self.refused += refused;
        self.errors += errors;
        self.connect_failures += connect_failures;
        self.retries += retries;
        self.gave_up += gave_up;
        self.codes.add_all(codes);
    }
}

/// The counts of each second in which something happened. A second in which nothing did takes no room.
#[derive(Debug)]
pub(super) struct Ledger {
    seconds: u64,
    /// Oldest first.
    pages: VecDeque<(u64, Box<Sum>)>,
}

impl Ledger {
    pub(super) fn new(seconds: u64) -> Self {
        Self { seconds, pages: VecDeque::new() }
    }

    /// The counts of this second, to be added to.
    pub(super) fn at(&mut self, now: Duration) -> &mut Sum {
        let second = now.as_secs();
        // A clock that was read before another caller's counts for the newest second.
        if self.pages.back().is_none_or(|(newest, _)| *newest < second) {
            let mut free = None;
            while self.pages.front().is_some_and(|(old, _)| old + self.seconds <= second) {
                free = self.pages.pop_front();
            }
            let page = free.map_or_else(Box::default, |(_, mut page)| {
                *page = Sum::default();
                page
            });
            self.pages.push_back((second, page));
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last].1
    }

    /// Adds what is in the window to `sum`.
    pub(super) fn add_to(&self, sum: &mut Sum, now: Duration) {
        for (second, page) in &self.pages {
            if second + self.seconds > now.as_secs() {
                sum.add(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut ledger = Ledger::new(10);
        let mut check = |at: f64, add: u64, expect: u64| {
            let now = Duration::from_secs_f64(at);
            if add > 0 {
                ledger.at(now).retries += add;
            }
            let mut sum = Sum::default();
            ledger.add_to(&mut sum, now);
            assert_eq!(sum.retries, expect, "at {at} s");
        };
        check(0.0, 3, 3);
        check(0.9, 1, 4);
        check(5.0, 2, 6);
        // Counted for the newest second.
        check(4.9, 1, 7);
        check(9.9, 0, 7);
        check(10.0, 0, 3);
        check(14.9, 5, 8);
        check(15.0, 0, 5);
        check(1_000.0, 0, 0);
        check(1_000.0, 1, 1);
    }

    #[test]
    fn old_seconds_take_no_room() {
        let mut ledger = Ledger::new(10);
        for second in 0..1_000 {
            ledger.at(Duration::from_secs(second)).retries += 1;
        }
        assert_eq!(ledger.pages.len(), 10);
    }
}
