//! What fails leaves the old state and says where.

use super::*;

/// A3, D4: each file is one transaction, and a failure is recorded.
#[tokio::test]
async fn a_failed_file_leaves_nothing_and_is_named_with_its_line() {
    let db = Database::new().await;
    let client = db.client().await;
    let check = async |client: &Client, up: &str, expect: &str| {
        let migrator = migrator(&[
            ("001_good", "CREATE TABLE good ()", "DROP TABLE good"),
            ("002_bad", up, ""),
            ("003_never", "CREATE TABLE never ()", ""),
        ]);
        let error = migrator.up(client, Steps::All).await.expect_err(expect);
        let text = full_text(&error);
        assert!(text.contains(expect), "{text}");
        assert!(!table_exists(client, "half").await && !table_exists(client, "never").await);
        assert_eq!(states(&migrator, client).await, [State::Completed, State::Failed, State::Pending]);
        let log = migrator.history(client).await.expect("history");
        let failed = log.iter().rfind(|entry| entry.action == LogAction::Failed).expect("it is in the log");
        assert!(failed.error.as_ref().is_some_and(|error| error.contains(expect)), "{failed:?}");
        let last = log.last().expect("the run's end");
        assert_eq!((last.action, last.error.as_ref()), (LogAction::RunEnded, Some(&error.to_string())));
    };
    // The server points at the place.
    check(
        &client,
        "CREATE TABLE half ();\n\nSELECT\n  nonsense;",
        "002_bad.sql:4 failed: column \"nonsense\" does not exist",
    )
    .await;
    check(&client, "CREATE TABLE half ();\nCREATE TABEL x ();", "002_bad.sql:2 failed: syntax error").await;
    // The server points nowhere: the statement's own line.
    check(
        &client,
        "CREATE TABLE half (id int UNIQUE);\nINSERT INTO half VALUES (1);\n\n-- twice\nINSERT INTO half VALUES (1);\nSELECT 1;",
        "002_bad.sql:5 failed: duplicate key",
    )
    .await;
    // The server points into a function's body.
    check(
        &client,
        "CREATE TABLE half ();\nDO $$\nBEGIN\n  PERFORM nonsense;\nEND $$;",
        "002_bad.sql:2 failed: column \"nonsense\" does not exist",
    )
    .await;
    // Only COMMIT finds it.
    check(
        &client,
        "CREATE TABLE half (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO half VALUES (1), (1);",
        "002_bad.sql failed: duplicate key",
    )
    .await;
    // The splitter cannot know that this one is of a partitioned table.
    check(
        &client,
        "CREATE TABLE half (id int PRIMARY KEY) PARTITION BY RANGE (id);\nREINDEX TABLE half;",
        "002_bad.sql:2 failed: this statement cannot run in a transaction",
    )
    .await;
}

#[tokio::test]
async fn a_file_and_its_row_are_one_transaction() {
    let db = Database::new().await;
    let client = db.client().await;
    let up = "CREATE TABLE a ();\nALTER TABLE schema_migrations ADD CHECK (version <> '001');";
    let error = migrator(&[("001_a", up, "")]).up(&client, Steps::All).await.expect_err("no row");
    assert!(full_text(&error).starts_with("001_a.sql failed: new row"), "{error}");
    assert!(!table_exists(&client, "a").await);

    let own = migrator(&[("001_a", "CREATE TABLE a ()", "DROP TABLE a; DELETE FROM schema_migrations;")]);
    own.up(&client, Steps::All).await.expect("up");
    let error = own.down(&client, 1).await.expect_err("no row");
    assert!(full_text(&error).contains("its row in the history is gone"), "{error}");
    assert!(table_exists(&client, "a").await);
}

#[tokio::test]
async fn a_failed_down_file_leaves_the_migration_applied() {
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[("001_a", "CREATE TABLE a ()", "DROP TABLE a;\nDROP TABLE b;")]);
    migrator.up(&client, Steps::All).await.expect("up");
    let error = migrator.down(&client, 1).await.expect_err("no table b");
    assert!(full_text(&error).starts_with("001_a-down.sql:2 failed: table \"b\" does not exist"), "{error}");
    assert!(table_exists(&client, "a").await);
    assert_eq!(states(&migrator, &client).await, [State::Completed]);
}

#[tokio::test]
async fn what_files_and_history_do_not_allow_is_refused_before_anything_ran() {
    let db = Database::new().await;
    let client = db.client().await;
    let a = ("001_a", "CREATE TABLE a ()", "DROP TABLE a");
    let c = ("003_c", "CREATE TABLE c ()", "DROP TABLE c");
    migrator(&[a, c]).up(&client, Steps::All).await.expect("up");

    let changed = [("001_a", "CREATE TABLE a (x int)", ""), c, ("004_d", "CREATE TABLE d ()", "")];
    let error = migrator(&changed).up(&client, Steps::All).await.expect_err("changed");
    assert!(error.to_string().starts_with("001_a.sql was changed after it was applied"), "{error}");
    assert_eq!(states(&migrator(&changed), &client).await[0], State::Changed);
    let comments = [("001_a", "CREATE TABLE a ()\r\n", ""), c];
    assert_eq!(states(&migrator(&comments), &client).await[0], State::Changed);

    let late = [a, ("002_b", "CREATE TABLE b ()", ""), c, ("004_d", "CREATE TABLE d ()", "")];
    let error = migrator(&late).up(&client, Steps::All).await.expect_err("late");
    assert!(error.to_string().starts_with("002_b.sql is out of order: 003_c"), "{error}");

    let no_way_down = [("001_a", a.1, ""), c];
    let error = migrator(&no_way_down).reset(&client).await.expect_err("no down file");
    assert!(matches!(error, Error::Plan(PlanError::MissingDown { .. })), "{error:?}");
    assert!(error.to_string().contains("001_a-down.sql does not exist"), "{error}");

    let error = migrator(&[c]).reset(&client).await.expect_err("no file");
    assert!(error.to_string().contains("001_a is applied, but its file is missing"), "{error}");
    assert_eq!(states(&migrator(&[c]), &client).await, [State::Missing, State::Completed]);
    assert!(table_exists(&client, "a").await && table_exists(&client, "c").await);
    assert!(!table_exists(&client, "d").await);
}

#[tokio::test]
async fn a_file_may_not_end_the_transaction() {
    let refused = Migration::new("001_a", "CREATE TABLE a ();\nCOMMIT;\nSELECT nonsense", None);
    let error = Error::from(refused.expect_err("commits"));
    assert!(error.to_string().starts_with("001_a.sql:2 begins or ends a transaction"), "{error}");

    // What the splitter cannot see, the server refuses.
    let db = Database::new().await;
    let client = db.client().await;
    let hidden = migrator(&[("001_a", "CREATE TABLE a ();\nDO $$ BEGIN COMMIT; END $$;", "")]);
    let error = hidden.up(&client, Steps::All).await.expect_err("commits in a block");
    assert!(full_text(&error).contains("001_a.sql:2 failed: invalid transaction termination"), "{error}");
    assert!(!table_exists(&client, "a").await);
}

#[tokio::test]
async fn the_session_is_the_same_for_every_file_and_afterwards() {
    let db = Database::new().await;
    let client = db.client().await;
    client
        .batch_execute("SET search_path = public, pg_temp; SET statement_timeout = '5s'")
        .await
        .expect("session");
    let settings =
        "SELECT current_setting(name) FROM unnest(ARRAY['search_path', 'statement_timeout', 'lock_timeout',
                    'role', 'check_function_bodies', 'session_authorization']) AS name";
    let before = texts(&client, settings).await;
    client
        .batch_execute("DROP ROLE IF EXISTS migrate_test_weak; CREATE ROLE migrate_test_weak")
        .await
        .expect("role");
    let careless =
        "SELECT set_config('search_path', '', false); SET check_function_bodies = off; SET lock_timeout = 0;
                    SET LOCAL statement_timeout = '1h'; SET ROLE migrate_test_weak;";
    let migrator = migrator(&[
        ("001_a", careless, careless),
        (
            "002_b",
            "CREATE TABLE b AS SELECT current_setting('statement_timeout') AS s, current_setting('lock_timeout') AS l",
            "SELECT 1",
        ),
        ("003_c", "SET SESSION AUTHORIZATION migrate_test_weak", "SELECT 1"),
    ]);
    migrator.up(&client, Steps::All).await.expect("up");
    assert_eq!(texts(&client, settings).await, before);
    let limits: (String, String) = client.one("SELECT s, l FROM public.b", &[]).await.expect("limits");
    assert_eq!(limits, ("0".to_owned(), "2s".to_owned()));
    migrator.reset(&client).await.expect("reset");
    assert_eq!(texts(&client, settings).await, before);
    client.batch_execute("DROP ROLE migrate_test_weak").await.expect("role");
}

/// What a run prepares for itself is no script's to keep.
#[tokio::test]
async fn prepared_statements_are_thrown_away_and_none_stays_behind() {
    let db = Database::new().await;
    let client = db.client().await;
    client.batch_execute("PREPARE own AS SELECT 1").await.expect("a statement of the session");
    let migrator = migrator(&[
        ("001_a", "CREATE TABLE a ()", ""),
        ("002_b", "CREATE TABLE b ()", ""),
        ("003_c", "CREATE TABLE c ()", ""),
        ("004_d", "CREATE TABLE d (); DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$;", ""),
        ("005_e", "CREATE TABLE e ()", ""),
    ]);
    let prepared = "SELECT name FROM pg_prepared_statements WHERE from_sql";
    migrator.up(&client, Steps::Count(3)).await.expect("the first three");
    assert_eq!(texts(&client, prepared).await, ["own"]);
    migrator.up(&client, Steps::All).await.expect("the others");
    assert_eq!(texts(&client, prepared).await, [""; 0]);
    assert_eq!(states(&migrator, &client).await, [State::Completed; 5]);
    let applied = "SELECT version FROM schema_migrations_log WHERE action = 'applied' ORDER BY id";
    assert_eq!(texts(&client, applied).await, ["001", "002", "003", "004", "005"]);
}

#[tokio::test]
async fn a_busy_table_is_not_waited_for_long() {
    let db = Database::new().await;
    let (client, other) = (db.client().await, db.client().await);
    let lock_timeout = Duration::from_millis(100);
    let migrator = migrator(&[("001_a", "CREATE TABLE a ()", ""), ("002_b", "ALTER TABLE a ADD b int", "")])
        .settings(Settings { lock_timeout, busy_wait: Duration::from_millis(500), ..Settings::default() });
    migrator.up(&client, Steps::Count(1)).await.expect("first");
    other.batch_execute("BEGIN; SELECT * FROM a").await.expect("reader");
    let error = migrator.up(&client, Steps::All).await.expect_err("busy");
    assert!(full_text(&error).contains("002_b.sql:1 failed: a table that it needs is in use"), "{error}");
    other.batch_execute("ROLLBACK").await.expect("reader ends");
    migrator.up(&client, Steps::All).await.expect("goes on");
}
