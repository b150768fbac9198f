//! Which source of the password counts, and that none is shown.

use db_core::ExposeSecret;

use super::*;
use crate::config::tests::{layers, load, refused, shown};
use crate::config::{Config, Postgres};

const URL: (&str, &str) = ("DATABASE_URL", "postgres://app@db/shop");

fn masked(values: &[(&str, &str)]) -> (String, Vec<String>) {
    let config = load(values);
    let Postgres::Given(given) = &config.postgres else { panic!("a given server was expected") };
    let all = format!("{config:?} {:?}", layers(values));
    assert!(!all.contains("hunter2"), "{all}");
    (given.masked(), config.warnings)
}

/// A12.
#[test]
fn a_file_or_a_command_gives_the_password() {
    let check = |values: &[(&str, &str)], warnings: &[&str]| {
        let (masked, warned) = masked(values);
        assert!(masked.contains(":***@"), "{masked}");
        assert_eq!(warned, warnings, "{values:?}");
    };
    check(&[URL, ("DB_PASSWORD_FILE", "/run/secrets/db")], &[]);
    check(&[URL, ("DB_PASSWORD_COMMAND", "pass show hunter2")], &[]);
    check(&[("POSTGRES_HOST", "db"), ("DB_PASSWORD_FILE", "/run/secrets/db")], &[]);
    check(
        &[("POSTGRES_PASSWORD", "hunter2"), ("DB_PASSWORD_FILE", "/run/secrets/db")],
        &["POSTGRES_PASSWORD is ignored, since DB_PASSWORD_FILE is set"],
    );
    check(
        &[("DATABASE_PASSWORD", "hunter2"), ("DB_PASSWORD_COMMAND", "pass")],
        &["DATABASE_PASSWORD is ignored, since DB_PASSWORD_COMMAND is set"],
    );
}

/// C9.
#[test]
fn a_command_is_shown_without_its_arguments() {
    let config = load(&[URL, ("DB_PASSWORD_COMMAND", " vault  read hunter2 ")]);
    assert_eq!(shown(&config, "DB_PASSWORD_COMMAND"), (Some("vault ***"), Source::Environment));
    assert_eq!(shown(&config, "DB_PASSWORD_COMMAND_LIFETIME_MS"), (Some("600000"), Source::Default));
    let config = load(&[URL, ("DB_PASSWORD_COMMAND", "token")]);
    assert_eq!(shown(&config, "DB_PASSWORD_COMMAND").0, Some("token"));
    let config = load(&[URL, ("DB_PASSWORD_FILE", "/run/secrets/db")]);
    assert_eq!(shown(&config, "DB_PASSWORD_FILE").0, Some("/run/secrets/db"));
}

#[test]
fn a_second_source_is_refused() {
    let check = |values: &[(&str, &str)], expect: &str| assert_eq!(refused(values), expect, "{values:?}");
    let (file, command) = (("DB_PASSWORD_FILE", "/x"), ("DB_PASSWORD_COMMAND", "x"));
    let with_password = ("DATABASE_URL", "postgres://app:hunter2@db/shop");
    let why = "expected the password from one of them";
    check(&[with_password, file], &format!("DATABASE_URL, DB_PASSWORD_FILE: {why}"));
    check(&[with_password, command], &format!("DATABASE_URL, DB_PASSWORD_COMMAND: {why}"));
    check(&[URL, file, command], &format!("DB_PASSWORD_FILE, DB_PASSWORD_COMMAND: {why}"));
    check(
        &[URL, ("DB_PASSWORD_COMMAND", "  ")],
        "DB_PASSWORD_COMMAND=*** (environment): expected a program and its arguments, separated by spaces",
    );
    check(
        &[URL, command, ("DB_PASSWORD_COMMAND_LIFETIME_MS", "1h")],
        "DB_PASSWORD_COMMAND_LIFETIME_MS=1h (environment): expected a whole number of milliseconds from 1 to 86400000",
    );
}

#[test]
fn a_source_without_a_server_is_a_warning() {
    let config = Config::load(&layers(&[("DB_PASSWORD_FILE", "/x")])).expect("valid");
    assert_eq!(config.warnings, ["DB_PASSWORD_FILE is ignored, since no server is given"]);
    let line = refused(&[("DATABASE_URL", "postgres://"), ("DB_PASSWORD_FILE", "/x")]);
    assert!(line.starts_with("DATABASE_URL=postgres://*** (environment): it names no host"), "{line}");
}

#[tokio::test]
async fn the_environment_gives_a_password() {
    let home = password_from_environment("PATH").password().await.expect("set").expect("some");
    assert_eq!(Some(home.expose_secret().to_owned()), std::env::var("PATH").ok());
    let error = password_from_environment("DB_NO_SUCH_NAME").password().await.expect_err("not set");
    assert_eq!(error.to_string(), "DB_NO_SUCH_NAME is not in the environment, or is not UTF-8");
}
