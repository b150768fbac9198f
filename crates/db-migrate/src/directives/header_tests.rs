//! Which comments are directives, and what is wrong with the others.

use super::*;
use crate::{Refusal, Script};

fn read(text: &str) -> Result<Directives, String> {
    let script = Script::parse(text).map_err(|(line, refusal)| format!("{line}: {refusal}"))?;
    Ok(script.directives().clone())
}

#[test]
fn directives_are_read_from_the_comments_at_the_top() {
    let check = |text: &str, expect: Directives| assert_eq!(read(text), Ok(expect), "{text}");
    let none = Directives::default;
    let no_transaction = || Directives { no_transaction: true, ..none() };
    let limit = |millis| Some(Duration::from_millis(millis));
    check("", none());
    check("-- no-transaction", no_transaction());
    check("--no-transaction\nSELECT 1", no_transaction());
    check("\u{feff}\r\n  -- NO_TRANSACTION \r\nSELECT 1", no_transaction());
    check("/* what it does\n-- phase: expand */\n\n-- prose\n-- no-transaction\nSELECT 1", no_transaction());
    check("/* a */ -- no-transaction\nSELECT 1", none());
    check("-- +goose NO TRANSACTION\n-- +goose Up\nSELECT 1", no_transaction());
    check("-- migrate:up transaction:false\nSELECT 1", no_transaction());
    check("-- migrate:up transaction:true\nSELECT 1", none());
    check("-- atlas:txmode none\nSELECT 1", no_transaction());
    check("-- atlas:txmode file\n-- atlas:nolint\nSELECT 1", none());
    check("-- phase: expand", Directives { phase: Some(Phase::Expand), ..none() });
    check("-- Phase:contract", Directives { phase: Some(Phase::Contract), ..none() });
    check("-- lock-timeout: 5s", Directives { lock_timeout: limit(5_000), ..none() });
    check("-- lock_timeout : 150 ms", Directives { lock_timeout: limit(150), ..none() });
    check("-- lock-timeout: 0", Directives { lock_timeout: limit(0), ..none() });
    check("-- statement-timeout: 20min", Directives { statement_timeout: limit(1_200_000), ..none() });
    check("-- statement-timeout: 2h", Directives { statement_timeout: limit(7_200_000), ..none() });
    check("-- out-of-order: allow", Directives { out_of_order: true, ..none() });
    let lint_ignore = vec!["a-rule".to_owned(), "b".to_owned(), "c".to_owned()];
    check("-- lint: ignore a-rule, b\n-- lint: ignore c", Directives { lint_ignore, ..none() });
}

#[test]
fn prose_is_no_directive() {
    let check = |comment: &str| {
        for text in [format!("{comment}\nSELECT 1"), format!("SELECT 1\n;{comment}\n{comment}\nSELECT 2")] {
            assert_eq!(read(&text), Ok(Directives::default()), "{text}");
        }
    };
    check("-- Author: Bob");
    check("-- Note: phase two");
    check("-- note: https://example.com/phase");
    check("-- Create users table");
    check("-- lint the table");
    check("-- phase two of three");
    check("-- lock-timeout of 5s is too short");
    check("-- no-transaction is needed");
    check("-- no transaction is needed");
    check("-- users");
    check("-- list: a, b");
    check("-- hint: see below");
    check("-- phrase: hello");
    check("-- line");
    check("-- TODO: lock-timeout");
    check("-- Lint-free: yes");
    check("-----");
    check("--");
    check("-- 001: users");
    check("-- order: by hand");
    check("-- ünïcode: ja");
    check("SELECT '\n-- no-transaction\n' -- no-transaction");
    check("DO $$\n-- no-transaction\nBEGIN END $$;");
}

#[test]
fn a_directive_that_is_wrong_says_what_is_right() {
    let check = |text: &str, expect: &str| {
        let error = read(text).expect_err(text);
        assert!(error.starts_with(expect), "{text}\n{error}\n{expect}");
    };
    check(
        "\n-- no-transactions",
        "2: says `-- no-transactions`, which is no directive: did you mean `no-transaction`? known are \
         no-transaction, phase, lock-timeout, statement-timeout, out-of-order, lint",
    );
    let unknown = |text: &str, meant: &str| {
        check(text, &format!("1: says `{text}`, which is no directive: did you mean `{meant}`"))
    };
    unknown("-- notransaction", "no-transaction");
    unknown("-- lock-timout: 5 seconds", "lock-timeout");
    unknown("-- statement_timeuot: 5s", "statement-timeout");
    unknown("-- out-of-oder: allow", "out-of-order");
    unknown("-- fase: expand", "phase");
    unknown("-- lnt: ignore x", "lint");
    let value = |text: &str, expected: &str| check(text, &format!("1: says `{text}`, expected `{expected}"));
    value("-- phase: expnd", "-- phase: expand|migrate|contract");
    value("-- phase", "-- phase: expand|migrate|contract");
    value("-- no-transaction: true", "-- no-transaction");
    value("-- lock-timeout: 5", "-- lock-timeout: 5s (ms, s, min, h; 0 for none)");
    value("-- lock-timeout: 5 seconds", "-- lock-timeout: 5s");
    value("-- lock-timeout: -1s", "-- lock-timeout: 5s");
    value("-- lock-timeout:", "-- lock-timeout: 5s");
    value("-- statement-timeout: 600h", "-- statement-timeout: 20min");
    value("-- statement-timeout: 99999999999999999999h", "-- statement-timeout: 20min");
    value("-- lock-timeout 5s", "-- lock-timeout: 5s");
    value("-- statement_timeout=5min", "-- statement-timeout: 20min");
    value("-- phase = expand", "-- phase: expand|migrate|contract");
    value("-- lint ignore ban-drop-table", "-- lint: ignore RULE, RULE");
    value("-- out-of-order: yes", "-- out-of-order: allow");
    value("-- lint: ignore", "-- lint: ignore RULE, RULE");
    value("-- lint: ignore a b", "-- lint: ignore RULE, RULE");
    check("-- phase: expand\n-- phase: expand", "2: says `-- phase: expand`, but has said so before");
    check(
        "-- no-transaction\n-- +goose NO TRANSACTION",
        "2: says `-- +goose NO TRANSACTION`, but has said so",
    );
    check("-- +goose ENVSUB ON", "1: says `-- +goose ENVSUB ON`, which only another tool understands");
    check("-- migrate:up transaction:flase", "1: says `-- migrate:up transaction:flase`, which only another");
    check("-- atlas:txmode all", "1: says `-- atlas:txmode all`, which only another");
    check(
        "SELECT 1;\n  -- no-transaction",
        "2: says `-- no-transaction`, which has no effect here: move it up",
    );
    check("SELECT\n-- lock_timeout: 5s\n1", "2: says `-- lock_timeout: 5s`, which has no effect here");
}

#[test]
fn half_of_a_file_inherits_from_its_top_and_may_differ() {
    let top = Directives { phase: Some(Phase::Expand), no_transaction: true, ..Directives::default() };
    let down = Script::parse_section("-- phase: contract\nVACUUM", 7, Some(&top)).expect("section");
    assert_eq!((down.directives().phase, down.directives().no_transaction), (Some(Phase::Contract), true));
    let error = Script::parse_section("\n-- phase: x", 7, Some(&top)).expect_err("wrong");
    assert!(matches!(error, (8, Refusal::Directive(DirectiveError::Value { .. }))), "{error:?}");
}
