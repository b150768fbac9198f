//! The pauses between attempts: `backon` makes them grow, this spreads them. Does not sleep.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::{Jitter, Policy};

/// The pauses of one call.
#[derive(Debug)]
pub(crate) struct Delays {
    growing: ExponentialBackoff,
    jitter: Jitter,
}

impl Delays {
    pub(crate) fn new(policy: &Policy) -> Self {
        // A policy that nobody validated does the least harm: its pauses do not shrink, and stay below the longest.
        let factor = if policy.factor.is_finite() { policy.factor.max(1.0) } else { 1.0 };
        let growing = ExponentialBuilder::new()
            .with_min_delay(policy.initial_delay.min(policy.max_delay))
            .with_max_delay(policy.max_delay)
            .with_factor(factor)
            .without_max_times()
            .build();
        Self { growing, jitter: policy.jitter }
    }

    /// The next pause; `random` is from 0 up to 1. One that is to be slow is never spread down to nothing.
    pub(crate) fn next(&mut self, is_slow: bool, random: f64) -> Duration {
        let pause = self.growing.next().map_or(Duration::ZERO, rounded);
        match self.jitter {
            Jitter::None => pause,
            Jitter::Full if !is_slow => pause.mul_f64(random),
            Jitter::Full | Jitter::Equal => pause.mul_f64(0.5 + random / 2.0),
        }
    }
}

/// `backon` multiplies in single precision: 200.000003 ms are 200 ms.
fn rounded(pause: Duration) -> Duration {
    let micros = pause.saturating_add(Duration::from_nanos(500)).as_micros();
    u64::try_from(micros).map_or(Duration::MAX, Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(policy: &Policy, is_slow: bool, random: f64) -> Vec<u128> {
        let mut delays = Delays::new(policy);
        (0..8).map(|_| delays.next(is_slow, random).as_millis()).collect()
    }

    /// B5: 100, 200, 400 ms, to the microsecond.
    #[test]
    fn connection_failures_pause_exactly() {
        let mut delays = Delays::new(&Policy::connection_failures());
        let three: Vec<_> = (0..3).map(|_| delays.next(false, 0.3)).collect();
        assert_eq!(three, [100, 200, 400].map(Duration::from_millis));
    }

    /// E5, D7: they double up to their longest.
    #[test]
    fn pauses_double_up_to_the_longest() {
        let without_jitter = |mut policy: Policy| {
            policy.jitter = Jitter::None;
            pauses(&policy, false, 0.0)
        };
        let short = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
        assert_eq!(without_jitter(Policy::unavailable_server()), short);
        let long = [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000];
        assert_eq!(without_jitter(Policy::patient()), long);
    }

    #[test]
    fn jitter_spreads_them() {
        let check = |jitter, is_slow, random, expect: [u128; 3]| {
            let policy = Policy { jitter, ..Policy::default() };
            assert_eq!(pauses(&policy, is_slow, random)[..3], expect, "{jitter:?} {is_slow} {random}");
        };
        check(Jitter::Full, false, 0.0, [0, 0, 0]);
        check(Jitter::Full, false, 0.5, [50, 100, 200]);
        check(Jitter::Equal, false, 0.0, [50, 100, 200]);
        check(Jitter::Equal, false, 0.5, [75, 150, 300]);
        // A server that has too many connections is not asked again at once.
        check(Jitter::Full, true, 0.0, [50, 100, 200]);
        check(Jitter::None, true, 0.5, [100, 200, 400]);
    }

    #[test]
    fn an_unusable_policy_does_no_harm() {
        let mut policy = Policy { jitter: Jitter::None, factor: f32::NAN, ..Policy::default() };
        assert_eq!(pauses(&policy, false, 0.0), [100; 8]);
        policy.max_delay = Duration::from_millis(10);
        assert_eq!(pauses(&policy, false, 0.0), [10; 8]);
    }
}
