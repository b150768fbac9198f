//! `db migrate` as a user runs it: what it prints, its exit codes, and its JSON.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::{Place, processes_in, text};
use crate::support::{client, database, eventually};

/// A3, A7, A8, C6: up, status, down, up, verify on a server of its own, with the exit codes that scripts rely on.
#[tokio::test]
async fn migrate_up_down_and_verify() {
    let place = Place::new();
    let check = |arguments: &[&str], code: i32, expect: &str| {
        let output = place.run(&[&["migrate"], arguments].concat(), &[]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expect), "{arguments:?}: {text}");
    };
    check(&["status"], 3, "001  pending        users_and_refresh_tokens");
    check(&["up"], 0, "applied      001_users_and_refresh_tokens.sql");
    check(&["status"], 0, "001  completed      users_and_refresh_tokens");
    check(&["up"], 0, "nothing to do");
    check(&["verify"], 0, "ok          table public.users");
    check(&["down"], 0, "rolled back  001_users_and_refresh_tokens-down.sql");
    check(&["status"], 3, "001  rolled back    users_and_refresh_tokens");
    check(&["up", "1"], 0, "applied");
    check(&["reset"], 0, "rolled back");
    check(&["verify"], 0, "nothing is applied");
    assert_eq!(processes_in(&place.data()), 0);
}

/// A3: what drops things asks for a yes where it matters.
#[tokio::test]
async fn migrate_needs_a_yes_to_drop_what_is_not_its_own() {
    let database = database().await;
    let place = Place::new();
    let check = |arguments: &[&str], kind: &str, code: i32, expect: &str| {
        let environment = [("DB_ENV", kind), ("DATABASE_URL", database.url())];
        let output = place.run(&[&["migrate"], arguments].concat(), &environment);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expect), "{arguments:?}: {text}");
    };
    check(&["up"], "production", 0, "applied");
    check(
        &["reset"],
        "development",
        2,
        "error: reset drops everything that the migrations made on this server: it needs --yes",
    );
    check(
        &["down"],
        "production",
        2,
        "error: down drops what the migration made, in production: it needs --yes",
    );
    check(&["down", "--yes"], "production", 0, "rolled back");
    check(&["up"], "production", 0, "applied");
    check(
        &["reset", "--yes"],
        "production",
        2,
        "error: reset is refused in production: it needs --force and --yes",
    );
    check(&["reset", "--force"], "production", 2, "error: reset drops everything");
    check(&["reset", "--yes", "--force"], "production", 0, "rolled back");
}

/// A8: what differs from the migrations is named, with exit code 3.
#[tokio::test]
async fn migrate_verify_names_what_differs() {
    let database = database().await;
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url())];
    assert_eq!(place.run(&["migrate", "up"], &environment).status.code(), Some(0));
    let client = client(database.url()).await;
    client
        .batch_execute("DROP INDEX users_zone_idx; ALTER TABLE users ALTER zone SET NOT NULL")
        .await
        .expect("drift");
    let output = place.run(&["migrate", "verify"], &environment);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for expect in ["missing     index public.users_zone_idx", "differs     column public.users.zone"] {
        assert!(text.contains(expect), "{text}");
    }
}

/// A3: one document of JSON on standard output, whatever happens; people's text goes elsewhere.
#[tokio::test]
async fn migrate_prints_one_document_of_json() {
    let database = database().await;
    let place = Place::new();
    let check = |arguments: &[&str], code: i32, pointer: &str| {
        let environment = [("DATABASE_URL", database.url())];
        let output = place.run(&[&["migrate"], arguments, &["--json"]].concat(), &environment);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert!(document.pointer(pointer).is_some(), "{arguments:?}: {document}");
    };
    check(&["status"], 3, "/migrations/0/version");
    check(&["history"], 0, "");
    check(&["up"], 0, "/done/0/file");
    check(&["up"], 0, "/done");
    check(&["status"], 0, "/migrations/0/applied_at");
    check(&["history"], 0, "/0/action");
    check(&["verify", "--roundtrip", "--data=all"], 0, "/schema/objects/0/kind");
    check(&["plan"], 0, "/steps");
    check(&["plan", "down", "--check"], 3, "/steps/0/statements/0/effects/0/lock");
    check(&["redo"], 0, "/done/1/file");
    check(&["to", "0"], 0, "/done/0/direction");
    check(&["plan"], 0, "/steps/0/statements/0/line");
    check(&["to", "1"], 0, "/done/0/direction");
    check(&["to", "7"], 1, "/error/message");
    check(&["repair"], 0, "/repaired");
    check(&["baseline", "1"], 1, "/error/message");
    check(&["lint"], 0, "/findings");
    check(&["reset"], 2, "/error/message");
    check(&["down"], 0, "/done/0/direction");
    check(&["down", "many"], 2, "/error/message");
}

/// A3: an interruption cancels the statement, rolls back, releases the lock, and says what it left.
#[tokio::test]
async fn migrate_is_interrupted() {
    let database = database().await;
    let place = Place::new();
    let folder = place.path().join("slow");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("001_a.sql"), "CREATE TABLE a ();").expect("a file");
    let slow = folder.join("002_b.sql");
    std::fs::write(&slow, "CREATE TABLE b ();\nSELECT pg_sleep(60);").expect("a file");
    let environment =
        [("DATABASE_URL", database.url()), ("DB_MIGRATIONS_DIR", folder.to_str().expect("a path"))];

    let client = client(database.url()).await;
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let started = place.spawn(&["migrate", "up"], &environment);
        eventually("it sleeps", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'
                       AND datname = current_database()";
            client.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1
        })
        .await;
        let output = started.end(signal).await;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("interrupted: 002_b.sql was rolled back, nothing of it stays"), "{text}");
        let left = "SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NULL,
                           NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')";
        eventually("nothing is left", async || {
            let row = client.query_one(left, &[]).await.expect("a row");
            row.get(0) && row.get(1) && row.get(2)
        })
        .await;
    }
    std::fs::write(&slow, "CREATE TABLE b ();").expect("a file");
    let output = place.run(&["migrate", "up"], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", super::program::text(&output));
}

/// A3: two shells at once; one works, the other waits and finds nothing to do.
#[tokio::test]
async fn two_runs_at_once_both_end_well() {
    let database = database().await;
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url())];
    let (one, other) =
        (place.spawn(&["migrate", "up"], &environment), place.spawn(&["migrate", "up"], &environment));
    let (one, other) = (one.wait().await, other.wait().await);
    let texts = [text(&one), text(&other)];
    assert_eq!((one.status.code(), other.status.code()), (Some(0), Some(0)), "{texts:?}");
    let applied = texts.iter().filter(|text| text.contains("applied      001_")).count();
    let idle = texts.iter().filter(|text| text.contains("nothing to do")).count();
    assert_eq!((applied, idle), (1, 1), "{texts:?}");
}

/// A3: the same without a server given: the one that is started for both ends with whoever started it.
#[tokio::test]
async fn two_runs_at_once_both_end_well_on_a_server_of_their_own() {
    let place = Place::new();
    for _ in 0..3 {
        let (one, other) = (place.spawn(&["migrate", "up"], &[]), place.spawn(&["migrate", "up"], &[]));
        let (one, other) = (one.wait().await, other.wait().await);
        let texts = [text(&one), text(&other)];
        assert_eq!((one.status.code(), other.status.code()), (Some(0), Some(0)), "{texts:?}");
        let applied = texts.iter().filter(|text| text.contains("applied      001_")).count();
        assert_eq!(applied, 1, "{texts:?}");
        let down = place.run(&["migrate", "down"], &[]);
        assert_eq!(down.status.code(), Some(0), "{}", super::program::text(&down));
    }
}

/// A3: migrations take the way that is theirs, also when the other one leads nowhere.
#[tokio::test]
async fn migrate_takes_the_way_for_migrations() {
    let database = database().await;
    let nowhere = "postgres://postgres@127.0.0.1:1/nothing";
    let environment = [
        ("DATABASE_URL", nowhere),
        ("DATABASE_MIGRATION_URL", database.url()),
        ("DB_MIGRATION_TABLE", "ops.history"),
    ];
    let output = Place::new().run(&["migrate", "up"], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let client = client(database.url()).await;
    let rows = client.query("SELECT FROM ops.history", &[]).await.expect("the history");
    assert_eq!(rows.len(), 1);
}
