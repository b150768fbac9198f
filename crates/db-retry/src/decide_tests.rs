//! Every row of the table of failures, for each kind of work, and the mistakes that are known from elsewhere.

use db_core::{Cause, ServerError, Severity};

use super::*;

/// What is decided, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Again.
    Again,
    /// Again, by this action.
    By(Action),
    /// Never.
    Never,
    /// It may have taken effect.
    Doubt,
}

use Action::{Rediscover, RefreshCredentials, Reprepare, RetrySlowly, RetryTransaction};
use Phase::{Acquire, Commit, Connect, Execute};
use Verdict::{Again, By, Doubt, Never};

const WORK: [Work; 4] = [Work::Read, Work::IdempotentWrite, Work::Write, Work::Transaction];

fn verdict(policy: &Policy, work: Work, failure: &Failure) -> Verdict {
    match decide(policy, work, failure, &mut Used::default()) {
        Decision::Again(Action::Retry) => Again,
        Decision::Again(action) => By(action),
        Decision::Stop(GaveUpReason::OutcomeUnknown) => Doubt,
        Decision::Stop(_) => Never,
    }
}

/// The verdicts for read, idempotent write, other write and transaction.
fn check(failure: &Failure, expect: [Verdict; 4]) {
    let seen = WORK.map(|work| verdict(&Policy::default(), work, failure));
    assert_eq!(seen, expect, "{failure:?}");
}

fn without_code(cause: Cause, phase: Phase) -> Failure {
    (&Error::new(Signal::new(cause, phase), "")).into()
}

fn coded(code: &str, severity: Severity, phase: Phase) -> Failure {
    let sqlstate = SqlState::new(code).expect(code);
    (&Error::server_error(ServerError::new(sqlstate, severity, ""), phase)).into()
}

fn at(phase: Phase, codes: &[&str], expect: [Verdict; 4]) {
    for code in codes {
        check(&coded(code, Severity::Error, phase), expect);
    }
}

/// B5, D7, E5: refused, reset, unknown host and time-out are retried; what no attempt can mend is not.
#[test]
fn while_connecting() {
    check(&without_code(Cause::Unreachable, Connect), [Again; 4]);
    check(&without_code(Cause::Lost, Connect), [Again; 4]);
    check(&without_code(Cause::CertificateRefused, Connect), [Never; 4]);
    check(&without_code(Cause::CircuitOpen, Connect), [By(RetrySlowly); 4]);
    at(Connect, &["28P01", "28000"], [By(RefreshCredentials); 4]);
    at(Connect, &["3D000", "42501"], [Never; 4]);
    at(Connect, &["57P03"], [Again; 4]);
    at(Connect, &["53300"], [By(RetrySlowly); 4]);
    check(&without_code(Cause::PoolBusy, Acquire), [By(RetrySlowly); 4]);
    check(&without_code(Cause::PoolClosed, Acquire), [Never; 4]);
}

/// B5, E5: a connection that breaks is retried where nothing can happen twice.
#[test]
fn a_connection_that_breaks() {
    check(&without_code(Cause::Unsent, Execute), [Again; 4]);
    check(&without_code(Cause::Lost, Execute), [Again, Again, Doubt, Doubt]);
    at(Execute, &["08000", "08003", "08006", "08007", "40003", "57P02"], [Again, Again, Doubt, Doubt]);
    at(Execute, &["57P01"], [Again, Again, By(RetryTransaction), By(RetryTransaction)]);
    at(Execute, &["57P05", "25P03"], [Again, Again, By(RetryTransaction), By(RetryTransaction)]);
    at(Execute, &["25P04"], [Again, Again, Never, Never]);
}

#[test]
fn what_the_server_undid() {
    let again = By(RetryTransaction);
    at(Execute, &["40001", "40P01", "55P03"], [Again, again, again, again]);
    check(&coded("40001", Severity::Fatal, Execute), [Again, again, again, again]);
    at(Execute, &["57014"], [Never; 4]);
    at(Execute, &["25006"], [Never, By(Rediscover), By(Rediscover), By(Rediscover)]);
    at(Execute, &["26000", "42P05"], [By(Reprepare); 4]);
    at(Execute, &["53100", "53200", "53400", "58030", "XX001", "XX002"], [Never; 4]);
    at(Execute, &["22001", "23505", "42601", "42P01", "25P02", "P0001", "0A000"], [Never; 4]);
    check(&without_code(Cause::UnexpectedResult, Execute), [Never; 4]);
    check(&without_code(Cause::Misuse, Execute), [Never; 4]);
}

/// The mistake: an unknown COMMIT retried as if it had failed, which applies the transaction twice.
#[test]
fn an_unknown_commit_is_never_run_again() {
    let transaction = |failure| verdict(&Policy::default(), Work::Transaction, &failure);
    for code in ["08000", "08003", "08006", "08007", "40003", "57P01", "57P02", "57P05", "58030", "XX001"] {
        assert_eq!(transaction(coded(code, Severity::Error, Commit)), Doubt, "{code}");
    }
    // Whatever ends the session during COMMIT leaves it in doubt, a lost race included.
    for code in ["40001", "57014", "53100"] {
        assert_eq!(transaction(coded(code, Severity::Fatal, Commit)), Doubt, "{code}");
    }
    for code in ["40001", "40P01"] {
        assert_eq!(transaction(coded(code, Severity::Error, Commit)), By(RetryTransaction), "{code}");
    }
    assert_eq!(transaction(coded("23503", Severity::Error, Commit)), Never);
}

/// The mistake: "connection closed" at COMMIT taken for rolled back.
#[test]
fn a_connection_that_closes_during_commit_says_nothing() {
    check(&without_code(Cause::Lost, Commit), [Again, Again, Doubt, Doubt]);
    check(&without_code(Cause::Unsent, Commit), [Again, Again, Again, By(RetryTransaction)]);
}

/// The mistake: rules for a whole class of codes, such as `08*` and `53*`.
#[test]
fn neighbours_of_retryable_codes_are_not_retried() {
    at(Execute, &["08001", "08004", "53000", "53100", "53400", "57000", "57P04", "40002"], [Never; 4]);
    at(Execute, &["08P01"], [Never, Never, Doubt, Doubt]);
}

/// A transaction that breaks before its COMMIT is sent is undone, and whoever runs it can say so.
#[test]
fn before_commit_nothing_is_in_doubt() {
    let lost = |phase| Error::new(Signal::new(Cause::Lost, phase), "").before_commit();
    let check = |phase, expect| {
        assert_eq!(verdict(&Policy::default(), Work::Transaction, &(&lost(phase)).into()), expect);
    };
    check(Execute, By(RetryTransaction));
    check(Commit, Doubt);
}

/// B5: connection failures only, never errors of the query itself.
#[test]
fn the_scope_of_connection_failures() {
    let read = |failure| verdict(&Policy::connection_failures(), Work::Read, &failure);
    assert_eq!(read(without_code(Cause::Unreachable, Connect)), Again);
    assert_eq!(read(without_code(Cause::Lost, Execute)), Again);
    assert_eq!(read(coded("57P01", Severity::Fatal, Execute)), Again);
    for code in ["40001", "40P01", "55P03", "57P05", "26000", "23505"] {
        assert_eq!(read(coded(code, Severity::Error, Execute)), Never, "{code}");
    }
    assert_eq!(read(without_code(Cause::PoolBusy, Acquire)), Never);
}

/// E5: these codes, for single statements and whole transactions; other codes at once to the caller.
#[test]
fn the_scope_of_an_unavailable_server() {
    let policy = Policy::unavailable_server();
    let read = |code| verdict(&policy, Work::Read, &coded(code, Severity::Error, Execute));
    for code in ["57P03", "08000", "08003", "08006", "57P01", "57P02"] {
        assert_eq!(read(code), Again, "{code}");
    }
    assert_eq!(read("53300"), By(RetrySlowly));
    for code in ["40001", "40P01", "55P03", "57P05", "25P03", "08007", "40003", "26000"] {
        assert_eq!(read(code), Never, "{code}");
    }
    assert_eq!(verdict(&policy, Work::Read, &without_code(Cause::Lost, Execute)), Again);
    assert_eq!(verdict(&policy, Work::Read, &without_code(Cause::PoolBusy, Acquire)), Never);

    let transaction = |code| verdict(&policy, Work::Transaction, &coded(code, Severity::Error, Execute));
    assert_eq!(transaction("57P03"), Again);
    assert_eq!(transaction("57P01"), By(RetryTransaction));
    assert_eq!(transaction("40001"), Never);
    // A scope does not make retryable what is not.
    assert_eq!(transaction("08006"), Doubt);
}

#[test]
fn each_limit_counts_its_own() {
    let policy = Policy { max_retries: 1, max_serialization_retries: 2, ..Policy::default() };
    let mut used = Used::default();
    let mut next = |failure| decide(&policy, Work::Transaction, &failure, &mut used);
    let race = || coded("40001", Severity::Error, Execute);
    let exhausted = Decision::Stop(GaveUpReason::Exhausted);
    assert_eq!(next(race()), Decision::Again(RetryTransaction));
    assert_eq!(next(without_code(Cause::Unreachable, Connect)), Decision::Again(Action::Retry));
    assert_eq!(next(race()), Decision::Again(RetryTransaction));
    assert_eq!(next(race()), exhausted);
    assert_eq!(next(without_code(Cause::Unreachable, Connect)), exhausted);
}

#[test]
fn some_actions_are_taken_once() {
    let cases = [
        (coded("28P01", Severity::Fatal, Connect), RefreshCredentials),
        (coded("26000", Severity::Error, Execute), Reprepare),
        (coded("25006", Severity::Error, Execute), Rediscover),
    ];
    for (failure, action) in cases {
        let mut used = Used::default();
        let mut next = || decide(&Policy::default(), Work::Write, &failure, &mut used);
        assert_eq!(next(), Decision::Again(action));
        assert_eq!(next(), Decision::Stop(GaveUpReason::NotRetryable));
    }
}

#[test]
fn a_policy_without_retries_has_none() {
    for failure in [
        without_code(Cause::Unreachable, Connect),
        coded("28P01", Severity::Fatal, Connect),
        coded("40001", Severity::Error, Execute),
    ] {
        assert_eq!(verdict(&Policy::never(), Work::Transaction, &failure), Never);
    }
}

#[test]
fn somebody_elses_error_is_retried_as_told() {
    check(&Failure::foreign(true), [Again; 4]);
    check(&Failure::foreign(false), [Never; 4]);
    for policy in [Policy::connection_failures(), Policy::unavailable_server()] {
        assert_eq!(verdict(&policy, Work::Write, &Failure::foreign(true)), Again);
    }
}

#[test]
fn a_pool_that_waits_by_itself_is_not_doubled() {
    let policy = Policy { retries_connecting: false, ..Policy::default() };
    let check = |phase, expect| {
        let failure = Failure::from(&Error::new(Signal::new(Cause::Unreachable, phase), ""));
        assert_eq!(decide(&policy, Work::Write, &failure, &mut Used::default()), expect, "{phase:?}");
    };
    check(Phase::Connect, Decision::Stop(GaveUpReason::NotRetryable));
    check(Phase::Acquire, Decision::Stop(GaveUpReason::NotRetryable));
    check(Phase::Execute, Decision::Again(Action::Retry));
}
