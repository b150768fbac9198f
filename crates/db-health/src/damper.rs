//! Damping of a status that flaps. Pure: fed with what was seen, it says what to report.

use db_core::Status;

/// Reports a change for the worse after some failures in a row, and for the better after some successes.
///
/// Only the border to [`Status::Unhealthy`] is damped: healthy and degraded both serve, and change freely.
#[derive(Debug)]
pub(crate) struct Damper {
    fail_after: u32,
    recover_after: u32,
    reported: Option<Status>,
    against: u32,
}

impl Damper {
    pub(crate) fn new(fail_after: u32, recover_after: u32) -> Self {
        Self { fail_after, recover_after, reported: None, against: 0 }
    }

    /// Takes in what was seen. The first look is reported as it is: there is nothing to hold on to.
    pub(crate) fn feed(&mut self, seen: Status) -> Status {
        let Some(reported) = self.reported else {
            self.reported = Some(seen);
            return seen;
        };
        let serves = |status| status != Status::Unhealthy;
        if serves(seen) == serves(reported) {
            self.against = 0;
            self.reported = Some(seen);
            return seen;
        }
        self.against += 1;
        let needed = if serves(reported) { self.fail_after } else { self.recover_after };
        if self.against < needed {
            return reported;
        }
        self.against = 0;
        self.reported = Some(seen);
        seen
    }
}

#[cfg(test)]
mod tests {
    use Status::{Degraded, Healthy, Unhealthy};

    use super::*;

    fn check(seen: &[Status], expect: &[Status]) {
        let mut damper = Damper::new(3, 2);
        let reported: Vec<_> = seen.iter().map(|seen| damper.feed(*seen)).collect();
        assert_eq!(reported, expect, "seen {seen:?}");
    }

    #[test]
    fn the_first_look_is_reported_as_it_is() {
        check(&[Unhealthy], &[Unhealthy]);
        check(&[Healthy], &[Healthy]);
    }

    #[test]
    fn three_failures_in_a_row() {
        check(&[Healthy, Unhealthy, Unhealthy, Unhealthy], &[Healthy, Healthy, Healthy, Unhealthy]);
    }

    #[test]
    fn flapping_changes_nothing() {
        check(
            &[Healthy, Unhealthy, Unhealthy, Healthy, Unhealthy, Unhealthy],
            &[Healthy, Healthy, Healthy, Healthy, Healthy, Healthy],
        );
    }

    #[test]
    fn two_successes_to_recover() {
        check(
            &[Unhealthy, Healthy, Unhealthy, Healthy, Healthy],
            &[Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy],
        );
    }

    #[test]
    fn degraded_is_not_damped() {
        check(&[Healthy, Degraded, Healthy], &[Healthy, Degraded, Healthy]);
    }
}
