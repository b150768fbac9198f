//! When connecting is no longer tried: the state machine of the breaker. Pure: clock and chance are passed in, and it
//! tells nobody.

use std::time::Duration;

use db_core::BreakerState;
use tokio::time::Instant;

use crate::window::Window;

/// When a [`Breaker`](crate::Breaker) opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// It opens when this share of the attempts failed. Default 0.5.
    pub failure_share: f64,
    /// It does not open on fewer attempts than this, which say nothing. Default 20.
    pub min_attempts: u32,
    /// Over which time attempts are counted. Default 10 s.
    pub window: Duration,
    /// For how long it stays open, at most; at least half of that, so that many processes do not come back together. After
    /// it one attempt is let through. Default 5 s.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failure_share: 0.5,
            min_attempts: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
        }
    }
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Circuit {
    settings: BreakerSettings,
    state: State,
    /// Attempts, and failures as the marked.
    window: Window,
    /// Numbers the probes, so that a late result is not taken for that of a later one.
    probes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open(Pause),
    /// A probe is under way. When nothing is heard of it until the end of the pause, the next caller is the probe.
    HalfOpen {
        probe: u64,
        pause: Pause,
    },
}

/// A time in which nothing is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// When the breaker opened.
    pub(crate) since: Instant,
    /// When an attempt is let through again.
    pub(crate) until: Instant,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Like all others.
    Attempt,
    /// The one whose result decides.
    Probe(u64),
    /// Not now.
    Refused(Pause),
}

impl Circuit {
    pub(crate) fn new(settings: BreakerSettings, now: Instant) -> Self {
        Self { settings, state: State::Closed, window: Window::new(settings.window, now), probes: 0 }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open(_) => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        let (State::Open(pause) | State::HalfOpen { pause, .. }) = self.state else {
            return Admission::Attempt;
        };
        if now < pause.until {
            return Admission::Refused(pause);
        }
        self.probes += 1;
        let probe = self.probes;
        let until = now + self.settings.open_for;
        self.state = State::HalfOpen { probe, pause: Pause { until, ..pause } };
        Admission::Probe(probe)
    }

    /// An attempt succeeded. Only the probe's success closes: another one was begun before the breaker opened.
    pub(crate) fn succeeded(&mut self, admission: Admission, now: Instant) {
        match (self.state, admission) {
            (State::Closed, _) => self.window.add(now, 1, 0),
            (State::HalfOpen { probe, .. }, Admission::Probe(this)) if probe == this => self.close(),
            _ => {}
        }
    }

    /// An attempt failed; `random` is from 0 up to 1.
    pub(crate) fn failed(&mut self, admission: Admission, now: Instant, random: f64) {
        match (self.state, admission) {
            (State::Closed, _) => {
                self.window.add(now, 1, 1);
                let counts = self.window.sum(now);
                let is_many = counts.all >= u64::from(self.settings.min_attempts);
                if is_many && counts.marked as f64 >= counts.all as f64 * self.settings.failure_share {
                    self.open(now, now, random);
                }
            }
            (State::HalfOpen { probe, pause }, Admission::Probe(this)) if probe == this => {
                self.open(pause.since, now, random);
            }
            _ => {}
        }
    }

    /// An attempt ended without a result: its caller went away. If it was the probe, the next caller is.
    pub(crate) fn abandoned(&mut self, admission: Admission, now: Instant) {
        if let (State::HalfOpen { probe, pause }, Admission::Probe(this)) = (self.state, admission)
            && probe == this
        {
            self.state = State::Open(Pause { until: now, ..pause });
        }
    }

    /// Somebody knows that connecting works.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.window.clear();
    }

    fn open(&mut self, since: Instant, now: Instant, random: f64) {
        let until = now + self.settings.open_for.mul_f64(0.5 + random / 2.0);
        self.state = State::Open(Pause { since, until });
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
