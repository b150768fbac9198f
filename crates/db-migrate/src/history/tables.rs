//! The two tables: created and read. Nothing is decided here.

use std::time::Duration;

use db_core::{Executor, FromRow, Query as _, SqlState};
use jiff::Timestamp;
use tokio_postgres::Client;

use super::{ACTIONS, DIRECTIONS, LogEntry, PHASES, Record, STATUSES, literal, named};
use crate::{Checksum, Error, HistoryTable, Result, Version, ask};

/// All rows of the history; none when there is no table. Writes nothing.
pub(crate) async fn load(client: &Client, table: &HistoryTable) -> Result<Vec<Record>> {
    if !exists(client, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT version, name, checksum, loose_checksum, applied_at, applied_by, duration_ms, status, direction,
                statement, attempted, prefix, phase, tool, log_id
         FROM {} ORDER BY log_id",
        table.sql()
    );
    let rows: Vec<RecordRow> = ask::all(client, &sql).await.map_err(reading(table))?;
    let parse = |row: RecordRow| row.parse().map_err(|reason| foreign(table.to_string(), reason));
    rows.into_iter().map(parse).collect()
}

/// All entries of the log, oldest first; none when there is no table. Writes nothing.
pub(crate) async fn log(client: &Client, table: &HistoryTable) -> Result<Vec<LogEntry>> {
    if !exists(client, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT id, at, run, action, version, name, checksum, by_role, duration_ms, statement, error, tool
         FROM {} ORDER BY id",
        table.log_sql()
    );
    let rows: Vec<LogRow> = ask::all(client, &sql).await.map_err(reading(table))?;
    let parse = |row: LogRow| row.parse().map_err(|reason| foreign(table.log_name(), reason));
    rows.into_iter().map(parse).collect()
}

/// The newest version that is applied; none when nothing is, or when there is no table. For a program that asks whether it
/// may run on this schema, over a client or a pool. Writes nothing.
///
/// # Errors
/// [`Error::Database`] when the history cannot be read, [`Error::History`] when it is not one of ours.
///
/// # Cancel safety
/// Dropping the future leaves nothing behind but a query on its way.
pub async fn applied_version(on: &dyn Executor, table: &HistoryTable) -> Result<Option<Version>> {
    let exists = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    if !on.one::<bool>(exists, &[&table.sql()]).await.map_err(reading(table))? {
        return Ok(None);
    }
    // As in `Record::is_applied`.
    let sql = format!(
        "SELECT version FROM {}
         WHERE status = 'completed' OR status IN ('failed', 'running') AND direction = 'down'",
        table.sql()
    );
    let versions: Vec<String> = on.query(&sql, &[]).await.map_err(reading(table))?;
    let parsed = versions.iter().map(|text| version(text));
    let parsed: Result<Vec<Version>, String> = parsed.collect();
    Ok(parsed.map_err(|reason| foreign(table.to_string(), reason))?.into_iter().max())
}

/// Creates both tables, and their schema, unless they exist. The caller holds the lock.
pub(crate) async fn create(client: &Client, table: &HistoryTable) -> Result<()> {
    if exists(client, table).await? {
        return Ok(());
    }
    let failed = || Error::creating_history(table);
    let schema = create_schema_sql(client, table).await.map_err(failed())?;
    // Several statements in one message are one transaction.
    let sql = format!(
        "{schema}
        CREATE TABLE {} (
            id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at          timestamptz NOT NULL DEFAULT clock_timestamp(),
            run         bigint,
            action      text        NOT NULL,
            version     text,
            name        text        NOT NULL,
            checksum    text,
            by_role     text        NOT NULL DEFAULT current_user,
            duration_ms bigint      NOT NULL DEFAULT 0,
            statement   integer,
            error       text,
            tool        text        NOT NULL
        );
        CREATE TABLE {} (
            version        text        PRIMARY KEY,
            name           text        NOT NULL,
            checksum       text        NOT NULL,
            loose_checksum text        NOT NULL,
            applied_at     timestamptz NOT NULL,
            applied_by     text        NOT NULL,
            duration_ms    bigint      NOT NULL,
            status         text        NOT NULL,
            direction      text        NOT NULL,
            statement      integer     NOT NULL,
            attempted      integer     NOT NULL,
            prefix         text,
            phase          text,
            tool           text        NOT NULL,
            log_id         bigint      NOT NULL
        );",
        table.log_sql(),
        table.sql()
    );
    Executor::batch_execute(client, &sql).await.map_err(failed())
}

/// The statement that creates the schema; empty when it is there. Asked for, since CREATE SCHEMA IF NOT EXISTS needs the
/// privilege all the same.
pub(crate) async fn create_schema_sql(client: &Client, table: &HistoryTable) -> db_core::Result<String> {
    let schema = format!("\"{}\"", table.schema());
    let sql = format!("SELECT pg_catalog.to_regnamespace({}) IS NOT NULL", literal(&schema));
    let exists: bool = ask::one(client, &sql).await?;
    Ok(if exists { String::new() } else { format!("CREATE SCHEMA {schema};") })
}

async fn exists(client: &Client, table: &HistoryTable) -> Result<bool> {
    let sql = format!("SELECT pg_catalog.to_regclass({}) IS NOT NULL", literal(&table.sql()));
    ask::one(client, &sql).await.map_err(reading(table))
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

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or_default()
}

fn version(text: &str) -> Result<Version, String> {
    text.parse().map_err(|error: crate::InvalidVersion| error.to_string())
}

#[derive(FromRow)]
struct RecordRow {
    version: String,
    name: String,
    checksum: String,
    loose_checksum: String,
    applied_at: Timestamp,
    applied_by: String,
    duration_ms: i64,
    status: String,
    direction: String,
    statement: i32,
    attempted: i32,
    prefix: Option<String>,
    phase: Option<String>,
    tool: String,
    log_id: i64,
}

impl RecordRow {
    fn parse(self) -> Result<Record, String> {
        let phase = |text: String| named(&PHASES, &text).ok_or(format!("phase {text:?}"));
        Ok(Record {
            version: version(&self.version)?,
            name: self.name,
            checksum: Checksum::recorded(self.checksum),
            loose_checksum: Checksum::recorded(self.loose_checksum),
            applied_at: self.applied_at,
            applied_by: self.applied_by,
            duration: duration(self.duration_ms),
            status: named(&STATUSES, &self.status).ok_or(format!("status {:?}", self.status))?,
            direction: named(&DIRECTIONS, &self.direction)
                .ok_or(format!("direction {:?}", self.direction))?,
            statement: count(self.statement),
            attempted: count(self.attempted),
            prefix: self.prefix.map(Checksum::recorded),
            phase: self.phase.map(phase).transpose()?,
            tool: self.tool,
            log_id: self.log_id,
        })
    }
}

#[derive(FromRow)]
struct LogRow {
    id: i64,
    at: Timestamp,
    run: Option<i64>,
    action: String,
    version: Option<String>,
    name: String,
    checksum: Option<String>,
    by_role: String,
    duration_ms: i64,
    statement: Option<i32>,
    error: Option<String>,
    tool: String,
}

impl LogRow {
    fn parse(self) -> Result<LogEntry, String> {
        Ok(LogEntry {
            id: self.id,
            at: self.at,
            run: self.run,
            action: named(&ACTIONS, &self.action).ok_or(format!("action {:?}", self.action))?,
            version: self.version.as_deref().map(version).transpose()?,
            name: self.name,
            checksum: self.checksum.map(Checksum::recorded),
            by: self.by_role,
            duration: duration(self.duration_ms),
            statement: self.statement.map(count),
            error: self.error,
            tool: self.tool,
        })
    }
}
