//! Migrations: up, down, what is recorded, what is refused, and whether the schema is what they say.

mod concurrent;
mod cut;
mod data;
mod effects;
mod failing;
mod killed;
mod left_behind;
mod locks;
mod others;
mod refusing;
mod resuming;
mod roundtrip;
mod seeding;
mod verifying;
mod whole;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use db_core::{Executor as _, Phase, Query, SqlState};
use db_migrate::{
    Checked, Connect, DataCheck, DataReport, Direction, Error, Failed, FileState, Finished, Goal, LogAction,
    Migration, Migrations, Migrator, ObjectState, PlanError, Progress, Roundtrip, RoundtripReport,
    RoundtripState, SeedRun, SeedTable, Seeds, Settings, Started, State, Steps, Verification, Waiting,
};
use db_testkit::TestDatabase;
use tokio_postgres::{Client, Config, NoTls};

use crate::support;

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");

/// A fresh database, and connections to it that are not pooled.
struct Database {
    config: Config,
    name: String,
    _database: TestDatabase,
}

impl Database {
    async fn new() -> Self {
        let database = support::database().await;
        let mut config = database.config();
        config.application_name("migrate-test");
        Self { config, name: database.name().to_owned(), _database: database }
    }

    async fn client(&self) -> Client {
        connect(self.config.clone()).await.expect("client")
    }

    fn connector(&self) -> impl Connect + use<> {
        let config = self.config.clone();
        move |database: String| {
            let mut config = config.clone();
            config.dbname(&database);
            connect(config)
        }
    }

    async fn verify(&self, migrator: &Migrator) -> Verification {
        let client = self.client().await;
        let verification = migrator.verify(&client, &self.connector()).await.expect("verifies");
        let scratch = "SELECT count(*) FROM pg_database
                       WHERE datname LIKE 'db\\_migrate\\_scratch\\_' || pg_backend_pid() || '\\_%'";
        let scratch: i64 = client.one(scratch, &[]).await.expect("databases");
        assert_eq!(scratch, 0, "the scratch database is gone");
        verification
    }
}

async fn connect(config: Config) -> db_core::Result<Client> {
    let connected = config.connect(NoTls).await;
    let (client, connection) =
        connected.map_err(|error| db_core::Error::from_driver(&error, Phase::Connect))?;
    tokio::spawn(connection);
    Ok(client)
}

fn real() -> Migrator {
    Migrator::new(Migrations::from_dir(REAL).expect("migrations"))
}

/// Migrations from pairs of files; an empty way down is none.
fn migrations(files: &[(&str, &str, &str)]) -> Migrations {
    let migration = |&(stem, up, down): &(&str, &str, &str)| {
        Migration::new(stem, up, (!down.is_empty()).then_some(down)).expect(stem)
    };
    Migrations::new(files.iter().map(migration)).expect("migrations")
}

fn migrator(files: &[(&str, &str, &str)]) -> Migrator {
    Migrator::new(migrations(files))
}

/// The text of an error with all that is beneath it.
fn full_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

async fn table_exists(client: &Client, name: &str) -> bool {
    client.one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.expect("to_regclass")
}

async fn states(migrator: &Migrator, client: &Client) -> Vec<State> {
    let status = migrator.status(client).await.expect("status");
    status.migrations.iter().map(|migration| migration.state).collect()
}

/// Every object outside of the system's schemas, apart from the history.
async fn catalogue(client: &Client) -> Vec<String> {
    let sql = "
        SELECT format('%s %s', classid::regclass, pg_describe_object(classid, objid, objsubid)) AS object
        FROM (
            SELECT 'pg_class'::regclass AS classid, oid AS objid, 0 AS objsubid, relnamespace AS namespace FROM pg_class
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0, pronamespace FROM pg_proc
            UNION ALL SELECT 'pg_type'::regclass, oid, 0, typnamespace FROM pg_type
            UNION ALL SELECT 'pg_constraint'::regclass, oid, 0, connamespace FROM pg_constraint
            UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, oid FROM pg_namespace
            UNION ALL SELECT 'pg_extension'::regclass, oid, 0, extnamespace FROM pg_extension
        ) AS every
        JOIN pg_namespace n ON n.oid = namespace
        WHERE n.nspname !~ '^pg_toast|^pg_temp' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND pg_describe_object(classid, objid, objsubid) !~ 'schema_migrations'
        ORDER BY 1";
    texts(client, sql).await
}

/// Waits until a session of this database, or of a scratch database, is in the middle of `pg_sleep`.
async fn asleep(watcher: &Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'
               AND (datname = current_database() OR datname LIKE 'db\\_migrate\\_scratch\\_%')";
    while watcher.one::<i64>(sql, &[]).await.expect("activity") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Drops a future once somebody sleeps on the server.
async fn cut_off<T>(watcher: &Client, future: impl Future<Output = T>) {
    tokio::select! {
        _ = future => panic!("it should have been asleep on the server"),
        () = asleep(watcher) => {}
    }
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    Query::query(client, sql, &[]).await.expect(sql)
}

/// Objects that are not as expected, one line each.
fn shown<'a>(objects: impl IntoIterator<Item = &'a Checked>) -> Vec<String> {
    let show = |object: &Checked| {
        let state = match &object.state {
            ObjectState::Missing { .. } => "missing".to_owned(),
            ObjectState::Unexpected { .. } => "unexpected".to_owned(),
            ObjectState::Different { expected, actual } => format!("{expected} -> {actual}"),
            other => format!("{other:?}"),
        };
        format!("{} {}: {state}", object.kind, object.name)
    };
    objects.into_iter().map(show).collect()
}

/// Keeps what it is told, one line per event.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn push(&self, line: String) {
        self.0.lock().expect("lock").push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("lock").clone()
    }
}

impl Progress for Told {
    fn waiting(&self, event: &Waiting<'_>) {
        self.push(format!("waiting for {:?}", event.holder.map(|holder| holder.application.clone())));
    }
    fn started(&self, event: &Started<'_>) {
        self.push(format!("started {} {}/{}", event.file, event.position, event.total));
    }
    fn applied(&self, event: &Finished<'_>) {
        self.push(format!("applied {}", event.file));
    }
    fn rolled_back(&self, event: &Finished<'_>) {
        self.push(format!("rolled back {}", event.file));
    }
    fn seeded(&self, event: &Finished<'_>) {
        self.push(format!("seeded {}", event.file));
    }
    fn failed(&self, event: &Failed<'_>) {
        self.push(format!("failed {}", event.file));
    }
}
