//! What cannot be migrated is refused with one clear error, and nothing is half done.

use db_migrate::{HistoryTable, LockKind, OutOfOrder, Phase, RepairKind, Repairs, applied_version};

use super::*;

const A: (&str, &str, &str) = ("001_a", "CREATE TABLE a ()", "DROP TABLE a");
const B: (&str, &str, &str) = ("002_b", "CREATE TABLE b ()", "DROP TABLE b");
const C: (&str, &str, &str) = ("003_c", "CREATE TABLE c ()", "DROP TABLE c");

async fn refused(migrator: &Migrator, client: &Client) -> String {
    let error = migrator.up(client, Steps::All).await.expect_err("refused");
    full_text(&error)
}

#[tokio::test]
async fn a_role_that_may_not_create_the_history_is_told_what_it_needs() {
    let mut db = Database::new().await;
    let (role, admin) = (format!("{}_weak", db.name), db.client().await);
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'weak'")).await.expect("role");
    // Before PostgreSQL 15 everybody could create tables in it.
    admin.batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.expect("revoke");
    let administrator = db.config.clone();
    db.config.user(&role).password("weak");
    let client = db.client().await;
    let text = refused(&migrator(&[A]), &client).await;
    let expect = "could not create the history table public.schema_migrations; the role that migrates needs CREATE \
                  on the schema, or name another table: permission denied for schema public";
    assert!(text.starts_with(expect), "{text}");
    drop(client);
    db.config = administrator;
    admin.batch_execute(&format!("DROP ROLE {role}")).await.expect("gone");
}

#[tokio::test]
async fn a_server_that_is_read_only_is_not_written() {
    let db = Database::new().await;
    let client = db.client().await;
    client.batch_execute("SET default_transaction_read_only = on").await.expect("set");
    let text = refused(&migrator(&[A]), &client).await;
    assert!(text.starts_with("this server is set to read only (default_transaction_read_only)"), "{text}");
    client.batch_execute("SET default_transaction_read_only = off").await.expect("set");
    assert!(!table_exists(&client, "schema_migrations").await && !table_exists(&client, "a").await);
}

/// D13: an older program beside a newer schema has nothing to do, while a gap in the middle is an error.
#[tokio::test]
async fn a_missing_file_is_an_error_unless_the_schema_is_ahead() {
    let db = Database::new().await;
    let client = db.client().await;
    migrator(&[A, B, C]).up(&client, Steps::All).await.expect("up");
    let old = migrator(&[A, B]);
    assert!(old.up(&client, Steps::All).await.expect("nothing to do").done.is_empty());
    assert_eq!(states(&old, &client).await, [State::Completed, State::Completed, State::Ahead]);
    assert_eq!(old.status(&client).await.expect("status").drift().count(), 0);
    assert_eq!(
        refused(&migrator(&[A, C]), &client).await,
        "002_b is applied, but its file is missing: restore it"
    );
}

#[tokio::test]
async fn a_late_file_runs_when_it_may() {
    let db = Database::new().await;
    let client = db.client().await;
    migrator(&[A, C]).up(&client, Steps::All).await.expect("up");
    let text = refused(&migrator(&[A, B, C]), &client).await;
    assert!(text.starts_with("002_b.sql is out of order: 003_c is newer"), "{text}");
    let by_itself = ("002_b", "-- out-of-order: allow\nCREATE TABLE b ()", "DROP TABLE b");
    migrator(&[A, by_itself, C]).up(&client, Steps::All).await.expect("the file says so");
    migrator(&[A, by_itself, C]).down(&client, 1).await.expect("the last one applied");
    assert!(!table_exists(&client, "b").await && table_exists(&client, "c").await);
    let settings = Settings { out_of_order: OutOfOrder::Allow, ..Settings::default() };
    migrator(&[A, B, C]).settings(settings).up(&client, Steps::All).await.expect("the settings say so");
}

/// D13: the phases of a rollout, each by itself and none out of turn.
#[tokio::test]
async fn phases_run_by_themselves() {
    let db = Database::new().await;
    let client = db.client().await;
    let files = [
        ("001_base", "CREATE TABLE t (old text)", ""),
        ("002_add", "-- phase: expand\nALTER TABLE t ADD new text", ""),
        ("003_fill", "-- phase: migrate\nUPDATE t SET new = old", ""),
        ("004_drop", "-- phase: contract\nALTER TABLE t DROP old", ""),
        ("005_more", "-- phase: expand\nALTER TABLE t ADD more text", ""),
    ];
    let of = |phase| migrator(&files).settings(Settings { phase: Some(phase), ..Settings::default() });
    let text = refused(&of(Phase::Expand), &client).await;
    assert!(text.starts_with("001_base.sql is pending and declares no phase, but 002_add.sql"), "{text}");
    migrator(&files).up(&client, Steps::Count(1)).await.expect("the base");
    let text = refused(&of(Phase::Contract), &client).await;
    assert!(text.starts_with("002_add.sql is of an earlier phase and pending, but 004_drop.sql"), "{text}");

    let applied = async |phase| {
        let run = of(phase).up(&client, Steps::All).await.expect("phase");
        run.done.into_iter().map(|done| done.name).collect::<Vec<_>>()
    };
    assert_eq!(applied(Phase::Expand).await, ["add", "more"]);
    assert_eq!(applied(Phase::Migrate).await, ["fill"]);
    assert_eq!(applied(Phase::Contract).await, ["drop"]);
    assert_eq!(states(&migrator(&files), &client).await, [State::Completed; 5]);
}

#[tokio::test]
async fn a_changed_file_is_repaired_when_only_comments_changed() {
    let db = Database::new().await;
    let client = db.client().await;
    migrator(&[A, B]).up(&client, Steps::All).await.expect("up");
    let commented = ("001_a", "-- why\nCREATE  TABLE a ();\n", "DROP TABLE a");
    let edited = ("002_renamed", "CREATE TABLE b (id int)", "DROP TABLE b");
    let changed = migrator(&[commented, edited, C]);
    let text = refused(&changed, &client).await;
    assert_eq!(
        text,
        "001_a.sql was changed after it was applied: only comments or white space differ, so repair accepts it"
    );
    let repaired = changed.repair(&client, &Repairs::default()).await.expect("repaired");
    assert_eq!(
        repaired.repaired.iter().map(|row| row.what).collect::<Vec<_>>(),
        [RepairKind::CommentsChanged]
    );
    assert_eq!(repaired.refused.iter().map(|row| row.file.as_str()).collect::<Vec<_>>(), ["002_renamed.sql"]);
    let text = refused(&changed, &client).await;
    assert!(text.starts_with("002_renamed.sql was changed after it was applied: restore it"), "{text}");
    let accept = Repairs { accept: vec!["2".parse().expect("version")], ..Repairs::default() };
    let repaired = changed.repair(&client, &accept).await.expect("accepted");
    assert_eq!(repaired.repaired.iter().map(|row| row.what).collect::<Vec<_>>(), [RepairKind::Accepted]);
    assert_eq!(changed.up(&client, Steps::All).await.expect("goes on").done.len(), 1);
    let nobody = Repairs { accept: vec!["9".parse().expect("version")], ..Repairs::default() };
    let error = changed.repair(&client, &nobody).await.expect_err("unknown");
    assert_eq!(error.to_string(), "migration 9 cannot be repaired: the history does not know it");
}

/// A schema that was there before its history.
#[tokio::test]
async fn a_baseline_takes_what_is_there_as_applied() {
    let db = Database::new().await;
    let client = db.client().await;
    client.batch_execute("CREATE TABLE a (); CREATE TABLE b ()").await.expect("by hand");
    let all = migrator(&[A, B, C]);
    let error = all.baseline(&client, &"7".parse().expect("version")).await.expect_err("unknown");
    assert_eq!(error.to_string(), "there is no migration 7, neither as a file nor applied");
    let taken = all.baseline(&client, &"2".parse().expect("version")).await.expect("baseline");
    assert_eq!(taken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["001", "002"]);
    assert_eq!(all.up(&client, Steps::All).await.expect("up").done.len(), 1);
    assert!(db.verify(&all).await.clean);
    let error = all.baseline(&client, &"2".parse().expect("version")).await.expect_err("has a history");
    assert!(error.to_string().ends_with("and 003_c is applied here"), "{error}");
}

/// D4: to a version, whether it is above or below.
#[tokio::test]
async fn a_version_is_reached_from_both_sides() {
    let db = Database::new().await;
    let client = db.client().await;
    let all = migrator(&[A, B, C]);
    let to = async |version: &str| {
        let run = all.to(&client, &version.parse().expect("version")).await.expect("goes there");
        run.done.into_iter().map(|done| done.file).collect::<Vec<_>>()
    };
    assert_eq!(to("2").await, ["001_a.sql", "002_b.sql"]);
    assert_eq!(
        applied_version(&client, &HistoryTable::default())
            .await
            .expect("version")
            .map(|v| v.to_string())
            .as_deref(),
        Some("002")
    );
    assert_eq!(to("3").await, ["003_c.sql"]);
    assert_eq!(to("1").await, ["003_c-down.sql", "002_b-down.sql"]);
    assert_eq!(to("0").await, ["001_a-down.sql"]);
    let error = all.to(&client, &"9".parse().expect("version")).await.expect_err("unknown");
    assert_eq!(error.to_string(), "there is no migration 9, neither as a file nor applied");

    all.up(&client, Steps::All).await.expect("up");
    let changed = migrator(&[A, B, ("003_c", "CREATE TABLE c (id int)", "DROP TABLE c")]);
    let run = changed.redo(&client, 1).await.expect("down and up again");
    assert_eq!(
        run.done.iter().map(|done| done.direction).collect::<Vec<_>>(),
        [Direction::Down, Direction::Up]
    );
    assert_eq!(states(&changed, &client).await, [State::Completed; 3]);
}

/// A lease instead of the session's lock: one runs, the other waits, and one that vanished is waited for until its time is
/// over.
#[tokio::test]
async fn a_lease_keeps_runners_apart() {
    let db = Database::new().await;
    let ttl = Duration::from_millis(1_500);
    let settings = Settings { lock: LockKind::Lease { ttl }, ..Settings::default() };
    let slow = ("001_slow", "CREATE TABLE slow (); SELECT pg_sleep(2)", "");
    // It takes longer than the lease lasts, which the watcher renews.
    let leased = migrator(&[slow, B]).settings(settings.clone()).watcher(db.connector());
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (client, leased) = (db.client().await, leased.clone());
        runs.spawn(async move { leased.up(&client, Steps::All).await.expect("ends well").done.len() });
    }
    let mut done = runs.join_all().await;
    done.sort_unstable();
    assert_eq!(done, [0, 0, 2]);

    let client = db.client().await;
    let vanished = "INSERT INTO schema_migrations_lease (token, pid, application, by_role, expires_at)
                    VALUES ('gone', 1, 'gone', 'gone', clock_timestamp() + interval '1 second')";
    client.batch_execute(vanished).await.expect("a lease that nobody renews");
    let more = migrator(&[slow, B, C]).settings(settings.clone());
    let began = Instant::now();
    assert_eq!(more.up(&client, Steps::All).await.expect("takes over").done.len(), 1);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());

    // Somebody else's now: nothing is committed any more.
    let stolen = "CREATE TABLE d (); UPDATE schema_migrations_lease SET token = 'other'";
    let error = migrator(&[slow, B, C, ("004_d", stolen, "")])
        .settings(settings.clone())
        .up(&client, Steps::All)
        .await;
    assert!(matches!(error, Err(Error::LeaseLost)), "{error:?}");
    assert!(!table_exists(&client, "d").await);

    client.batch_execute("DELETE FROM schema_migrations_lease").await.expect("free");
    let alone = ("004_d", "-- no-transaction\nCREATE TABLE d ()", "");
    let text = refused(&migrator(&[slow, B, C, alone]).settings(settings), &client).await;
    assert!(
        text.starts_with("004_d.sql runs without a transaction, which needs a session of its own"),
        "{text}"
    );
    assert!(!table_exists(&client, "d").await);
}
