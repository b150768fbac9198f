//! Counts over the last seconds. Pure: the clock is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// Into how many parts a window is cut: it moves on by a tenth of itself.
const PARTS: usize = 10;

/// Two counts over a sliding window. What is older than the window is forgotten, a tenth at a time.
#[derive(Debug)]
pub(crate) struct Window {
    begin: Instant,
    part: Duration,
    /// Number of the newest part since `begin`.
    newest: u64,
    counts: [Counts; PARTS],
}

/// What is counted: all, and those of them that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) all: u64,
    pub(crate) marked: u64,
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        // Less than a nanosecond a part would be a division by zero.
        let part = (length / PARTS as u32).max(Duration::from_nanos(1));
        Self { begin: now, part, newest: 0, counts: [Counts::default(); PARTS] }
    }

    pub(crate) fn add(&mut self, now: Instant, all: u64, marked: u64) {
        self.advance(now);
        let slot = &mut self.counts[(self.newest % PARTS as u64) as usize];
        slot.all += all;
        slot.marked += marked;
    }

    pub(crate) fn sum(&mut self, now: Instant) -> Counts {
        self.advance(now);
        self.counts.iter().fold(Counts::default(), |sum, part| Counts {
            all: sum.all + part.all,
            marked: sum.marked + part.marked,
        })
    }

    pub(crate) fn clear(&mut self) {
        self.counts = [Counts::default(); PARTS];
    }

    fn advance(&mut self, now: Instant) {
        let parts = now.saturating_duration_since(self.begin).as_nanos() / self.part.as_nanos();
        let now = u64::try_from(parts).unwrap_or(u64::MAX);
        // A clock that was read before somebody else's counts for the newest part.
        let passed = now.saturating_sub(self.newest);
        for step in 1..=passed.min(PARTS as u64) {
            self.counts[((self.newest + step) % PARTS as u64) as usize] = Counts::default();
        }
        self.newest = self.newest.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let mut window = Window::new(Duration::from_secs(10), begin);
        let mut check = |seconds, add: u64, expect: u64| {
            window.add(at(seconds), add, 0);
            assert_eq!(window.sum(at(seconds)).all, expect, "at {seconds} s");
        };
        check(0.0, 3, 3);
        check(0.9, 1, 4);
        check(5.0, 2, 6);
        // The clock of another caller was read a little before.
        check(4.9, 1, 7);
        check(9.9, 0, 7);
        check(10.0, 0, 3);
        check(15.5, 5, 5);
        check(1_000.0, 1, 1);
    }

    #[test]
    fn what_matters_is_counted_apart() {
        let begin = Instant::now();
        let mut window = Window::new(Duration::from_secs(10), begin);
        window.add(begin, 1, 1);
        window.add(begin + Duration::from_secs(1), 5, 2);
        assert_eq!(window.sum(begin), Counts { all: 6, marked: 3 });
        window.clear();
        assert_eq!(window.sum(begin), Counts::default());
    }
}
