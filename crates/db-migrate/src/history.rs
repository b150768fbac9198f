//! What was applied, and everything that ever happened: the two tables, read and written. Decides nothing.

use std::time::Duration;

use db_core::{Cause, Executor, FromRow, Params, Phase, Query, Signal, SqlState};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio_postgres::Client;

use crate::{Checksum, Direction, Error, HistoryTable, PlannedStep, Result, Version};

/// One row of the history: a migration as it was last applied.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Its version, as its file was named then.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// The checksum of its file.
    pub checksum: Checksum,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// The role that applied it.
    pub applied_by: String,
    /// How long its statements took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// What became of it.
    pub status: RecordStatus,
    /// Its last entry in the log, which grows with time: the order of application.
    pub log_id: i64,
}

/// What became of a migration that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordStatus {
    /// It is applied.
    Completed,
    /// It was applied and rolled back.
    RolledBack,
}

/// One entry of the log, which is only ever appended to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// Grows with time.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub action: LogAction,
    /// Version of the migration.
    pub version: Version,
    /// Name of the migration.
    pub name: String,
    /// The checksum of the file that ran.
    pub checksum: Checksum,
    /// The role that ran it.
    pub by: String,
    /// How long it took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// Where and why it failed.
    pub error: Option<String>,
}

/// What happened to a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogAction {
    /// It was applied.
    Applied,
    /// It was rolled back by its down file.
    RolledBack,
    /// One of its files failed and left nothing.
    Failed,
}

impl Record {
    /// Whether it is applied now.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.status == RecordStatus::Completed
    }

    #[cfg(test)]
    pub(crate) fn for_tests(migration: &crate::Migration, status: RecordStatus, log_id: i64) -> Self {
        Self {
            version: migration.version().clone(),
            name: migration.name().to_owned(),
            checksum: migration.up().checksum().clone(),
            applied_at: Timestamp::UNIX_EPOCH,
            applied_by: "tester".to_owned(),
            duration: Duration::from_millis(1),
            status,
            log_id,
        }
    }
}

/// All rows of the history; none when there is no table. Writes nothing.
pub(crate) async fn load(client: &Client, table: &HistoryTable) -> Result<Vec<Record>> {
    if !exists(client, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT * FROM {} ORDER BY log_id", table.sql());
    let rows: Vec<RecordRow> = Query::query(client, &sql, &[]).await.map_err(reading(table))?;
    let parse = |row: RecordRow| row.parse().map_err(|reason| foreign(table.to_string(), reason));
    rows.into_iter().map(parse).collect()
}

/// All entries of the log, oldest first; none when there is no table. Writes nothing.
pub(crate) async fn log(client: &Client, table: &HistoryTable) -> Result<Vec<LogEntry>> {
    if !exists(client, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT * FROM {} ORDER BY id", table.log_sql());
    let rows: Vec<LogRow> = Query::query(client, &sql, &[]).await.map_err(reading(table))?;
    let parse = |row: LogRow| row.parse().map_err(|reason| foreign(table.log_name(), reason));
    rows.into_iter().map(parse).collect()
}

/// Creates both tables, and their schema, unless they exist. The caller holds the lock.
pub(crate) async fn create(client: &Client, table: &HistoryTable) -> Result<()> {
    if exists(client, table).await? {
        return Ok(());
    }
    let failed = || Error::doing(format!("create the history table {table}"));
    let has_schema: bool = client
        .one("SELECT pg_catalog.to_regnamespace($1) IS NOT NULL", &[&format!("\"{}\"", table.schema())])
        .await
        .map_err(failed())?;
    // Asked for first: CREATE SCHEMA IF NOT EXISTS needs the privilege even when the schema is there.
    let schema = if has_schema { String::new() } else { format!("CREATE SCHEMA \"{}\";", table.schema()) };
    // Several statements in one message are one transaction.
    let sql = format!(
        "{schema}
        CREATE TABLE {} (
            id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at          timestamptz NOT NULL DEFAULT clock_timestamp(),
            action      text        NOT NULL,
            version     text        NOT NULL,
            name        text        NOT NULL,
            checksum    text        NOT NULL,
            by_role     text        NOT NULL DEFAULT current_user,
            duration_ms bigint      NOT NULL,
            error       text
        );
        CREATE TABLE {} (
            version     text        PRIMARY KEY,
            name        text        NOT NULL,
            checksum    text        NOT NULL,
            applied_at  timestamptz NOT NULL,
            applied_by  text        NOT NULL,
            duration_ms bigint      NOT NULL,
            status      text        NOT NULL,
            log_id      bigint      NOT NULL
        );",
        table.log_sql(),
        table.sql()
    );
    Executor::batch(client, &sql).await.map_err(failed())
}

/// Records a step in both tables, within its transaction. `version` is its key in the history.
pub(crate) async fn record(
    client: &Client,
    table: &HistoryTable,
    step: &PlannedStep<'_>,
    version: &Version,
    duration: Duration,
) -> db_core::Result<()> {
    let (history, log) = (table.sql(), table.log_sql());
    let (action, change) = match step.direction {
        Direction::Up => (
            "applied",
            format!(
                "INSERT INTO {history} AS h
                     (version, name, checksum, applied_at, applied_by, duration_ms, status, log_id)
                 SELECT $1::text, $2::text, $3::text, at, by_role, $4::bigint, 'completed', id FROM entry
                 ON CONFLICT (version) DO UPDATE SET
                     (name, checksum, applied_at, applied_by, duration_ms, status, log_id) =
                     (excluded.name, excluded.checksum, excluded.applied_at, excluded.applied_by,
                      excluded.duration_ms, excluded.status, excluded.log_id)"
            ),
        ),
        Direction::Down => (
            "rolled_back",
            format!(
                "UPDATE {history} AS h SET status = 'rolled_back', log_id = entry.id FROM entry
                 WHERE h.version = $1::text"
            ),
        ),
    };
    let sql = format!(
        "WITH entry AS (
             INSERT INTO {log} (action, version, name, checksum, duration_ms)
             VALUES ('{action}', $1::text, $2::text, $3::text, $4::bigint)
             RETURNING id, at, by_role
         ) {change}"
    );
    let checksum = step.script.checksum().as_str();
    let parameters: Params<'_> = &[&version.as_str(), &step.name, &checksum, &as_bigint(duration)];
    match Executor::execute(client, &sql, parameters).await? {
        1 => Ok(()),
        rows => {
            let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
            let text = format!("the history has {rows} rows of version {version}, expected one");
            Err(db_core::Error::new(signal, text))
        }
    }
}

/// Appends a failure to the log, after its transaction was rolled back.
pub(crate) async fn record_failure(
    client: &Client,
    table: &HistoryTable,
    step: &PlannedStep<'_>,
    duration: Duration,
    error: &str,
) -> db_core::Result<()> {
    let sql = format!(
        "INSERT INTO {} (action, version, name, checksum, duration_ms, error) VALUES ('failed', $1, $2, $3, $4, $5)",
        table.log_sql()
    );
    let checksum = step.script.checksum().as_str();
    client.none(&sql, &[&step.version.as_str(), &step.name, &checksum, &as_bigint(duration), &error]).await
}

pub(crate) fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

async fn exists(client: &Client, table: &HistoryTable) -> Result<bool> {
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    client.one(sql, &[&table.sql()]).await.map_err(reading(table))
}

fn reading(table: &HistoryTable) -> impl FnOnce(db_core::Error) -> Error {
    let other_tool = SqlState::new("42703");
    move |source| {
        let doing = format!("read the history table {table}");
        if source.sqlstate().is_some() && source.sqlstate() == other_tool {
            return foreign(table.to_string(), format!("{source}; set another name for the history table"));
        }
        Error::Database { doing, source }
    }
}

fn foreign(table: String, reason: String) -> Error {
    Error::History { table, reason }
}

fn as_bigint(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn from_bigint(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

#[derive(FromRow)]
struct RecordRow {
    version: String,
    name: String,
    checksum: String,
    applied_at: Timestamp,
    applied_by: String,
    duration_ms: i64,
    status: String,
    log_id: i64,
}

impl RecordRow {
    fn parse(self) -> Result<Record, String> {
        let status = match self.status.as_str() {
            "completed" => RecordStatus::Completed,
            "rolled_back" => RecordStatus::RolledBack,
            other => return Err(format!("status {other:?}")),
        };
        Ok(Record {
            version: self.version.parse().map_err(|error: crate::InvalidVersion| error.to_string())?,
            name: self.name,
            checksum: Checksum::recorded(self.checksum),
            applied_at: self.applied_at,
            applied_by: self.applied_by,
            duration: from_bigint(self.duration_ms),
            status,
            log_id: self.log_id,
        })
    }
}

#[derive(FromRow)]
struct LogRow {
    id: i64,
    at: Timestamp,
    action: String,
    version: String,
    name: String,
    checksum: String,
    by_role: String,
    duration_ms: i64,
    error: Option<String>,
}

impl LogRow {
    fn parse(self) -> Result<LogEntry, String> {
        let action = match self.action.as_str() {
            "applied" => LogAction::Applied,
            "rolled_back" => LogAction::RolledBack,
            "failed" => LogAction::Failed,
            other => return Err(format!("action {other:?}")),
        };
        Ok(LogEntry {
            id: self.id,
            at: self.at,
            action,
            version: self.version.parse().map_err(|error: crate::InvalidVersion| error.to_string())?,
            name: self.name,
            checksum: Checksum::recorded(self.checksum),
            by: self.by_role,
            duration: from_bigint(self.duration_ms),
            error: self.error,
        })
    }
}
