//! Files without a transaction: they go on where they were left, and history tells what happened.

use db_migrate::{RepairKind, Repairs};

use super::*;

const UP: &str = "-- no-transaction
CREATE TABLE t (id int);
INSERT INTO t VALUES (1);
CREATE INDEX CONCURRENTLY t_id_idx ON t (id);
SELECT 1 / 0;
INSERT INTO t VALUES (2);";

const DOWN: &str = "-- no-transaction\nDROP INDEX CONCURRENTLY t_id_idx;\nDROP TABLE t;";

async fn actions(migrator: &Migrator, client: &Client) -> Vec<LogAction> {
    migrator.history(client).await.expect("history").iter().map(|entry| entry.action).collect()
}

/// D4: what ran is kept, what comes after may be mended, and what ran may not be edited.
#[tokio::test]
async fn a_failed_file_goes_on_at_the_failed_statement() {
    use LogAction::{Applied, Failed, Resumed, RolledBack, RunEnded, RunStarted, Started};
    let db = Database::new().await;
    let client = db.client().await;
    let broken = migrator(&[("001_t", UP, DOWN)]);
    let error = broken.up(&client, Steps::All).await.expect_err("division by zero");
    assert_eq!(full_text(&error), "001_t.sql:5 failed: division by zero (22012)");
    assert_eq!(states(&broken, &client).await, [State::HalfApplied]);
    let status = broken.status(&client).await.expect("status");
    assert_eq!(status.migrations[0].statement, Some(3));

    // Neither down nor anything else may begin on top of it.
    let error = broken.down(&client, 1).await.expect_err("half");
    let expect =
        "001_t.sql is half applied: 3 of its statements took effect; finish it with up, or set its row right";
    assert!(error.to_string().starts_with(expect), "{error}");

    // What ran was edited.
    let edited = UP.replace("VALUES (1)", "VALUES (11)");
    let error = migrator(&[("001_t", &edited, DOWN)]).up(&client, Steps::All).await.expect_err("edited");
    assert!(
        error.to_string().starts_with("001_t.sql cannot go on: 3 of its statements ran already"),
        "{error}"
    );

    // A comment may be added, and what comes after mended.
    let mended = UP.replace("SELECT 1 / 0", "-- mended\nSELECT 1 / 1");
    let mended = migrator(&[("001_t", &mended, DOWN)]);
    mended.up(&client, Steps::All).await.expect("goes on");
    let rows: Vec<i32> = Query::query(&client, "SELECT id FROM t ORDER BY id", &[]).await.expect("rows");
    assert_eq!(rows, [1, 2]);
    assert_eq!(states(&mended, &client).await, [State::Completed]);
    mended.down(&client, 1).await.expect("down");
    assert!(!table_exists(&client, "t").await);
    let expect = [
        RunStarted, Started, Failed, RunEnded, RunStarted, Resumed, Applied, RunEnded, RunStarted, Started,
        RolledBack, RunEnded,
    ];
    assert_eq!(actions(&mended, &client).await, expect);
}

#[tokio::test]
async fn a_down_file_goes_on_as_well() {
    let db = Database::new().await;
    let client = db.client().await;
    let down = "-- no-transaction\nDELETE FROM a;\nSELECT 1 / 0;\nDROP TABLE a;";
    let files =
        |down: &str| migrator(&[("001_a", "CREATE TABLE a ()", down), ("002_b", "SELECT 1", "SELECT 1")]);
    files(down).up(&client, Steps::Count(1)).await.expect("up");
    files(down).down(&client, 1).await.expect_err("division by zero");
    assert_eq!(states(&files(down), &client).await, [State::HalfRolledBack, State::Pending]);
    let error = files(down).up(&client, Steps::All).await.expect_err("half");
    assert!(error.to_string().starts_with("001_a-down.sql is half rolled back: 1 of its"), "{error}");
    let mended = files(&down.replace("1 / 0", "1"));
    mended.down(&client, 1).await.expect("goes on");
    assert!(!table_exists(&client, "a").await);
    mended.up(&client, Steps::All).await.expect("and up again");
}

/// What a statement of the file had set in the session is set again for those that are left.
#[tokio::test]
async fn settings_of_the_file_hold_after_a_resume() {
    for set in ["SET search_path = app", "SELECT pg_catalog.set_config('search_path', 'app', false)"] {
        let db = Database::new().await;
        let client = db.client().await;
        let up = format!(
            "-- no-transaction
             CREATE SCHEMA app;
             {set};
             CREATE TABLE a ();
             SELECT 1 / 0;
             CREATE TABLE b ();"
        );
        migrator(&[("001_a", &up, "")]).up(&client, Steps::All).await.expect_err("division by zero");
        let other = db.client().await;
        migrator(&[("001_a", &up.replace("1 / 0", "1"), "")]).up(&other, Steps::All).await.expect("goes on");
        assert!(table_exists(&other, "app.a").await && table_exists(&other, "app.b").await, "{set}");
        let path: String = other.one("SELECT current_setting('search_path')", &[]).await.expect("setting");
        assert_eq!(path, "\"$user\", public", "the session is as it was");
    }
}

/// A statement that runs alone was begun and nobody saw its end: the catalogue tells whether it took effect.
#[tokio::test]
async fn a_statement_in_doubt_is_looked_up() {
    let check = async |file: &str, doubt: usize, by_hand: &str, expect: &str| {
        let db = Database::new().await;
        let client = db.client().await;
        let up = format!("-- no-transaction\nCREATE TABLE t (id int);\n{file}");
        let whole = migrator(&[("001_t", &up, "")]);
        // An earlier run got this far, and its process was gone.
        let broken = up.replace(file, &format!("SELECT 1 / 0;\n{file}"));
        migrator(&[("001_t", &broken, "")]).up(&client, Steps::All).await.expect_err("division by zero");
        let begun = Migration::new("001_t", &up.split(';').take(doubt).collect::<Vec<_>>().join(";"), None);
        let prefix = begun.expect("begun").up().loose_checksum().clone();
        let sql = "UPDATE schema_migrations SET status = 'running', attempted = 2, prefix = $1";
        client.execute(sql, &[&prefix.as_str()]).await.expect("history");
        client.batch_execute(by_hand).await.expect(by_hand);
        whole.up(&client, Steps::All).await.expect("goes on");
        let log = whole.history(&client).await.expect("history");
        let resumed = log.iter().find(|entry| entry.action == LogAction::Resumed).expect("resumed");
        assert_eq!(resumed.error.as_deref(), Some(expect), "{file} {by_hand}");
        assert_eq!(states(&whole, &client).await, [State::Completed]);
    };
    let index = "CREATE INDEX CONCURRENTLY t_idx ON t (id);";
    let took = "statement 2 had been begun, and it took effect";
    let did_not = "statement 2 had been begun, and it did not take effect: it runs again";
    check(index, 2, "CREATE INDEX t_idx ON t (id)", took).await;
    check(index, 2, "SELECT 1", did_not).await;
    let unknown = "statement 2 had been begun; whether it took effect cannot be seen, it runs again";
    check("VACUUM t;", 2, "SELECT 1", unknown).await;
    check("CALL p();", 2, "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'", unknown).await;
}

/// What cannot go on is set right by hand, and that is in the history.
#[tokio::test]
async fn a_half_applied_file_may_be_set_right_by_hand() {
    for is_finished in [true, false] {
        let db = Database::new().await;
        let client = db.client().await;
        let broken = migrator(&[("001_t", UP, DOWN)]);
        broken.up(&client, Steps::All).await.expect_err("division by zero");
        let version = vec!["1".parse().expect("version")];
        let (repairs, expect, state) = if is_finished {
            client.batch_execute("INSERT INTO t VALUES (2)").await.expect("finished");
            (Repairs { applied: version, ..Repairs::default() }, RepairKind::MarkedApplied, State::Completed)
        } else {
            client.batch_execute("DROP TABLE t").await.expect("undone");
            let repairs = Repairs { rolled_back: version, ..Repairs::default() };
            (repairs, RepairKind::MarkedRolledBack, State::RolledBack)
        };
        let repaired = broken.repair(&client, &repairs).await.expect("repaired");
        assert_eq!(repaired.repaired.iter().map(|row| row.what).collect::<Vec<_>>(), [expect]);
        assert_eq!(states(&broken, &client).await, [state]);
        let error = broken.repair(&client, &repairs).await.expect_err("not half");
        assert_eq!(error.to_string(), "migration 1 cannot be repaired: it is not half done");
        let version = vec!["1".parse().expect("version")];
        let both = Repairs { applied: version.clone(), rolled_back: version, ..Repairs::default() };
        let error = broken.repair(&client, &both).await.expect_err("both");
        assert_eq!(
            error.to_string(),
            "migration 1 cannot be repaired: it cannot be both applied and rolled back"
        );
    }
}
