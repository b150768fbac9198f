//! What a run that was cut off left, what the next one made of it, and whether that is right. Cuts nothing off.

use db_core::Query as _;
use db_migrate::{LogAction, LogEntry, State};
use serde_json::json;

use super::scene::{Order, Scene};
use crate::migrate::{table_exists, texts};
use crate::retry::ledger::publish;

/// What is in the database.
#[derive(Debug)]
pub(in crate::migrate) struct Found {
    /// Of each migration that the history knows: version, status, direction, statements done and begun.
    records: Vec<(String, String, String, i32, i32)>,
    /// With `INVALID` behind those that are.
    indexes: Vec<String>,
    trail: Vec<String>,
    /// Rows of the table that the file without a transaction makes.
    marks: Option<i64>,
    log: Vec<LogEntry>,
}

/// One line of the table that is printed.
#[derive(Debug)]
pub(in crate::migrate) struct Line {
    order: Order,
    place: String,
    found: String,
    next: String,
}

/// Who runs next.
#[derive(Clone, Copy, Debug)]
pub(in crate::migrate) enum Next {
    Program,
    Library,
}

const TRAIL: [&str; 5] = ["five", "four", "one", "three", "two"];

impl Found {
    pub(in crate::migrate) async fn look(scene: &Scene) -> Self {
        let client = &scene.aside;
        let records = if table_exists(client, "schema_migrations").await {
            let sql = "SELECT version, status, direction, statement, attempted FROM schema_migrations ORDER BY version";
            client
                .query(sql, &[])
                .await
                .expect("records")
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
                .collect()
        } else {
            Vec::new()
        };
        let sql = "SELECT c.relname || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
                   FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   WHERE i.indrelid = to_regclass('accounts') ORDER BY 1";
        let indexes = texts(client, sql).await;
        let trail = if table_exists(client, "trail").await {
            texts(client, "SELECT step FROM trail ORDER BY step").await
        } else {
            Vec::new()
        };
        let marks = if table_exists(client, "marks").await {
            Some(client.one("SELECT count(*) FROM marks", &[]).await.expect("marks"))
        } else {
            None
        };
        let log = scene.files.migrator().history(client).await.expect("history");
        Self { records, indexes, trail, marks, log }
    }

    /// The run that never came to its end.
    fn unfinished(&self) -> bool {
        let is_over = |entry: &LogEntry| matches!(entry.action, LogAction::RunEnded | LogAction::Interrupted);
        let started = self.log.iter().rfind(|entry| entry.action == LogAction::RunStarted);
        started.is_some_and(|run| !self.log.iter().any(|entry| is_over(entry) && entry.run == Some(run.id)))
    }

    /// Whether a file without a transaction stopped on its way.
    fn is_half(&self) -> bool {
        self.records.iter().any(|(_, status, _, _, begun)| status == "running" && *begun > 0)
    }

    /// How many are applied of those that the order rolls back.
    fn left_to_undo(&self) -> usize {
        let is_left = |(version, status, direction, ..): &&(String, String, String, i32, i32)| {
            version != "001" && (status == "completed" || (status == "running" && direction == "down"))
        };
        self.records.iter().filter(is_left).count()
    }

    fn is_whole(&self, order: Order) -> bool {
        match order {
            Order::Up => self.records.iter().filter(|record| record.1 == "completed").count() == 3,
            Order::Down => self.left_to_undo() == 0,
        }
    }

    /// In few words.
    fn text(&self) -> String {
        let record = |(version, status, _, done, begun): &(String, String, String, i32, i32)| match (
            status.as_str(),
            begun - done,
        ) {
            ("running", 0) => format!("{version} running, {done} done"),
            ("running", _) => format!("{version} running, {done} done, {begun} begun"),
            (status, _) => format!("{version} {status}"),
        };
        let mut parts: Vec<_> = self.records.iter().map(record).collect();
        if parts.is_empty() {
            parts.push(if self.log.is_empty() { "nothing" } else { "no record" }.to_owned());
        }
        parts.extend(self.indexes.iter().filter(|index| index.ends_with("INVALID")).cloned());
        if self.unfinished() {
            parts.push("run open".to_owned());
        }
        parts.join("; ")
    }
}

/// Lets the next run do what is left, judges, and rolls everything back.
pub(in crate::migrate) async fn finish(scene: &Scene, order: Order, place: String, next: Next) -> Line {
    let found = Found::look(scene).await;
    let text = found.text();
    let context = format!("{} {place}: {text}", order.name());
    let undo = found.left_to_undo();
    if order == Order::Up || undo > 0 {
        run(scene, order, undo, next, &context).await;
    }
    let after = Found::look(scene).await;
    judge(scene, order, &after, &context).await;

    let new = &after.log[found.log.len()..];
    let count = |log: &[LogEntry], action| log.iter().filter(|entry| entry.action == action).count();
    let had_work = !found.is_whole(order);
    let is_told = count(new, LogAction::Interrupted) == 1;
    assert_eq!(is_told, found.unfinished() && had_work, "{context}: {new:#?}");
    let resumed: Vec<_> = new.iter().filter(|entry| entry.action == LogAction::Resumed).collect();
    assert_eq!(resumed.len(), usize::from(found.is_half()), "{context}: {new:#?}");
    assert!(
        resumed.iter().all(|entry| entry.version.as_ref().is_some_and(|version| version.as_str() == "002"))
    );
    let (action, versions) = match order {
        Order::Up => (LogAction::Applied, 3),
        Order::Down => (LogAction::RolledBack, 2),
    };
    assert_eq!(count(&after.log, action), versions, "{context}: {:#?}", after.log);
    assert_eq!(count(&after.log, LogAction::Failed), 0, "{context}: {:#?}", after.log);

    // The next run that writes anything closes what is open.
    let migrator = scene.files.migrator();
    migrator.reset(&scene.aside).await.expect("reset");
    let last = Found::look(scene).await;
    assert!(last.indexes.is_empty() && last.trail.is_empty() && last.marks.is_none(), "{context}: {last:?}");
    let interrupted = count(&last.log[found.log.len()..], LogAction::Interrupted);
    assert_eq!(interrupted, usize::from(found.unfinished()), "{context}: {:#?}", last.log);
    assert!(!last.unfinished(), "{context}");
    Line { order, place, found: text, next: told(new) }
}

async fn run(scene: &Scene, order: Order, undo: usize, next: Next, context: &str) {
    let files = &scene.files;
    let count = undo.to_string();
    match (next, order) {
        (Next::Program, _) => {
            let arguments = match order {
                Order::Up => vec!["migrate", "up"],
                Order::Down => vec!["migrate", "down", &count],
            };
            let output = files.run(&arguments, scene.url()).await;
            assert!(output.status.success(), "{context}: {}", crate::local::program::text(&output));
        }
        (Next::Library, Order::Up) => {
            files.migrator().up(&scene.aside, db_migrate::Steps::All).await.expect(context);
        }
        (Next::Library, Order::Down) => {
            files.migrator().down(&scene.aside, undo).await.expect(context);
        }
    }
}

/// Everything is there once, and nothing else.
async fn judge(scene: &Scene, order: Order, after: &Found, context: &str) {
    let mut trail = TRAIL.to_vec();
    let (indexes, marks, states) = match order {
        Order::Up => (["by_name"], Some(1), [State::Completed; 3]),
        Order::Down => {
            trail.extend(["less five", "less four", "less two"]);
            (["by_kind"], None, [State::Completed, State::RolledBack, State::RolledBack])
        }
    };
    trail.sort_unstable();
    assert_eq!(after.trail, trail, "{context}");
    assert_eq!(after.indexes, indexes, "{context}");
    assert_eq!(after.marks, marks, "{context}");
    assert!(!after.unfinished() || after.is_whole(order), "{context}");
    let status = scene.files.migrator().status(&scene.aside).await.expect("status");
    let found: Vec<_> = status.migrations.iter().map(|migration| migration.state).collect();
    assert_eq!(found, states, "{context}");
    assert_eq!(status.drift().count(), 0, "{context}");
    let sql = "SELECT count(*)::bigint, count(to_jsonb(a) -> 'note')::bigint FROM accounts a";
    let rows: (i64, i64) = scene.aside.one(sql, &[]).await.expect("rows");
    assert_eq!(rows, (100, if order == Order::Up { 100 } else { 0 }), "{context}");
    let open = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.locktype = 'advisory'";
    let open: i64 = scene.aside.one(open, &[]).await.expect("locks");
    assert_eq!(open, 0, "{context}: a lock is left");
}

/// What the next run said of itself.
fn told(log: &[LogEntry]) -> String {
    let told = log.iter().filter_map(|entry| {
        let version = entry.version.as_ref().map(|version| version.as_str()).unwrap_or_default();
        match entry.action {
            LogAction::Interrupted => Some("interrupted".to_owned()),
            LogAction::Started => Some(format!("{version} from its beginning")),
            LogAction::Resumed => {
                let at = entry.statement.unwrap_or_default();
                let found = match entry.error.as_deref() {
                    Some(text) if text.contains("cannot be seen") => " (which may have taken effect)",
                    Some(text) if text.contains("did not take effect") => " (which did not take effect)",
                    Some(_) => " (the one before took effect)",
                    None => "",
                };
                Some(format!("{version} from statement {at}{found}"))
            }
            LogAction::Applied => Some(format!("{version} applied")),
            LogAction::RolledBack => Some(format!("{version} rolled back")),
            _ => None,
        }
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { "nothing to do".to_owned() } else { told.join("; ") }
}

impl Line {
    pub(in crate::migrate) fn publish(&self, by: &str) {
        let Self { order, place, found, next } = self;
        let place = format!("{} {}: {place}", order.name(), by);
        publish(&json!({ "cut": place, "found": found, "next": next }));
    }

    /// What was found.
    pub(in crate::migrate) fn found(&self) -> &str {
        &self.found
    }
}
