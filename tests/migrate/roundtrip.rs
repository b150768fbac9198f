//! Migrations that go up, down and up again: what a down file forgets is found and named.

use super::*;

async fn roundtrip(files: &[(&str, &str, &str)], mode: Roundtrip) -> RoundtripReport {
    let db = Database::new().await;
    let client = db.client().await;
    let report = migrator(files).roundtrip(&client, &db.connector(), mode).await.expect("round trip");
    assert!(!table_exists(&client, "public.schema_migrations").await, "the database itself is left alone");
    let scratch = "SELECT count(*) FROM pg_database
                   WHERE datname LIKE 'db\\_migrate\\_scratch\\_' || pg_backend_pid() || '\\_%'";
    assert_eq!(client.one::<i64>(scratch, &[]).await.expect("databases"), 0, "the scratch database is gone");
    report
}

/// One line per migration: its state, and every object that was not as it was.
fn lines(report: &RoundtripReport) -> Vec<String> {
    let mut lines = Vec::new();
    for migration in &report.migrations {
        let error = migration.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        lines.push(format!("{} {:?}{error}", migration.name, migration.state));
        lines.extend(shown(&migration.after_down).into_iter().map(|line| format!("  down: {line}")));
        lines.extend(shown(&migration.after_up).into_iter().map(|line| format!("  up: {line}")));
    }
    lines.extend(shown(&report.after_down).into_iter().map(|line| format!("down: {line}")));
    lines.extend(shown(&report.after_up).into_iter().map(|line| format!("up: {line}")));
    lines
}

const T: (&str, &str, &str) = ("001_t", "CREATE TABLE t (id int PRIMARY KEY, n int)", "DROP TABLE t");

/// A14, D13: the migrations of this repository can be undone and done again, applied or not.
#[tokio::test]
async fn the_real_migrations_go_up_down_and_up() {
    let db = Database::new().await;
    let client = db.client().await;
    for mode in [Roundtrip::Each, Roundtrip::Whole] {
        let report = real().roundtrip(&client, &db.connector(), mode).await.expect("round trip");
        assert!(report.clean, "{:?}", lines(&report));
        assert!(report.migrations.iter().all(|migration| migration.state == RoundtripState::Ok));
        assert_eq!(report.migrations.len(), real().migrations().len());
        real().up(&client, Steps::All).await.expect("up");
    }
}

/// A14: what a file leaves in its session is not there when it runs again.
#[tokio::test]
async fn temporary_tables_and_cursors_end_with_their_file() {
    let up = "CREATE TEMP TABLE tmp AS SELECT 1 AS id; CREATE TABLE t AS TABLE tmp; DECLARE c CURSOR WITH HOLD FOR SELECT 1";
    let alone = format!("-- no-transaction\n{}", up.replace("TABLE t ", "TABLE u "));
    let files = [("001_t", up, "DROP TABLE t"), ("002_u", alone.as_str(), "DROP TABLE u")];
    let report = roundtrip(&files, Roundtrip::Each).await;
    assert_eq!(lines(&report), ["t Ok", "u Ok"]);

    let db = Database::new().await;
    migrator(&files).up(&db.client().await, Steps::All).await.expect("up");
    let client = db.client().await;
    client.batch_execute("CREATE TEMP TABLE mine ()").await.expect("table");
    migrator(&files).down(&client, 2).await.expect("down");
    client.batch_execute("SELECT FROM mine").await.expect("what the session had, it keeps");
}

/// A14: what a down file leaves, breaks or cannot undo is told by object.
#[tokio::test]
async fn a_down_file_that_does_not_undo_is_found() {
    let check = async |files: &[(&str, &str, &str)], expect: &[&str]| {
        let report = roundtrip(files, Roundtrip::Each).await;
        assert_eq!(lines(&report), expect, "{files:?}");
        assert!(!report.clean);
    };
    // A table takes its indexes along; one that stays keeps them.
    check(
        &[
            T,
            ("002_index", "CREATE INDEX IF NOT EXISTS t_n_idx ON t (n)", "SELECT 1"),
            ("003_more", "CREATE TABLE u ()", "DROP TABLE u"),
        ],
        &["t Ok", "index Different", "  down: index public.t_n_idx: unexpected", "more Ok"],
    )
    .await;
    // The first migration, which no declared schema precedes.
    check(
        &[("001_t", "CREATE SCHEMA IF NOT EXISTS app; CREATE TABLE app.t ()", "DROP TABLE app.t")],
        &["t Different", "  down: schema app: unexpected"],
    )
    .await;
    // Too much is undone, and the second way up does not bring it back.
    check(
        &[T, ("002_m", "ALTER TABLE t ADD m int", "ALTER TABLE t DROP m, DROP n")],
        &["t Ok", "m Different", "  down: column public.t.n: missing", "  up: column public.t.n: missing"],
    )
    .await;
    check(
        &[T, ("002_n", "ALTER TABLE t ALTER n TYPE bigint", "ALTER TABLE t ALTER n TYPE smallint")],
        &["t Ok", "n Different", "  down: column public.t.n: integer -> smallint"],
    )
    .await;
    // What is left behind is in the way of the second time.
    check(
        &[T, ("002_index", "CREATE INDEX t_n_idx ON t (n)", "SELECT 1"), ("003_more", "SELECT 1", "SELECT 1")],
        &[
            "t Ok",
            "index Failed: 002_index.sql:1 failed: it was replayed in an empty scratch database, which has only what \
             migrations create: relation \"t_n_idx\" already exists (42P07)",
            "  down: index public.t_n_idx: unexpected",
            "more Unfinished",
        ],
    )
    .await;
}

/// A14: a file that fails is named with its line, and ends the round trip.
#[tokio::test]
async fn a_file_that_fails_is_told_with_its_line() {
    let files =
        [T, ("002_u", "CREATE TABLE u ()", "SELECT 1;\nDROP TABLE v"), ("003_w", "SELECT 1", "SELECT 1")];
    for mode in [Roundtrip::Each, Roundtrip::Whole] {
        let report = roundtrip(&files, mode).await;
        let lines = lines(&report);
        assert!(lines[1].starts_with("u Failed: 002_u-down.sql:2 failed"), "{lines:?}");
        assert!(lines[1].ends_with("table \"v\" does not exist (42P01)"), "{lines:?}");
        assert_eq!(lines[2], "w Unfinished");
        assert!(!report.clean);
    }
    let json = serde_json::to_value(roundtrip(&[T], Roundtrip::Whole).await).expect("json");
    assert_eq!((&json["mode"], &json["migrations"][0]["state"]), (&"whole".into(), &"ok".into()));
}

/// A14: as a group, an older down file may remove what a newer one leaves.
#[tokio::test]
async fn the_whole_way_is_judged_by_its_ends() {
    let index = ("002_index", "CREATE INDEX t_n_idx ON t (n)", "SELECT 1");
    let report = roundtrip(&[T, index], Roundtrip::Whole).await;
    assert!(report.clean, "{:?}", lines(&report));

    let kept = ("003_kept", "CREATE TABLE IF NOT EXISTS kept ()", "SELECT 1");
    let report = roundtrip(&[T, index, kept], Roundtrip::Whole).await;
    assert_eq!(lines(&report), ["t Ok", "index Ok", "kept Ok", "down: table public.kept: unexpected"]);
    assert!(!report.clean);
}

/// A14: without a down file there is nothing to try, which is told and is no failure.
#[tokio::test]
async fn what_cannot_be_undone_is_told() {
    let files = [T, ("002_once", "CREATE TABLE once ()", ""), ("003_u", "CREATE TABLE u ()", "DROP TABLE u")];
    let report = roundtrip(&files, Roundtrip::Each).await;
    assert_eq!(lines(&report), ["t Ok", "once Irreversible", "u Ok"]);
    assert!(report.clean);
    let report = roundtrip(&files, Roundtrip::Whole).await;
    assert_eq!(lines(&report), ["t Blocked", "once Irreversible", "u Ok"]);
    assert!(report.clean);
}

/// A14: a server that went away is no verdict on the migration.
#[tokio::test]
async fn a_lost_connection_is_an_error() {
    let db = Database::new().await;
    let client = db.client().await;
    let nowhere = |_: String| async {
        Err(db_core::Error::new(db_core::Signal::new(db_core::Cause::Unreachable, Phase::Connect), "nowhere"))
    };
    let error = real().roundtrip(&client, &nowhere, Roundtrip::Each).await.expect_err("no connection");
    assert!(full_text(&error).contains("could not prepare the scratch database"), "{error}");

    let slow = migrator(&[("001_a", "SELECT pg_sleep(2)", "")]);
    let (connector, watcher) = (db.connector(), db.client().await);
    cut_off(&watcher, slow.roundtrip(&client, &connector, Roundtrip::Each)).await;
    let left = "SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_migrate\\_scratch\\_%'
                AND split_part(datname, '_', 4) = pg_backend_pid()::text";
    assert!(texts(&client, left).await.is_empty());
}
