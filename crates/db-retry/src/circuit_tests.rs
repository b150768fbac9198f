//! Every way through the breaker's states, one table each.

use super::*;

/// What happens to the circuit; probes are numbered from 1.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fail(u32),
    Succeed(u32),
    Admit,
    Refuse,
    Probe(u64),
    ProbeFails(u64),
    ProbeSucceeds(u64),
    ProbeVanishes(u64),
    CloseFromOutside,
}

use BreakerState::{Closed, HalfOpen, Open};
use Step::*;

/// Each step at its second, with the state after it. The pause is the shortest, 2.5 s.
fn check(steps: &[(f64, Step, BreakerState)]) {
    let begin = Instant::now();
    let mut circuit = Circuit::new(BreakerSettings::default(), begin);
    for &(second, step, expect) in steps {
        let now = begin + Duration::from_secs_f64(second);
        let random = 0.0;
        match step {
            Fail(count) => (0..count).for_each(|_| circuit.failed(Admission::Attempt, now, random)),
            Succeed(count) => (0..count).for_each(|_| circuit.succeeded(Admission::Attempt, now)),
            Admit => assert_eq!(circuit.admit(now), Admission::Attempt, "{second} s"),
            Refuse => assert!(matches!(circuit.admit(now), Admission::Refused(_)), "{second} s"),
            Probe(number) => assert_eq!(circuit.admit(now), Admission::Probe(number), "{second} s"),
            ProbeFails(number) => circuit.failed(Admission::Probe(number), now, random),
            ProbeSucceeds(number) => circuit.succeeded(Admission::Probe(number), now),
            ProbeVanishes(number) => circuit.abandoned(Admission::Probe(number), now),
            CloseFromOutside => circuit.close(),
        }
        assert_eq!(circuit.state(), expect, "{second} s, {step:?} of {steps:?}");
    }
}

#[test]
fn it_opens_when_half_of_twenty_failed() {
    check(&[(0.0, Fail(19), Closed), (0.0, Admit, Closed), (0.1, Fail(1), Open)]);
    check(&[(0.0, Succeed(10), Closed), (1.0, Fail(9), Closed), (1.0, Fail(1), Open)]);
    check(&[(0.0, Succeed(11), Closed), (1.0, Fail(10), Closed), (1.0, Fail(1), Open)]);
    // Old failures are forgotten, and so are old successes.
    check(&[(0.0, Fail(19), Closed), (11.0, Fail(19), Closed)]);
    check(&[(0.0, Succeed(100), Closed), (11.0, Fail(20), Open)]);
}

#[test]
fn one_probe_decides() {
    let opened = (0.0, Fail(20), Open);
    check(&[opened, (2.4, Refuse, Open), (2.5, Probe(1), HalfOpen), (2.6, Refuse, HalfOpen)]);
    check(&[opened, (2.5, Probe(1), HalfOpen), (2.6, ProbeSucceeds(1), Closed), (2.6, Admit, Closed)]);
    check(&[
        opened,
        (2.5, Probe(1), HalfOpen),
        (3.0, ProbeFails(1), Open),
        (5.4, Refuse, Open),
        (5.5, Probe(2), HalfOpen),
    ]);
    // What failed before it opened does not count after it closed.
    check(&[opened, (2.5, Probe(1), HalfOpen), (2.6, ProbeSucceeds(1), Closed), (2.7, Fail(19), Closed)]);
}

#[test]
fn a_probe_that_vanishes_leaves_its_turn_to_the_next() {
    let opened = (0.0, Fail(20), Open);
    check(&[opened, (2.5, Probe(1), HalfOpen), (2.6, ProbeVanishes(1), Open), (2.6, Probe(2), HalfOpen)]);
    // One of which nothing is heard at all, too; and what it says at last is too late.
    check(&[
        opened,
        (2.5, Probe(1), HalfOpen),
        (7.4, Refuse, HalfOpen),
        (7.5, Probe(2), HalfOpen),
        (7.6, ProbeFails(1), HalfOpen),
        (7.6, ProbeSucceeds(1), HalfOpen),
        (7.6, ProbeVanishes(1), HalfOpen),
        (7.7, ProbeSucceeds(2), Closed),
        (7.8, ProbeVanishes(2), Closed),
    ]);
}

#[test]
fn attempts_from_before_it_opened_change_nothing() {
    check(&[
        (0.0, Fail(20), Open),
        (0.1, Succeed(50), Open),
        (0.1, Fail(50), Open),
        (2.5, Probe(1), HalfOpen),
    ]);
}

#[test]
fn it_can_be_closed_from_outside() {
    check(&[(0.0, Fail(20), Open), (0.1, CloseFromOutside, Closed), (0.1, Fail(19), Closed)]);
    check(&[
        (0.0, Fail(20), Open),
        (2.5, Probe(1), HalfOpen),
        (2.6, CloseFromOutside, Closed),
        (2.6, ProbeVanishes(1), Closed),
    ]);
}

#[test]
fn it_stays_open_for_half_to_all_of_its_time() {
    let check = |random, millis| {
        let begin = Instant::now();
        let mut circuit = Circuit::new(BreakerSettings::default(), begin);
        (0..20).for_each(|_| circuit.failed(Admission::Attempt, begin, random));
        let pause = Pause { since: begin, until: begin + Duration::from_millis(millis) };
        assert_eq!(circuit.admit(begin), Admission::Refused(pause), "{random}");
    };
    check(0.0, 2_500);
    check(0.5, 3_750);
    check(1.0, 5_000);
}
