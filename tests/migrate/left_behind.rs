//! What a run leaves behind in the session, in the rows of others and in the catalogue, when it ends otherwise than planned.

use db_migrate::LockKind;

use super::*;

async fn session(client: &Client) -> Vec<String> {
    let sql = "SELECT name || ' = ' || setting FROM pg_settings WHERE source = 'session'
               UNION ALL SELECT session_user || ' as ' || current_user ORDER BY 1";
    texts(client, sql).await
}

fn lease() -> Settings {
    Settings { lock: LockKind::Lease { ttl: Duration::from_secs(60) }, ..Settings::default() }
}

/// Behind a pooler the session goes to somebody else next.
#[tokio::test]
async fn limits_do_not_stay_in_the_session() {
    for settings in [Settings::default(), lease()] {
        let db = Database::new().await;
        let client = db.client().await;
        client.batch_execute("SET work_mem = '8MB'").await.expect("set");
        let before = session(&client).await;
        let up = "SET search_path = nowhere; CREATE TABLE public.t ()";
        migrator(&[("001_t", up, "")]).settings(settings).up(&client, Steps::All).await.expect("up");
        assert_eq!(session(&client).await, before);
    }
}

#[tokio::test]
async fn a_dropped_run_leaves_the_session_as_it_was() {
    let db = Database::new().await;
    let (client, other) = (db.client().await, db.client().await);
    let before = session(&client).await;
    let up = "-- no-transaction\nSET search_path = nowhere;\nSELECT pg_sleep(1);";
    cut_off(&other, migrator(&[("001_t", up, "")]).up(&client, Steps::All)).await;
    assert_eq!(session(&client).await, before);
}

/// A runner that lost its lease finds the file applied by the one who has it now.
#[tokio::test]
async fn a_failure_without_the_lock_does_not_touch_the_row() {
    let db = Database::new().await;
    let (client, other) = (db.client().await, db.client().await);
    let file = ("001_t", "SELECT pg_sleep(1); CREATE TABLE t ()", "");
    let slow = migrator(&[file]).settings(lease());
    let stolen = async {
        asleep(&other).await;
        other
            .batch_execute("DELETE FROM schema_migrations_lease; CREATE TABLE t ()")
            .await
            .expect("taken over");
        let by_other = migrator(&[("001_t", "SELECT 1", "")]);
        by_other.up(&other, Steps::All).await.expect("applied by somebody else");
    };
    let (failed, ()) = tokio::join!(slow.up(&client, Steps::All), stolen);
    let error = full_text(&failed.expect_err("there already"));
    assert!(error.contains("relation \"t\" already exists"), "{error}");
    let status: String = other.one("SELECT status FROM schema_migrations", &[]).await.expect("row");
    assert_eq!(status, "completed");
    let log = slow.history(&client).await.expect("history");
    assert!(log.iter().any(|entry| entry.action == LogAction::Failed), "{log:?}");
}

/// The file is through when the session cannot be brought back.
#[tokio::test]
async fn a_session_that_cannot_be_restored_does_not_unapply_the_file() {
    let db = Database::new().await;
    let client = db.client().await;
    let set = "CREATE TEXT SEARCH CONFIGURATION public.ours (COPY = pg_catalog.english);
               SET default_text_search_config = 'public.ours'";
    client.batch_execute(set).await.expect("set");
    let up = "-- no-transaction\nCREATE TABLE t ();\nDROP TEXT SEARCH CONFIGURATION public.ours;";
    let migrator = migrator(&[("001_t", up, "")]);
    let error = migrator.up(&client, Steps::All).await.expect_err("not restored");
    assert_eq!(full_text(&error), "001_t.sql failed: a value cannot be used (22023)");
    assert_eq!(states(&migrator, &client).await, [State::Completed]);
}

/// The history is the runner's, whatever role a file works as.
#[tokio::test]
async fn a_file_without_a_transaction_may_set_a_role() {
    let db = Database::new().await;
    let client = db.client().await;
    let role = format!("{}_owner", db.name);
    let grant = format!("CREATE ROLE \"{role}\"; CREATE SCHEMA app AUTHORIZATION \"{role}\"");
    client.batch_execute(&grant).await.expect("role");
    let up = format!(
        "-- no-transaction
         SET ROLE \"{role}\";
         CREATE TABLE app.t (id int);
         CREATE INDEX CONCURRENTLY t_idx ON app.t (id);"
    );
    let migrated = migrator(&[("001_t", &up, "")]).up(&client, Steps::All).await;
    let owner: Result<String, _> =
        client.one("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'", &[]).await;
    client
        .batch_execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""))
        .await
        .expect("role gone");
    migrated.expect("up");
    assert_eq!(owner.expect("table"), role);
}

/// The server lets nobody begin a detachment anew that was broken off.
#[tokio::test]
async fn a_detachment_that_was_cancelled_is_finished() {
    let db = Database::new().await;
    let (client, other, reader) = (db.client().await, db.client().await, db.client().await);
    let tables = "CREATE TABLE t (id int) PARTITION BY RANGE (id);
                  CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)";
    other.batch_execute(tables).await.expect("tables");
    reader.batch_execute("BEGIN; SELECT FROM t").await.expect("reads");
    let up = "-- no-transaction\nALTER TABLE t DETACH PARTITION t_1 CONCURRENTLY;";
    let migrator = migrator(&[("001_t", up, "")]);
    let cancel = async {
        while !other.one::<bool>("SELECT inhdetachpending FROM pg_inherits", &[]).await.expect("state") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                   WHERE query LIKE 'ALTER TABLE t DETACH%' AND datname = current_database()";
        other.batch_execute(sql).await.expect("cancelled");
    };
    let (failed, ()) = tokio::join!(migrator.up(&client, Steps::All), cancel);
    failed.expect_err("cancelled");
    reader.batch_execute("ROLLBACK").await.expect("done");
    migrator.up(&client, Steps::All).await.expect("finished");
    let partitions: i64 = other.one("SELECT count(*) FROM pg_inherits", &[]).await.expect("partitions");
    assert_eq!(partitions, 0);
}
