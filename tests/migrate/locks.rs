//! Tables that others use while they are migrated, and indexes that are built meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use db_migrate::{Blocked, IndexBuild, Retrying};

use super::*;
use crate::support::eventually;

/// What is told of waiting.
#[derive(Default)]
struct Heard {
    blocked: Mutex<Vec<String>>,
    retried: Mutex<Vec<String>>,
    building: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn blocked(&self, event: &Blocked<'_>) {
        let who: Vec<String> = event.blockers.iter().map(ToString::to_string).collect();
        self.blocked.lock().expect("lock").push(who.join("; "));
    }
    fn retrying(&self, event: &Retrying<'_>) {
        self.retried.lock().expect("lock").push(format!("{} attempt {}", event.file, event.attempt));
    }
    fn building_index(&self, event: &IndexBuild<'_>) {
        self.building.lock().expect("lock").push(format!("{:?} {}", event.index, event.phase));
    }
}

impl Heard {
    fn has_been_blocked(&self) -> bool {
        !self.blocked.lock().expect("lock").is_empty()
    }
    fn retries(&self) -> usize {
        self.retried.lock().expect("lock").len()
    }
}

/// A database with a table of a few rows, and a migrator that alters it and is watched.
async fn busy(up: &str, settings: Settings) -> (Database, Migrator, Arc<Heard>) {
    let db = Database::new().await;
    let heard = Arc::new(Heard::default());
    let table = "CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)";
    let migrator = migrator(&[("001_t", table, ""), ("002_change", up, "")])
        .settings(settings)
        .progress(heard.clone())
        .watcher(db.connector());
    migrator.up(&db.client().await, Steps::Count(1)).await.expect("the table");
    (db, migrator, heard)
}

/// D13: nobody waits behind a migration for longer than its lock time-out; it says who is in its way, and succeeds when
/// they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figure is what it measures")]
async fn a_busy_table_is_tried_again_until_it_is_free() {
    let lock_timeout = Duration::from_millis(400);
    let settings = Settings { lock_timeout, ..Settings::default() };
    let (db, migrator, heard) = busy("ALTER TABLE t ADD COLUMN note text", settings).await;
    let (blocker, client, reader) = (db.client().await, db.client().await, db.client().await);
    let pid: i32 = blocker.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    blocker.batch_execute("BEGIN; SELECT count(*) FROM t WHERE id = 42").await.expect("a long transaction");

    let is_over = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            let (mut longest, mut reads) = (Duration::ZERO, 0_u32);
            while !is_over.load(Ordering::SeqCst) {
                let began = Instant::now();
                reader.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("read");
                (longest, reads) = (longest.max(began.elapsed()), reads + 1);
            }
            (longest, reads)
        }
    });
    let run = tokio::spawn(async move { migrator.up(&client, Steps::All).await.map(|run| run.done.len()) });
    eventually("it gave way three times", async || heard.retries() >= 3).await;
    assert!(!run.is_finished());
    blocker.batch_execute("COMMIT").await.expect("the end");
    assert_eq!(run.await.expect("task").expect("it succeeds"), 1);
    is_over.store(true, Ordering::SeqCst);
    let (longest, reads) = reading.await.expect("reader");

    let blocked = heard.blocked.lock().expect("lock").clone();
    let expect = format!("server process {pid} of ");
    assert!(blocked.iter().all(|who| who.starts_with(&expect)), "{blocked:?}");
    assert!(blocked[0].contains("idle in transaction, in its transaction for "), "{blocked:?}");
    assert!(blocked[0].ends_with("SELECT count(*) FROM t WHERE id = ?"), "{blocked:?}");
    // A reader waits behind the migration for the time-out at most; what comes on top is the machine's.
    println!(
        "readers waited {longest:.1?} at most, in {reads} reads, with a lock time-out of {lock_timeout:?}"
    );
    assert!(reads > 10 && longest < 3 * lock_timeout, "{longest:?} in {reads} reads");
}

#[tokio::test]
async fn the_end_of_its_patience_names_who_was_in_the_way() {
    let mut settings = Settings { lock_timeout: Duration::from_millis(300), ..Settings::default() };
    settings.busy_wait = Duration::from_millis(800);
    let (db, migrator, heard) = busy("ALTER TABLE t ADD COLUMN note text", settings).await;
    let (blocker, client) = (db.client().await, db.client().await);
    let pid: i32 = blocker.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    blocker.batch_execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE").await.expect("a long transaction");
    let error = migrator.up(&client, Steps::All).await.expect_err("busy");
    let expect =
        format!("002_change.sql:1 failed: a table that it needs is in use by server process {pid} of ");
    assert!(full_text(&error).starts_with(&expect), "{}", full_text(&error));
    assert!(error.to_string().contains("\"migrate-test\", idle in transaction"), "{error}");
    assert!(heard.has_been_blocked());
    assert_eq!(states(&migrator, &client).await, [State::Completed, State::Failed]);
    blocker.batch_execute("COMMIT").await.expect("the end");
    migrator.up(&client, Steps::All).await.expect("free");
}

/// The directive of a file goes before the settings, also for one statement after the other.
#[tokio::test]
async fn a_file_has_its_own_lock_timeout() {
    for directive in ["", "-- no-transaction\n"] {
        let up = format!("{directive}-- lock-timeout: 150ms\nALTER TABLE t ADD COLUMN note text");
        let settings = Settings {
            lock_timeout: Duration::from_secs(60),
            busy_wait: Duration::ZERO,
            ..Settings::default()
        };
        let (db, migrator, _) = busy(&up, settings).await;
        let (blocker, client) = (db.client().await, db.client().await);
        blocker.batch_execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE").await.expect("a long transaction");
        let began = Instant::now();
        migrator.up(&client, Steps::All).await.expect_err("busy");
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}

const CONCURRENTLY: &str = "-- no-transaction\nCREATE INDEX CONCURRENTLY t_id_idx ON t (id);";

async fn is_valid(client: &Client, index: &str) -> Option<bool> {
    let sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";
    client.one_or_none(sql, &[&index]).await.expect("index")
}

/// It waits for the old snapshot for longer than any lock time-out, and so does nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_waits_for_an_old_snapshot_without_a_dead_lock() {
    let settings = Settings { lock_timeout: Duration::from_millis(100), ..Settings::default() };
    let (db, migrator, heard) = busy(CONCURRENTLY, settings).await;
    let (old, client, other) = (db.client().await, db.client().await, db.client().await);
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t")
        .await
        .expect("a snapshot");
    // Others wait for the migration lock meanwhile, which must hold no snapshot.
    let waiting = migrator.clone();
    let runs = [client, db.client().await].map(|client| {
        let migrator = waiting.clone();
        tokio::spawn(async move { migrator.up(&client, Steps::All).await.map(|run| run.done.len()) })
    });
    eventually("the index waits", async || heard.has_been_blocked()).await;
    other.batch_execute("INSERT INTO t VALUES (0)").await.expect("writes go on");
    assert!(runs.iter().all(|run| !run.is_finished()));
    old.batch_execute("COMMIT").await.expect("the end");
    let mut done = Vec::new();
    for run in runs {
        done.push(run.await.expect("task").expect("ends well"));
    }
    done.sort_unstable();
    assert_eq!(done, [0, 1]);
    assert_eq!(is_valid(&other, "t_id_idx").await, Some(true));
    let building = heard.building.lock().expect("lock").clone();
    assert!(building.iter().any(|line| line.contains("waiting for")), "{building:?}");
}

#[tokio::test]
async fn an_index_that_somebody_left_invalid_is_built_anew() {
    let (db, migrator, _) = busy(CONCURRENTLY, Settings::default()).await;
    let (client, other) = (db.client().await, db.client().await);
    // A second equal value makes the unique build fail after the index is in the catalogue.
    other.batch_execute("INSERT INTO t VALUES (1)").await.expect("a duplicate");
    other.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY t_id_idx ON t (id)").await.expect_err("duplicates");
    assert_eq!(is_valid(&other, "t_id_idx").await, Some(false));
    migrator.up(&client, Steps::All).await.expect("repaired");
    assert_eq!(is_valid(&other, "t_id_idx").await, Some(true));
    let definition: String =
        other.one("SELECT pg_get_indexdef('t_id_idx'::regclass)", &[]).await.expect("index");
    assert_eq!(definition, "CREATE INDEX t_id_idx ON public.t USING btree (id)");
}

/// A valid index of the same name is somebody's work: the server's error stands.
#[tokio::test]
async fn an_index_that_is_in_use_is_not_touched() {
    let (db, migrator, _) = busy(CONCURRENTLY, Settings::default()).await;
    let (client, other) = (db.client().await, db.client().await);
    other.batch_execute("CREATE INDEX t_id_idx ON t (id DESC)").await.expect("somebody's index");
    let error = migrator.up(&client, Steps::All).await.expect_err("exists");
    assert!(full_text(&error).contains("relation \"t_id_idx\" already exists"), "{}", full_text(&error));
    assert_eq!(is_valid(&other, "t_id_idx").await, Some(true));
}

#[tokio::test]
async fn an_index_that_cannot_be_built_leaves_nothing_invalid() {
    let unique = "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY t_id_idx ON t (id);";
    let (db, migrator, _) = busy(unique, Settings::default()).await;
    let (client, other) = (db.client().await, db.client().await);
    other.batch_execute("INSERT INTO t VALUES (1)").await.expect("a duplicate");
    let error = migrator.up(&client, Steps::All).await.expect_err("duplicates");
    assert!(
        full_text(&error).starts_with("002_change.sql:2 failed: could not create unique index"),
        "{error}"
    );
    assert_eq!(is_valid(&other, "t_id_idx").await, None);
    other.batch_execute("DELETE FROM t WHERE id = 1").await.expect("mended");
    migrator.up(&client, Steps::All).await.expect("goes on");
    assert_eq!(is_valid(&other, "t_id_idx").await, Some(true));
}
