//! How many retries an endpoint can bear, for all its callers together. Knows nothing of single calls.
//!
//! Why a budget and not only a maximum? A maximum bounds what one call does. When a server falters, all calls fail, and
//! with three retries each it is asked four times as much, at the moment when it can do least: the retries keep it
//! down. A budget bounds what all calls do together. When a few fail each gets its retries, and when all fail
//! the server is asked a fifth more than usual.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::window::Window;

/// The limits of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// Retries for each call, at most, over the window. Default 0.2: a server that is sized for its load bears a fifth more.
    pub share: f64,
    /// So many retries a second are free, whatever the share says. Default 10: where little is called, a share of it is
    /// nothing, and does no harm.
    pub floor_per_second: u32,
    /// Over which time calls and retries are counted. Default 10 s; shorter forgets a burst of calls too soon, longer
    /// lets the calls of better times pay for the retries of an outage.
    pub window: Duration,
}

/// Retries that all callers of an endpoint share. Put it behind an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Budget(Mutex<Tally>);

/// The pure part: the clock is passed in.
#[derive(Debug)]
struct Tally {
    settings: BudgetSettings,
    /// Calls, and retries as the marked.
    window: Window,
    /// The same over a single second.
    second: Window,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { share: 0.2, floor_per_second: 10, window: Duration::from_secs(10) }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BudgetSettings::default())
    }
}

impl Budget {
    /// A budget with nothing spent.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Self {
        Self(Mutex::new(Tally::new(settings, Instant::now())))
    }

    /// Counts a call: what retries are a share of.
    pub fn call(&self) {
        self.with(|tally, now| tally.call(now));
    }

    /// Spends a retry; `false` if there is none left, and nothing is spent.
    #[must_use]
    pub fn try_retry(&self) -> bool {
        self.with(Tally::try_retry)
    }

    fn with<R>(&self, use_it: impl FnOnce(&mut Tally, Instant) -> R) -> R {
        // Nothing that runs under the lock can panic or wait.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

impl Tally {
    fn new(settings: BudgetSettings, now: Instant) -> Self {
        let window = Window::new(settings.window, now);
        Self { settings, window, second: Window::new(Duration::from_secs(1), now) }
    }

    fn call(&mut self, now: Instant) {
        self.window.add(now, 1, 0);
    }

    fn try_retry(&mut self, now: Instant) -> bool {
        let spent = self.window.sum(now);
        let is_within_share = (spent.marked + 1) as f64 <= spent.all as f64 * self.settings.share;
        let is_free = self.second.sum(now).marked < u64::from(self.settings.floor_per_second);
        if !is_within_share && !is_free {
            return false;
        }
        self.window.add(now, 0, 1);
        self.second.add(now, 0, 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: at which second, so many calls, then so many tries of which so many are granted.
    fn check(settings: BudgetSettings, steps: &[(f64, u32, u32, u32)]) {
        let begin = Instant::now();
        let mut tally = Tally::new(settings, begin);
        for &(second, calls, tries, expect) in steps {
            let now = begin + Duration::from_secs_f64(second);
            (0..calls).for_each(|_| tally.call(now));
            let granted = (0..tries).filter(|_| tally.try_retry(now)).count();
            assert_eq!(granted, expect as usize, "at {second} s of {steps:?}");
        }
    }

    const NO_FLOOR: BudgetSettings =
        BudgetSettings { share: 0.2, floor_per_second: 0, window: Duration::from_secs(10) };

    #[test]
    fn a_fifth_of_the_calls() {
        check(NO_FLOOR, &[(0.0, 1_000, 1_000, 200)]);
        check(NO_FLOOR, &[(0.0, 4, 4, 0), (1.0, 1, 4, 1), (2.0, 5, 4, 1)]);
        check(NO_FLOOR, &[(0.0, 0, 5, 0)]);
    }

    #[test]
    fn calls_and_retries_older_than_the_window_do_not_count() {
        check(NO_FLOOR, &[(0.0, 1_000, 0, 0), (9.9, 0, 300, 200), (10.0, 0, 10, 0)]);
        check(NO_FLOOR, &[(0.0, 100, 100, 20), (5.0, 100, 100, 20), (10.0, 100, 100, 20)]);
        check(NO_FLOOR, &[(0.0, 100, 100, 20), (12.0, 0, 1, 0)]);
    }

    #[test]
    fn ten_a_second_are_free() {
        let default = BudgetSettings::default();
        check(default, &[(0.0, 1, 100, 10), (0.5, 1, 100, 0), (1.0, 1, 100, 10), (2.0, 0, 100, 10)]);
        // What is free is spent all the same: it does not come on top of the share.
        check(default, &[(0.0, 100, 100, 20)]);
    }

    /// A14: when everything fails, retries add a fifth to the load and not three times as much.
    #[test]
    fn an_outage_is_not_multiplied() {
        let begin = Instant::now();
        let mut tally = Tally::new(BudgetSettings::default(), begin);
        let mut attempts = 0_u32;
        // 100 calls a second for a minute, each of which would like to be tried four times.
        for call in 0..6_000_u32 {
            let now = begin + Duration::from_millis(10) * call;
            tally.call(now);
            attempts += 1;
            attempts += (0..3).take_while(|_| tally.try_retry(now)).count() as u32;
        }
        assert!((7_000..=7_300).contains(&attempts), "{attempts} attempts for 6,000 calls");
    }
}
