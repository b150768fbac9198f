//! What the program refuses: exit code, one clear line, no secret, nothing started.

use std::time::{Duration, Instant};

use super::program::{Place, program, text};
use crate::support::database;

/// E8, A2: exit code 2, one line for each value, nothing started.
#[tokio::test]
async fn a_value_that_cannot_be_used() {
    let place = Place::new();
    let check = |environment: &[(&str, &str)], expect: &str| {
        for arguments in [&["serve"][..], &["config"], &["migrate", "up"]] {
            let output = place.run(arguments, environment);
            let errors = String::from_utf8(output.stderr).expect("text");
            assert_eq!((output.status.code(), errors.as_str()), (Some(2), expect));
            assert!(!place.data().exists(), "nothing is started");
        }
    };
    let count = "expected a whole number from 1 to 10000";
    check(&[("DB_POOL_MAX", "abc")], &format!("error: DB_POOL_MAX=abc (environment): {count}\n"));
    check(&[("DB_POOL_MAX", "0")], &format!("error: DB_POOL_MAX=0 (environment): {count}\n"));
    check(
        &[("DB_POOL_MIN", "9"), ("DB_POOL_MAX", "5")],
        "error: DB_POOL_MIN=9: expected at most the maximum in force, 5 (DB_POOL_MAX, DB_POOL_CEILING)\n",
    );
    check(
        &[("DATABASE_URL", "postgres://a:hunter2@h:x/d")],
        "error: DATABASE_URL=postgres://*** (environment): `port` must be a whole number from 1 to 65535\n",
    );
    check(
        &[("DB_LOG", "a=b=c")],
        "error: DB_LOG=a=b=c: expected a tracing filter, such as info or db=debug\n",
    );
}

/// An unknown variable is a warning with the nearest name, and no reason to stop.
#[tokio::test]
async fn an_unknown_variable() {
    let output = Place::new().run(&["config"], &[("DB_POOL_MAXX", "1")]);
    assert_eq!(output.status.code(), Some(0));
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(errors, "warning: DB_POOL_MAXX (environment) is not known; did you mean DB_POOL_MAX?\n");
}

/// A5: fails fast, names the real cause, keeps the password.
#[tokio::test]
async fn a_server_that_cannot_be_used() {
    let database = database().await;
    let target = database.config();
    let port = target.get_ports()[0];
    let place = Place::new();
    // Built before any time is taken.
    program();
    let check = |url: &str, limit: Duration, expect: &str| {
        let started = Instant::now();
        let output = place.run(&["serve"], &[("DATABASE_URL", url)]);
        let (took, text) = (started.elapsed(), text(&output));
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expect), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(took < limit, "{expect}: {took:?}");
    };
    let (soon, resolver) = (Duration::from_secs(3), Duration::from_secs(30));
    check(
        &format!("postgres://postgres:hunter2@127.0.0.1:{port}/postgres"),
        soon,
        "password authentication failed for user \"postgres\" (28P01)",
    );
    let missing = database.url().replace(database.name(), "missing");
    check(&missing, soon, "database \"missing\" does not exist (3D000)");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    check(&format!("postgres://a:hunter2@{closed}/d"), soon, "Connection refused");
    check(
        "postgres://a:hunter2@no-such-host.invalid/d",
        resolver,
        "could not connect to no-such-host.invalid:5432: ",
    );
}
