//! What is killed: a database, three migrations that leave a trace of every statement, and the program. Kills nothing.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use db_core::Query as _;
use db_migrate::{Migrations, Migrator, Steps};
use db_testkit::{Proxy, TestDatabase};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::local::program::Place;
use crate::support;

/// Every statement that can be asked to wait does so for an advisory lock, which nobody holds unless a test does.
const FILES: [(&str, &str); 6] = [
    (
        "001_accounts.sql",
        "-- lock-timeout: 1min
CREATE TABLE trail AS SELECT 'one' AS step FROM pg_advisory_xact_lock_shared(11);
CREATE TABLE accounts AS SELECT n AS id, 'name ' || n AS name, n % 3 AS kind
    FROM generate_series(1, 100) AS n, pg_advisory_xact_lock_shared(12);
CREATE INDEX by_kind ON accounts (kind);
",
    ),
    ("001_accounts-down.sql", "DROP TABLE accounts;\nDROP TABLE trail;\n"),
    (
        "002_indexes.sql",
        "-- no-transaction
-- lock-timeout: 1min
CREATE TABLE marks AS SELECT 'made' AS mark FROM pg_advisory_xact_lock_shared(21);
CREATE INDEX CONCURRENTLY by_name ON accounts (name);
INSERT INTO trail SELECT 'two' FROM pg_advisory_xact_lock_shared(23);
DROP INDEX CONCURRENTLY by_kind;
INSERT INTO trail SELECT 'three' FROM pg_advisory_xact_lock_shared(25);
VACUUM accounts;
INSERT INTO trail SELECT 'four' FROM pg_advisory_xact_lock_shared(27);
",
    ),
    (
        "002_indexes-down.sql",
        "-- no-transaction
-- lock-timeout: 1min
INSERT INTO trail SELECT 'less four' FROM pg_advisory_xact_lock_shared(41);
CREATE INDEX CONCURRENTLY by_kind ON accounts (kind);
INSERT INTO trail SELECT 'less two' FROM pg_advisory_xact_lock_shared(43);
DROP INDEX CONCURRENTLY by_name;
DROP TABLE marks;
",
    ),
    (
        "003_notes.sql",
        "-- lock-timeout: 1min
ALTER TABLE accounts ADD note text;
INSERT INTO trail SELECT 'five' FROM pg_advisory_xact_lock_shared(32);
",
    ),
    ("003_notes-down.sql", "ALTER TABLE accounts DROP note;\nINSERT INTO trail VALUES ('less five');\n"),
];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::migrate) enum Order {
    /// All three, from nothing.
    Up,
    /// Two of the three back, the one without a transaction among them.
    Down,
}

impl Order {
    pub(in crate::migrate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Up => &["migrate", "up"],
            Self::Down => &["migrate", "down", "2"],
        }
    }

    pub(in crate::migrate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The folder of the files, and the program.
pub(in crate::migrate) struct Files {
    place: Place,
    folder: PathBuf,
}

impl Files {
    /// With the program, which may have to be built.
    pub(in crate::migrate) fn and_program() -> Arc<Self> {
        crate::local::program::program();
        Self::new()
    }

    pub(in crate::migrate) fn new() -> Arc<Self> {
        let place = Place::new();
        let folder = place.path().join("migrations");
        std::fs::create_dir(&folder).expect("a folder");
        for (name, text) in FILES {
            std::fs::write(folder.join(name), text).expect(name);
        }
        Arc::new(Self { place, folder })
    }

    pub(in crate::migrate) fn migrator(&self) -> Migrator {
        Migrator::new(Migrations::from_dir(&self.folder).expect("migrations"))
    }

    /// A run of the program on the database of this URL.
    pub(in crate::migrate) fn command(&self, arguments: &[&str], url: &str) -> Command {
        let folder = self.folder.to_str().expect("text");
        // What looks at the health meanwhile would count as steps.
        let environment =
            [("DATABASE_URL", url), ("DB_MIGRATIONS_DIR", folder), ("DB_HEALTH_INTERVAL_MS", "3600000")];
        let mut command = Command::from(self.place.command(arguments, &environment));
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(in crate::migrate) async fn run(&self, arguments: &[&str], url: &str) -> Output {
        let output = self.command(arguments, url).output();
        tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("the program runs")
    }
}

/// Far longer than anything takes.
pub(in crate::migrate) const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One database, with a look at it from the side and a way to it that can be broken.
pub(in crate::migrate) struct Scene {
    pub(in crate::migrate) files: Arc<Files>,
    pub(in crate::migrate) aside: Client,
    pub(in crate::migrate) proxy: Proxy,
    database: Option<TestDatabase>,
}

impl Scene {
    /// As it is before the order is given.
    pub(in crate::migrate) async fn before(order: Order, files: &Arc<Files>) -> Self {
        let database = support::database().await;
        let aside = settled_client(&database).await;
        if order == Order::Down {
            files.migrator().up(&aside, Steps::All).await.expect("up");
        }
        let proxy = Proxy::to(&database).await.expect("a proxy");
        Self { files: Arc::clone(files), aside, proxy, database: Some(database) }
    }

    pub(in crate::migrate) fn url(&self) -> &str {
        self.database().url()
    }

    pub(in crate::migrate) fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("until it is dropped")
    }

    /// Starts the program on the way that can be broken.
    pub(in crate::migrate) fn start(&self, order: Order) -> Child {
        let mut command = self.files.command(order.arguments(), &self.proxy.url());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs")
    }

    /// Waits until the server has no other session of this database: what it was sent is done or undone.
    pub(in crate::migrate) async fn settled(&self) {
        let sessions = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'aside'";
        let deadline = Instant::now() + PATIENCE;
        while self.aside.one::<i64>(sessions, &[]).await.expect("activity") > 0 {
            assert!(Instant::now() < deadline, "a session is left");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until a statement like this one waits for a lock, and gives its server process.
    pub(in crate::migrate) async fn blocked(&self, statement: &str) -> i32 {
        let sql = "SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'";
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(pid) = self.aside.one_or_none(sql, &[&statement]).await.expect("activity") {
                return pid;
            }
            assert!(Instant::now() < deadline, "it does not wait: {statement}");
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It waits for the server, and other cases go on meanwhile.
        let database = self.database.take();
        tokio::task::spawn_blocking(move || drop(database));
    }
}

/// A session that counts as none of the program's.
pub(in crate::migrate) async fn settled_client(database: &TestDatabase) -> Client {
    let mut config = database.config();
    config.application_name("aside");
    crate::migrate::connect(config).await.expect("client")
}

/// Runs cases, some of them at once, and fails with all that failed.
pub(in crate::migrate) async fn all<T: 'static>(
    cases: impl IntoIterator<Item = impl Future<Output = T> + 'static>,
) -> Vec<T> {
    LocalSet::new().run_until(all_local(cases)).await
}

async fn all_local<T: 'static>(cases: impl IntoIterator<Item = impl Future<Output = T> + 'static>) -> Vec<T> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (index, case) in cases.into_iter().enumerate() {
        let turns = Arc::clone(&turns);
        running.spawn_local(async move {
            let _turn = turns.acquire_owned().await.expect("open");
            (index, case.await)
        });
    }
    let (mut done, mut failed) = (Vec::new(), 0);
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(case) => done.push(case),
            // It has said why.
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 0, "cases failed, see above");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, case)| case).collect()
}

const AT_ONCE: usize = 4;

/// A request in few words.
pub(in crate::migrate) fn named(sql: &str) -> String {
    let (is_prepared, text) = sql.strip_prefix("prepare: ").map_or((false, sql), |text| (true, text));
    let words: Vec<_> =
        text.lines().filter(|line| !line.starts_with("--")).flat_map(str::split_whitespace).collect();
    let words = words.join(" ");
    let has = |part: &str| words.contains(part);
    let after = |part: &str| {
        let rest = words.split(part).nth(1).unwrap_or_default();
        rest.split(['\'', ' ', ',']).next().unwrap_or_default().to_owned()
    };
    let name =
        if has("SET statement = ") && has("RETURNING pg_catalog.pg_backend_pid()") && !has("WITH entry") {
            format!("progress: {} done, {} begun", after("SET statement = "), after("attempted = "))
        } else if has("WITH entry AS (INSERT INTO") {
            let record = words.split("VALUES (").nth(1).unwrap_or_default();
            let parts: Vec<_> = record.split('\'').collect();
            let with = if has("RESET ALL") { "restored settings and " } else { "" };
            format!("{with}record: {} {}", parts.get(1).unwrap_or(&""), parts.get(3).unwrap_or(&""))
        } else if has("pg_try_advisory_lock") {
            "take the lock".to_owned()
        } else if has("pg_advisory_unlock") {
            "release the lock".to_owned()
        } else if has("'run_started'") {
            "record: run_started".to_owned()
        } else if has("'run_ended'") {
            "record: run_ended".to_owned()
        } else if words.starts_with("CREATE TABLE \"") || words.starts_with(";CREATE TABLE \"") {
            "create the history".to_owned()
        } else {
            words.chars().take(64).collect()
        };
    if is_prepared { format!("prepare: {name}") } else { name }
}
