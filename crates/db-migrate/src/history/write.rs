//! What is written to the two tables, as text: so that it travels in one message with the SQL it belongs to, and needs no
//! prepared statement that a migration may have thrown away.

use std::time::Duration;

use db_core::Executor as _;
use tokio_postgres::Client;

use super::{DIRECTIONS, LogAction, PHASES, Record, RecordStatus, STATUSES, name};
use crate::{Checksum, Direction, Error, HistoryTable, Migration, Result, Version, ask};

/// Version of this crate, as the history keeps it.
const TOOL: &str = concat!("db-migrate ", env!("CARGO_PKG_VERSION"));

const UPDATE: &str = "
    ON CONFLICT (version) DO UPDATE SET (name, checksum, loose_checksum, applied_at, applied_by, duration_ms, status,
        direction, statement, attempted, prefix, phase, tool, log_id) =
        (excluded.name, excluded.checksum, excluded.loose_checksum, excluded.applied_at, excluded.applied_by,
         excluded.duration_ms, excluded.status, excluded.direction, excluded.statement, excluded.attempted,
         excluded.prefix, excluded.phase, excluded.tool, excluded.log_id)";

/// One change of a migration's row, and its entry in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) table: &'a HistoryTable,
    /// The run's first entry.
    pub(crate) run: i64,
    pub(crate) migration: &'a Migration,
    /// The version as the row has it, which a renamed file may write differently.
    pub(crate) key: &'a Version,
    pub(crate) direction: Direction,
    /// Whether there is no row yet, which spares the server to look for one.
    pub(crate) is_new: bool,
    pub(crate) action: LogAction,
    pub(crate) status: RecordStatus,
    pub(crate) reached: Reached<'a>,
    pub(crate) took: Took,
    /// The statement that the log names, from 1.
    pub(crate) at: Option<usize>,
    pub(crate) error: Option<&'a str>,
}

/// How far a file came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached<'a> {
    pub(crate) statement: usize,
    pub(crate) attempted: usize,
    /// Of the statements that were begun.
    pub(crate) prefix: Option<&'a Checksum>,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Took {
    /// Since the transaction began, by the server's clock.
    Transaction,
    Known(Duration),
}

impl Change<'_> {
    /// The change as one statement. It returns the server process if there was a row to change.
    pub(crate) fn sql(&self) -> String {
        let entry = self.entry();
        let Self { table, key, direction, status, reached, .. } = self;
        let (key, status, direction_name) =
            (literal(key.as_str()), name(&STATUSES, *status), name(&DIRECTIONS, *direction));
        let Reached { statement, attempted, prefix } = *reached;
        let prefix = prefix.map_or("NULL".to_owned(), |prefix| literal(prefix.as_str()));
        let history = table.sql();
        let update = if self.is_new { "" } else { UPDATE };
        let change = match direction {
            Direction::Up => {
                let up = self.migration.up();
                let phase =
                    up.directives().phase.map_or("NULL".to_owned(), |phase| literal(name(&PHASES, phase)));
                format!(
                    "INSERT INTO {history} AS h (version, name, checksum, loose_checksum, applied_at, applied_by,
                         duration_ms, status, direction, statement, attempted, prefix, phase, tool, log_id)
                     SELECT {key}, {}, {}, {}, at, by_role, duration_ms, '{status}', '{direction_name}', {statement},
                         {attempted}, {prefix}, {phase}, tool, id FROM entry
                     {update}",
                    literal(self.migration.name()),
                    literal(up.checksum().as_str()),
                    literal(up.loose_checksum().as_str()),
                )
            }
            Direction::Down => format!(
                "UPDATE {history} AS h SET status = '{status}', direction = '{direction_name}',
                     statement = {statement}, attempted = {attempted}, prefix = {prefix}, tool = entry.tool,
                     log_id = entry.id
                 FROM entry WHERE h.version = {key}"
            ),
        };
        format!("WITH entry AS ({entry}) {change} RETURNING pg_catalog.pg_backend_pid()")
    }

    /// Its entry in the log alone, as one statement.
    pub(crate) fn entry(&self) -> String {
        let Self { table, run, migration, key, direction, action, took, at, error, .. } = self;
        let script = match direction {
            Direction::Up => Some(migration.up()),
            Direction::Down => migration.down(),
        };
        let checksum = script.map_or("NULL".to_owned(), |script| literal(script.checksum().as_str()));
        let took = match took {
            // The sum of the statements, not of the time that the program waited between them.
            Took::Transaction => {
                "(extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.now()) * 1000::numeric)::bigint"
                    .to_owned()
            }
            Took::Known(duration) => millis(*duration).to_string(),
        };
        let statement = at.map_or("NULL".to_owned(), |at| at.to_string());
        format!(
            "INSERT INTO {} (run, action, version, name, checksum, duration_ms, statement, error, tool)
             VALUES ({run}, '{}', {}, {}, {checksum}, {took}, {statement}, {}, {})
             RETURNING id, at, by_role, duration_ms, tool",
            table.log_sql(),
            action.name(),
            literal(key.as_str()),
            literal(migration.name()),
            error.map_or("NULL".to_owned(), literal),
            literal(TOOL),
        )
    }
}

/// How far a file came, without an entry in the log. It returns the server process if there was a row to change.
pub(crate) fn progress_sql(table: &HistoryTable, key: &Version, reached: Reached<'_>) -> String {
    let Reached { statement, attempted, prefix } = reached;
    format!(
        "UPDATE {} SET statement = {statement}, attempted = {attempted}, prefix = {}
         WHERE version = {} RETURNING pg_catalog.pg_backend_pid()",
        table.sql(),
        prefix.map_or("NULL".to_owned(), |prefix| literal(prefix.as_str())),
        literal(key.as_str()),
    )
}

/// Makes the row agree with the file, which is no more what it was but does the same; with an entry in the log.
pub(crate) fn amend_sql(
    table: &HistoryTable,
    run: i64,
    record: &Record,
    migration: &Migration,
    found: &str,
) -> String {
    let up = migration.up();
    let (history, log) = (table.sql(), table.log_sql());
    let key = literal(record.version.as_str());
    let (version, file_name) = (literal(migration.version().as_str()), literal(migration.name()));
    let (checksum, loose) = (literal(up.checksum().as_str()), literal(up.loose_checksum().as_str()));
    format!(
        "WITH entry AS (
             INSERT INTO {log} (run, action, version, name, checksum, error, tool)
             VALUES ({run}, '{}', {version}, {file_name}, {checksum}, {}, {})
         )
         UPDATE {history} SET version = {version}, name = {file_name}, checksum = {checksum}, loose_checksum = {loose}
         WHERE version = {key} RETURNING pg_catalog.pg_backend_pid()",
        LogAction::Repaired.name(),
        literal(found),
        literal(TOOL),
    )
}

/// Begins a run in the log, and closes there the one before it if nobody did.
pub(crate) async fn begin_run(client: &Client, table: &HistoryTable, what: &str) -> Result<i64> {
    let log = table.log_sql();
    let sql = format!(
        "WITH last AS (
             SELECT id, name FROM {log} WHERE action = '{started}' ORDER BY id DESC LIMIT 1
         ), closed AS (
             INSERT INTO {log} (run, action, name, error, tool)
             SELECT id, '{interrupted}', name, 'the run was cut off: its end was never recorded', {tool} FROM last
             WHERE NOT EXISTS (SELECT FROM {log} e WHERE e.id > last.id AND e.run = last.id
                                 AND e.action IN ('{ended}', '{interrupted}'))
         )
         INSERT INTO {log} (action, name, tool) VALUES ('{started}', {what}, {tool}) RETURNING id",
        started = LogAction::RunStarted.name(),
        ended = LogAction::RunEnded.name(),
        interrupted = LogAction::Interrupted.name(),
        tool = literal(TOOL),
        what = literal(what),
    );
    ask::one(client, &sql)
        .await
        .map_err(Error::doing(format!("write to the log of the history table {table}")))
}

/// Ends a run in the log.
pub(crate) async fn end_run(
    client: &Client,
    table: &HistoryTable,
    run: i64,
    what: &str,
    took: Duration,
    error: Option<&str>,
) -> db_core::Result<()> {
    let sql = format!(
        "INSERT INTO {} (run, action, name, duration_ms, error, tool) VALUES ({run}, '{}', {}, {}, {}, {})",
        table.log_sql(),
        LogAction::RunEnded.name(),
        literal(what),
        millis(took),
        error.map_or("NULL".to_owned(), literal),
        literal(TOOL),
    );
    client.batch(&sql).await
}

/// Text as SQL holds it, whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 3);
    quoted.push_str("E'");
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            // No text of the server can hold it.
            '\0' => quoted.push('\u{fffd}'),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_for_both_kinds_of_strings() {
        let check = |text: &str, expect: &str| assert_eq!(literal(text), expect, "{text}");
        check("", "E''");
        check("it's", "E'it''s'");
        check("C:\\temp\n", "E'C:\\\\temp\n'");
        check("\\'; DROP TABLE users; --", "E'\\\\''; DROP TABLE users; --'");
    }
}
