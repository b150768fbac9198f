//! What an error shows, hides and keeps.

use super::*;
use crate::Action;

fn server(code: &str, message: &str) -> Error {
    let mut server = ServerError::new(SqlState::new(code).expect(code), Severity::Error, message);
    server.detail = Some("Key (email)=(ann@example.org) already exists.".into());
    Error::server_error(server, Phase::Execute)
}

#[test]
fn neither_display_nor_debug_holds_a_value() {
    let check = |code, message, expect: &str| {
        let error = server(code, message);
        assert_eq!(error.to_string(), expect);
        let debug = format!("{error:?} {:?}", error.server());
        for value in ["ann@example.org", "hunter2"] {
            assert!(!debug.contains(value), "{debug}");
        }
    };
    check(
        "22P02",
        "invalid input syntax: \"hunter2\"",
        "a text cannot be read as a value of the type (22P02)",
    );
    check("22P02", "Syntax für Typ: »hunter2«", "a text cannot be read as a value of the type (22P02)");
    check(
        "22008",
        "date field value out of range: hunter2",
        "not a date or time, or one out of range (22008)",
    );
    check("22023", "setseed parameter hunter2 is out of range", "a value cannot be used (22023)");
    check("42601", "syntax error in tsquery: \"hunter2\"", "syntax error (42601)");
    check("42P01", "relation \"hunter2\" does not exist", "a table does not exist (42P01)");
    check("P0001", "not for hunter2", "raised by a function (P0001)");
    check("ZZ123", "hunter2", "an error of another kind (ZZ123)");
    check(
        "23505",
        "duplicate key value violates unique constraint \"users_email_key\"",
        "duplicate key value violates unique constraint \"users_email_key\" (23505)",
    );
}

/// Also one that is dressed as another error: `RAISE ... USING ERRCODE = 'unique_violation'`.
#[test]
fn what_a_function_raises_is_not_shown() {
    let code = SqlState::new("23505").expect("code");
    let mut server = ServerError::new(code, Severity::Error, "hunter2 is taken");
    (server.routine, server.is_in_text) = (Some("exec_stmt_raise".into()), true);
    let error = Error::server_error(server, Phase::Execute);
    assert_eq!(error.to_string(), "raised by a function (23505)");
    assert!(!format!("{error:?} {:?}", error.server()).contains("hunter2"));
}

#[test]
fn names_from_the_text_of_the_statement_are_shown() {
    let code = SqlState::new("42703").expect("code");
    let mut server = ServerError::new(code, Severity::Error, "column \"zon\" does not exist");
    server.is_in_text = true;
    let error = Error::server_error(server, Phase::Execute);
    assert_eq!(error.to_string(), "column \"zon\" does not exist (42703)");
}

#[test]
fn what_is_known_to_be_rolled_back_may_run_again() {
    let lost = || Error::new(Signal::new(Cause::Lost, Phase::Commit), "lost");
    assert_eq!((lost().outcome(), lost().advice().commit), (Outcome::Unknown, Action::Resolve));
    let error = lost().rolled_back();
    assert_eq!((error.outcome(), error.advice().commit), (Outcome::RolledBack, Action::RetryTransaction));
    let refused = server("23505", "").rolled_back();
    assert_eq!((refused.outcome(), refused.advice()), (Outcome::RolledBack, Advice::NEVER));
}

#[test]
fn a_copy_says_the_same() {
    let error = server("40001", "could not serialize access").context("commit");
    let copy = error.duplicate();
    assert_eq!(copy.to_string(), "commit: could not serialize access (40001)");
    assert_eq!((copy.kind(), copy.outcome(), copy.advice()), (error.kind(), error.outcome(), error.advice()));
    assert_eq!(copy.sqlstate(), Some(SqlState::SERIALIZATION_FAILURE));
}
