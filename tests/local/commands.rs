//! The other commands of the program, each as one run.

use super::program::{Place, text};
use crate::support::database;

/// C4: one look, with an exit code.
#[tokio::test]
async fn health_looks_once() {
    let database = database().await;
    let place = Place::new();
    let output = place.run(&["health", "--json"], &[("DATABASE_URL", database.url())]);
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &body["status"]), (Some(0), &"ok".into()), "{body}");
}

/// A11: what happens to connections reaches the log, with its fields.
#[tokio::test]
async fn events_of_the_pool_reach_the_log() {
    let database = database().await;
    let environment = [("DATABASE_URL", database.url()), ("DB_LOG", "db::pool=debug")];
    let output = Place::new().run(&["health"], &environment);
    let log = String::from_utf8(output.stderr).expect("text");
    let port = database.config().get_ports()[0];
    for event in ["connected", "connection removed"] {
        let expect = format!("DEBUG db::pool: {event} pool=\"primary\" endpoint=\"127.0.0.1:{port}\"");
        assert!(log.contains(&expect), "{expect} in {log}");
    }
}

/// C1: missing extensions and too much power are named; what the init scripts made passes.
#[tokio::test]
async fn doctor_checks_extensions_and_privileges() {
    let database = database().await;
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url())];
    let output = place.run(&["doctor"], &environment);
    let before = text(&output);
    assert_eq!(output.status.code(), Some(1), "{before}");
    assert!(
        before.contains("problem  extension pg_trgm: not installed: CREATE EXTENSION \"pg_trgm\""),
        "{before}"
    );
    assert!(before.contains("problem  privilege superuser: postgres has it"), "{before}");

    let client = crate::support::client(database.url()).await;
    client.batch_execute(include_str!("../../docker/init/001_extensions.sql")).await.expect("extensions");
    let role = format!("role_{}", database.name());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/init/002_application_role.sh");
    let made = std::process::Command::new("sh")
        .arg(script)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", database.config().get_ports()[0].to_string())
        .env(
            "PGPASSWORD",
            String::from_utf8_lossy(database.config().get_password().expect("a password")).as_ref(),
        )
        .env("PGUSER", "postgres")
        .env("PGDATABASE", database.name())
        .env_remove("POSTGRES_USER")
        .env_remove("POSTGRES_DB")
        .env("DB_APP_USER", &role)
        .env("DB_APP_PASSWORD", "secret")
        .output()
        .expect("sh");
    assert!(made.status.success(), "{}", text(&made));
    let port = database.config().get_ports()[0];
    let url = format!("postgres://{role}:secret@127.0.0.1:{port}/{}", database.name());
    let output = place.run(&["doctor"], &[("DATABASE_URL", &url)]);
    let after = text(&output);
    assert_eq!(output.status.code(), Some(0), "{after}");
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("clean up");
}

/// A reader that goes away stops nothing, and a full disk is an error; neither is a panic.
#[tokio::test]
async fn a_closed_output_stops_nothing() {
    let place = Place::new();
    let database = database().await;
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(super::program::program()).current_dir(place.path());
        command.env("DATABASE_URL", database.url());
        command.env("DB_MIGRATIONS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
        command.output().expect("sh")
    };
    let output = shell("(\"$0\" migrate up; echo $? >code) | true");
    let code = std::fs::read_to_string(place.path().join("code")).expect("the exit code");
    assert_eq!((code.trim(), text(&output).contains("panicked")), ("0", false));
    let output = shell("\"$0\" config >/dev/full");
    let errors = text(&output);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("error: cannot write to standard output: "), "{errors}");
}

/// A2: each setting with its source, secrets masked, from `.env` and `db.toml` too.
#[tokio::test]
async fn config_shows_sources_and_no_secret() {
    let place = Place::new();
    std::fs::write(place.path().join(".env"), "DATABASE_URL=postgres://app:hunter2@h/d\nDB_POOL_MAX=4\n")
        .expect(".env");
    std::fs::write(place.path().join("db.toml"), "pool_max = 9\npool_min = 1\n").expect("db.toml");
    let output = place.run(&["config"], &[("DB_PRESET", "patient")]);
    let text = text(&output);
    assert!(!text.contains("hunter2"), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for expect in [
        ["DATABASE_URL", "postgres://app:***@h:5432/d?sslmode=verify-full", ".env"],
        ["DB_POOL_MAX", "4", ".env"],
        ["DB_POOL_MIN", "1", "db.toml"],
        ["DB_PRESET", "patient", "environment"],
        ["DB_ACQUIRE_TIMEOUT_MS", "60000", "preset"],
        ["DB_MAX_USES", "7500", "default"],
    ] {
        assert!(rows.iter().any(|row| row == &expect), "{expect:?} in {text}");
    }
    // The file of local work must not leak into production, wherever that is said.
    let production = place.run(&["config"], &[("DB_ENV", "production")]);
    assert!(!super::program::text(&production).contains(".env"), "{production:?}");
    std::fs::write(place.path().join("other.toml"), "env = 'production'\npool_max = 6\n")
        .expect("other.toml");
    let other = place.run(&["config"], &[("DB_CONFIG_FILE", "other.toml")]);
    let other = super::program::text(&other);
    assert!(!other.contains(".env") && !other.contains("DB_POOL_MIN   1"), "{other}");
    let missing = place.run(&["config"], &[("DB_CONFIG_FILE", "missing.toml")]);
    let missing = (missing.status.code(), super::program::text(&missing));
    assert_eq!(
        missing,
        (Some(2), "error: DB_CONFIG_FILE=missing.toml: No such file or directory (os error 2)\n".into())
    );
}
