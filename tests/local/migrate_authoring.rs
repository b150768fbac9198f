//! `db migrate` for those who write migrations: new files, what is wrong with them, what they would do, and seeds.

use std::path::{Path, PathBuf};

use super::program::{Place, text};
use crate::support::database;

/// A place with a folder of its own for migrations.
struct Author {
    place: Place,
    migrations: PathBuf,
    url: Option<String>,
}

impl Author {
    fn new(url: Option<&str>) -> Self {
        let place = Place::new();
        let migrations = place.path().join("own");
        std::fs::create_dir(&migrations).expect("a folder");
        Self { place, migrations, url: url.map(str::to_owned) }
    }

    fn write(&self, file: &str, sql: &str) {
        write(&self.migrations.join(file), sql);
    }

    fn check(&self, arguments: &[&str], code: i32, expect: &str) {
        self.check_with(arguments, &[], code, expect);
    }

    fn check_with(&self, arguments: &[&str], more: &[(&str, &str)], code: i32, expect: &str) {
        let mut environment = vec![("DB_MIGRATIONS_DIR", self.migrations.to_str().expect("a path"))];
        environment.extend(self.url.as_deref().map(|url| ("DATABASE_URL", url)));
        environment.extend(more);
        let output = self.place.run(&[&["migrate"], arguments].concat(), &environment);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expect), "{arguments:?}: {text}");
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}

/// A3, C6, D4: from an empty folder to a verified schema and back.
#[tokio::test]
async fn create_plan_up_verify_and_down() {
    let database = database().await;
    let author = Author::new(Some(database.url()));
    author.check(&["create", "Add phones"], 0, "001_add_phones.sql");
    author.write("001_add_phones.sql", "CREATE TABLE phones (id bigint PRIMARY KEY, number text NOT NULL);");
    author.write("001_add_phones-down.sql", "DROP TABLE phones;");
    author.check(&["create", "index"], 0, "002_index-down.sql");
    author.write("002_index.sql", "CREATE INDEX phones_number_idx ON phones (number);");
    author.write("002_index-down.sql", "DROP INDEX phones_number_idx;");
    author.check(&["plan", "up", "1"], 0, "CREATE TABLE phones");
    author.check(&["plan", "--check"], 3, "2 to do; nothing was changed");
    author.check(&["up", "1"], 0, "applied      001_add_phones.sql");
    author.check(&["plan"], 0, "SHARE on phones");
    author.check(&["to", "2"], 0, "applied      002_index.sql");
    author.check(&["verify", "--roundtrip"], 0, "round trip of 002 index: ok");
    author.check(&["verify", "--roundtrip=whole", "--data"], 0, "data: ");
    author.check(&["redo"], 0, "applied      002_index.sql");
    author.check(&["history"], 0, "rolled back  002 index");
    author.check(&["to", "1"], 0, "rolled back  002_index-down.sql");
    author.check(&["down"], 0, "rolled back  001_add_phones-down.sql");
}

/// A3: neither needs a server, and none is started.
#[tokio::test]
async fn create_and_lint_need_no_server() {
    let author = Author::new(None);
    author.check(&["create", "add_phone"], 0, "001_add_phone.sql");
    author.write("001_add_phone.sql", "ALTER TABLE users ADD COLUMN phone text NOT NULL;");
    author.write("001_add_phone-down.sql", "ALTER TABLE users DROP COLUMN phone;");
    author.check(&["lint"], 1, "001_add_phone.sql:1:");
    author.check(&["lint"], 1, "  instead  ");
    let folder = author.migrations.to_str().expect("a path");
    author.check(&["lint", folder, "--json"], 1, "\"instead\"");
    author.check(&["lint", "/nowhere"], 1, "there is no folder /nowhere");
    author.write("notes.sql", "SELECT 1;");
    author.check(&["lint"], 1, "notes.sql");
    assert!(!author.place.data().exists(), "nothing is started");
}

/// D4, D13: phases, files that come late, and a history that is set right.
#[tokio::test]
async fn phases_late_files_and_repair() {
    let database = database().await;
    let author = Author::new(Some(database.url()));
    author.write("001_a.sql", "-- phase: expand\nCREATE TABLE a (id bigint);");
    author.write("003_c.sql", "-- phase: contract\nALTER TABLE a DROP COLUMN id;");
    author.check(&["up", "--phase", "expand"], 0, "applied      001_a.sql");
    author.check(&["status"], 3, "003  pending        c");
    author.check(&["up", "--phase", "contract"], 0, "applied      003_c.sql");
    author.write("002_b.sql", "CREATE TABLE b (id bigint);");
    author.check(&["up"], 1, "002_b.sql is out of order");
    author.check(&["up", "--allow-out-of-order"], 0, "applied      002_b.sql");

    author.write("002_b.sql", "-- A remark.\nCREATE TABLE b (id bigint);");
    author.check(&["up"], 1, "002_b.sql was changed after it was applied");
    author.check(&["repair"], 0, "repaired  002 b: only comments or white space changed");
    author.write("002_b.sql", "CREATE TABLE b (id integer);");
    author.check(&["repair"], 3, "refused   002_b.sql");
    author.check(&["repair", "--accept", "2"], 0, "repaired  002 b: the changed file was accepted");
    author.check(&["status"], 0, "002  completed");
}

/// A3, D4: a schema that was there before its history.
#[tokio::test]
async fn a_baseline_adopts_a_schema() {
    let database = database().await;
    let client = crate::support::client(database.url()).await;
    client.batch_execute("CREATE TABLE a ()").await.expect("a table");
    let author = Author::new(Some(database.url()));
    author.write("001_a.sql", "CREATE TABLE a ();");
    author.write("002_b.sql", "CREATE TABLE b ();");
    author.check(&["baseline", "1"], 0, "taken as applied  001");
    author.check(&["up"], 0, "applied      002_b.sql");
    author.check(&["verify"], 0, "ok          table public.a");
}

/// A9: seeds of this kind of installation, again and again.
#[tokio::test]
async fn seeds_may_run_again() {
    let database = database().await;
    let author = Author::new(Some(database.url()));
    author.write("001_a.sql", "CREATE TABLE a (id bigint PRIMARY KEY);");
    let seeds = author.place.path().join("rows");
    std::fs::create_dir_all(seeds.join("test")).expect("a folder");
    write(&seeds.join("001_one.sql"), "INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING;");
    write(&seeds.join("test/002_two.sql"), "INSERT INTO a VALUES (2) ON CONFLICT DO NOTHING;");
    let folder = seeds.to_str().expect("a path");
    let check = |kind: &str, arguments: &[&str], code: i32, expect: &str| {
        author.check_with(arguments, &[("DB_SEEDS_DIR", folder), ("DB_ENV", kind)], code, expect);
    };
    check("test", &["seed"], 1, "migrate first");
    author.check(&["up"], 0, "applied");
    check("development", &["seed"], 0, "public.a: 1 inserted, 0 updated, 0 deleted");
    check("test", &["seed"], 0, "seeded       test/002_two.sql");
    check("test", &["seed", "--json"], 0, "\"done\"");
    write(&seeds.join("003_three.sql"), "INSERT INTO a SELECT max(id) + 1 FROM a;");
    check("test", &["seed"], 1, "003_three.sql is not idempotent");
}

/// A3: what drops data in production, whatever the command.
#[tokio::test]
async fn production_asks() {
    let database = database().await;
    let author = Author::new(Some(database.url()));
    author.write("001_a.sql", "CREATE TABLE a ();");
    author.write("001_a-down.sql", "DROP TABLE a;");
    let check = |arguments: &[&str], code: i32, expect: &str| {
        author.check_with(arguments, &[("DB_ENV", "production")], code, expect);
    };
    check(&["to", "1"], 0, "applied");
    check(&["redo"], 2, "error: redo drops what the migration made, in production: it needs --yes");
    check(&["to", "0"], 2, "error: to drops what the migration made, in production: it needs --yes");
    check(&["to", "0", "--json"], 2, "it needs --yes");
    check(&["redo", "--yes"], 0, "rolled back");
    check(&["to", "0", "--yes"], 0, "rolled back");
}

/// D13: who uses the table is said while the migration stays out of the way, and it runs once that is over.
#[tokio::test]
async fn a_busy_table_is_waited_for() {
    let database = database().await;
    let client = crate::support::client(database.url()).await;
    let author = Author::new(Some(database.url()));
    client.batch_execute("CREATE TABLE a ()").await.expect("a table");
    client.batch_execute("BEGIN; LOCK TABLE a").await.expect("a lock");
    author.write("001_a.sql", "ALTER TABLE a ADD COLUMN id bigint;");
    let environment = [
        ("DATABASE_URL", database.url()),
        ("DB_MIGRATIONS_DIR", author.migrations.to_str().expect("a path")),
        ("DB_MIGRATION_LOCK_TIMEOUT_MS", "300"),
    ];
    let running = author.place.spawn(&["migrate", "up"], &environment);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    client.batch_execute("COMMIT").await.expect("the lock is given back");
    let output = running.wait().await;
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expect in ["001_a.sql gave way, since a table that it needs is in use", "applied      001_a.sql"] {
        assert!(text.contains(expect), "{text}");
    }
}

/// A3: what is through of a file without a transaction stays, is said, and is not done again.
#[tokio::test]
async fn a_file_without_a_transaction_goes_on_after_an_interruption() {
    let database = database().await;
    let client = crate::support::client(database.url()).await;
    let author = Author::new(Some(database.url()));
    author.write("001_a.sql", "-- no-transaction\nCREATE TABLE a ();\nSELECT pg_sleep(60);");
    let environment = [
        ("DATABASE_URL", database.url()),
        ("DB_MIGRATIONS_DIR", author.migrations.to_str().expect("a path")),
    ];
    let running = author.place.spawn(&["migrate", "up", "--json"], &environment);
    crate::support::eventually("it sleeps", async || {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'
                   AND datname = current_database())";
        client.query_one(sql, &[]).await.expect("a row").get(0)
    })
    .await;
    let output = running.end(nix::sys::signal::Signal::SIGINT).await;
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expect = "interrupted: 001_a.sql runs without a transaction and stopped at line 3; what came before it stays, and the \
                  next run goes on there";
    assert_eq!(document["error"]["message"], expect);
    author.check(&["status"], 3, "001  half applied   a");
    author.write("001_a.sql", "-- no-transaction\nCREATE TABLE a ();\nSELECT pg_sleep(0);");
    author.check(&["up"], 0, "applied      001_a.sql");
    author.check(&["status"], 0, "001  completed      a");
}
