//! Every row of the classification table, one case a line.

use super::*;

/// Kind, outcome, and the advice for read / idempotent write / other write / commit.
type Row = (Kind, Outcome, [Action; 4]);

fn check(signal: Signal, (kind, outcome, advice): Row) {
    let class = signal.classify();
    let Advice { read, idempotent_write, write, commit } = class.advice;
    assert_eq!(
        (class.kind, class.outcome, [read, idempotent_write, write, commit]),
        (kind, outcome, advice),
        "{signal:?}"
    );
}

fn at(phase: Phase, codes: &[&str], row: Row) {
    for code in codes {
        check(Signal::server(SqlState::new(code).expect(code), phase), row);
    }
}

use Action::*;
use Kind::*;
use Outcome::*;
use Phase::{Commit, Connect, Execute};

#[test]
fn without_an_error_of_the_server() {
    let check = |cause, phase, row| check(Signal::new(cause, phase), row);
    check(Cause::Unreachable, Connect, (Connection, NotExecuted, [Retry, Retry, Retry, Never]));
    check(Cause::CertificateRefused, Connect, (Connection, NotExecuted, [Never; 4]));
    check(Cause::Unsent, Execute, (Connection, NotExecuted, [Retry, Retry, Retry, RetryTransaction]));
    check(Cause::Lost, Connect, (Connection, NotExecuted, [Retry, Retry, Retry, Never]));
    check(Cause::Lost, Execute, (Connection, Unknown, [Retry, Retry, Resolve, Resolve]));
    check(Cause::Lost, Commit, (Connection, Unknown, [Retry, Retry, Resolve, Resolve]));
    check(Cause::Misuse, Execute, (Query, NotExecuted, [Never; 4]));
    check(Cause::Misuse, Connect, (Connection, NotExecuted, [Never; 4]));
    check(Cause::Defect, Connect, (Connection, NotExecuted, [Never; 4]));
    check(Cause::Defect, Execute, (Connection, Unknown, [Never, Never, Never, Resolve]));
    check(Cause::UnexpectedResult, Execute, (Query, Executed, [Never; 4]));
    check(
        Cause::PoolBusy,
        Phase::Acquire,
        (Performance, NotExecuted, [RetrySlowly, RetrySlowly, RetrySlowly, Never]),
    );
    check(Cause::PoolClosed, Phase::Acquire, (Connection, NotExecuted, [Never; 4]));
    check(Cause::DeadlinePassed, Phase::Commit, (Performance, RolledBack, [Never; 4]));
    let slowly = [RetrySlowly, RetrySlowly, RetrySlowly, Never];
    check(Cause::CircuitOpen, Connect, (Connection, NotExecuted, slowly));
}

#[test]
fn while_connecting() {
    let fresh = [RefreshCredentials, RefreshCredentials, RefreshCredentials, Never];
    at(Connect, &["28P01", "28000"], (Connection, NotExecuted, fresh));
    at(Connect, &["3D000", "42501", "22023", "0A000"], (Connection, NotExecuted, [Never; 4]));
    at(Connect, &["57P03", "57P01", "08006"], (Connection, NotExecuted, [Retry, Retry, Retry, Never]));
    at(Connect, &["53300"], (Connection, NotExecuted, [RetrySlowly, RetrySlowly, RetrySlowly, Never]));
}

#[test]
fn while_a_statement_runs() {
    let at = |codes: &[&str], row| at(Execute, codes, row);
    at(&["57P03"], (Connection, NotExecuted, [Retry, Retry, Retry, Never]));
    at(&["53300"], (Connection, NotExecuted, [RetrySlowly, RetrySlowly, RetrySlowly, Never]));
    let unknown = (Connection, Unknown, [Retry, Retry, Resolve, Resolve]);
    at(&["08000", "08003", "08006", "08007", "40003", "57P02"], unknown);
    at(&["57P01"], (Connection, RolledBack, [Retry, Retry, RetryTransaction, Resolve]));
    at(&["57P05", "25P03"], (Performance, RolledBack, [Retry, Retry, RetryTransaction, Resolve]));
    at(&["25P04"], (Performance, RolledBack, [Retry, Retry, Never, Resolve]));
    let again = [Retry, RetryTransaction, RetryTransaction, RetryTransaction];
    at(&["40001", "40P01"], (Performance, RolledBack, again));
    at(&["55P03"], (Performance, RolledBack, [Retry, RetryTransaction, RetryTransaction, Never]));
    at(&["57014"], (Performance, RolledBack, [Never; 4]));
    at(&["25006"], (Connection, NotExecuted, [Never, Rediscover, Rediscover, Never]));
    at(&["53100", "53200", "53400"], (Performance, RolledBack, [Never; 4]));
    at(
        &["58000", "58030", "58P01", "XX000", "XX001", "XX002"],
        (Performance, RolledBack, [Never, Never, Never, Resolve]),
    );
    at(&["26000", "42P05"], (Schema, NotExecuted, [Reprepare, Reprepare, Reprepare, Never]));
    at(&["08P01"], (Connection, Unknown, [Never, Never, Never, Resolve]));
    at(&["42P01", "42703", "42704", "42883", "3F000"], (Schema, RolledBack, [Never; 4]));
    at(&["22001", "22P02", "23505", "42601", "25P02", "P0001", "99999"], (Query, RolledBack, [Never; 4]));
}

#[test]
fn a_cached_plan_is_told_from_an_unsupported_feature() {
    let stale = |stale_plan| {
        let sqlstate = SqlState::FEATURE_NOT_SUPPORTED;
        Signal::new(Cause::Server { sqlstate, severity: Severity::Error, stale_plan }, Execute)
    };
    check(stale(true), (Schema, NotExecuted, [Reprepare, Reprepare, Reprepare, Never]));
    check(stale(false), (Query, RolledBack, [Never; 4]));
}

#[test]
fn a_conflict_that_ends_the_session() {
    let sqlstate = SqlState::SERIALIZATION_FAILURE;
    let cause = Cause::Server { sqlstate, severity: Severity::Fatal, stale_plan: false };
    let advice = [Retry, RetryTransaction, RetryTransaction, Resolve];
    check(Signal::new(cause, Execute), (Performance, RolledBack, advice));
}

#[test]
fn an_error_at_commit_that_must_be_resolved_has_an_unknown_outcome() {
    for code in ["57P01", "57P02", "08006", "58030", "25P03", "08P01"] {
        let class = Signal::server(SqlState::new(code).expect(code), Commit).classify();
        assert_eq!((class.outcome, class.advice.commit), (Unknown, Resolve), "{code}");
    }
}

#[test]
fn an_error_at_commit_that_undid_the_transaction_says_so() {
    for code in ["40001", "40P01", "23503", "53100", "57014"] {
        let class = Signal::server(SqlState::new(code).expect(code), Commit).classify();
        assert_eq!(class.outcome, RolledBack, "{code}");
    }
}

#[test]
fn an_end_of_the_session_leaves_more_in_doubt_than_an_error() {
    let fatal = |code: &str, phase| {
        let sqlstate = SqlState::new(code).expect(code);
        Signal::new(Cause::Server { sqlstate, severity: Severity::Fatal, stale_plan: false }, phase)
            .classify()
    };
    for code in ["XX000", "53100", "57014", "22000", "57P01"] {
        let class = fatal(code, Commit);
        assert_eq!((class.outcome, class.advice.commit), (Unknown, Resolve), "{code}");
    }
    assert_eq!(fatal("57P03", Commit).outcome, NotExecuted);
    assert_eq!(fatal("22000", Execute).advice.write, Resolve);
}

#[test]
fn what_fails_before_commit_was_sent_is_undone() {
    let check = |signal: Signal, outcome, write, commit| {
        let class = signal.classify().before_commit();
        assert_eq!(
            (class.outcome, class.advice.write, class.advice.commit),
            (outcome, write, commit),
            "{signal:?}"
        );
    };
    let server = |code| Signal::server(SqlState::new(code).expect(code), Execute);
    check(Signal::new(Cause::Lost, Execute), RolledBack, RetryTransaction, RetryTransaction);
    check(server("57P02"), RolledBack, RetryTransaction, RetryTransaction);
    // A defect does not become worth a second try, nor does an error that has an outcome already.
    check(Signal::new(Cause::Defect, Execute), RolledBack, Never, RetryTransaction);
    check(server("57P01"), RolledBack, RetryTransaction, Resolve);
    check(server("23505"), RolledBack, Never, Never);
    check(Signal::new(Cause::Unsent, Execute), NotExecuted, Retry, RetryTransaction);
}

#[test]
fn nothing_of_a_read_is_in_doubt() {
    let lost = Signal::new(Cause::Lost, Execute).classify();
    assert_eq!((lost.outcome, lost.of_read().outcome), (Unknown, NotExecuted));
    assert_eq!(lost.of_read().advice, lost.advice);
}
