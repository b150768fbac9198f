//! What is written to the two tables, as text: so that it travels in one message with the SQL it belongs to, and needs no
//! prepared statement that a migration may have thrown away.

use std::time::Duration;

use db_core::Executor;
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

/// What differs from file to file, as terms of SQL.
struct Terms {
    key: String,
    name: String,
    /// Of the file that runs.
    checksum: String,
    up_checksum: String,
    up_loose_checksum: String,
    statement: String,
    attempted: String,
    phase: String,
}

impl Terms {
    /// Parameters of a prepared statement, whose values are [`Terms::arguments`]. All statements of the file are through.
    fn parameters() -> Self {
        let [key, name, checksum, loose, statement, phase] =
            ["$1", "$2", "$3", "$4", "$5", "$6"].map(str::to_owned);
        Self {
            key,
            name,
            checksum: checksum.clone(),
            up_checksum: checksum,
            up_loose_checksum: loose,
            attempted: statement.clone(),
            statement,
            phase,
        }
    }

    fn arguments(&self) -> String {
        let Self { key, name, up_checksum, up_loose_checksum, statement, phase, .. } = self;
        [key, name, up_checksum, up_loose_checksum, statement, phase].map(String::as_str).join(", ")
    }
}

/// The types of [`Terms::parameters`].
const PARAMETERS: &str = "text, text, text, text, integer, text";

impl Change<'_> {
    /// The change as one statement. It returns the server process if there was a row to change.
    pub(crate) fn sql(&self) -> String {
        self.sql_of(&self.terms())
    }

    /// The statement that prepares this change for other files.
    pub(super) fn prepare_sql(&self, name: &str) -> String {
        format!("PREPARE {name} ({PARAMETERS}) AS {}", self.sql_of(&Terms::parameters()))
    }

    /// The change by the statement that was prepared.
    pub(super) fn execute_sql(&self, name: &str) -> String {
        format!("EXECUTE {name} ({})", self.terms().arguments())
    }

    fn terms(&self) -> Terms {
        let up = self.migration.up();
        let script = match self.direction {
            Direction::Up => Some(up),
            Direction::Down => self.migration.down(),
        };
        Terms {
            key: literal(self.key.as_str()),
            name: literal(self.migration.name()),
            checksum: or_null(script.map(|script| script.checksum().as_str())),
            up_checksum: literal(up.checksum().as_str()),
            up_loose_checksum: literal(up.loose_checksum().as_str()),
            statement: self.reached.statement.to_string(),
            attempted: self.reached.attempted.to_string(),
            phase: or_null(up.directives().phase.map(|phase| name(&PHASES, phase))),
        }
    }

    fn sql_of(&self, terms: &Terms) -> String {
        let entry = self.entry_of(terms);
        let (status, direction) = (name(&STATUSES, self.status), name(&DIRECTIONS, self.direction));
        let prefix = or_null(self.reached.prefix.map(Checksum::as_str));
        let history = self.table.sql();
        let update = if self.is_new { "" } else { UPDATE };
        let Terms { key, name, up_checksum, up_loose_checksum, statement, attempted, phase, .. } = terms;
        let change = match self.direction {
            Direction::Up => format!(
                "INSERT INTO {history} AS h (version, name, checksum, loose_checksum, applied_at, applied_by,
                     duration_ms, status, direction, statement, attempted, prefix, phase, tool, log_id)
                 SELECT {key}, {name}, {up_checksum}, {up_loose_checksum}, at, by_role, duration_ms, '{status}',
                     '{direction}', {statement}, {attempted}, {prefix}, {phase}, tool, id FROM entry
                 {update}"
            ),
            Direction::Down => format!(
                "UPDATE {history} AS h SET status = '{status}', direction = '{direction}',
                     statement = {statement}, attempted = {attempted}, prefix = {prefix}, tool = entry.tool,
                     log_id = entry.id
                 FROM entry WHERE h.version = {key}"
            ),
        };
        format!("WITH entry AS ({entry}) {change} RETURNING pg_catalog.pg_backend_pid()")
    }

    /// Its entry in the log alone, as one statement.
    pub(crate) fn entry(&self) -> String {
        self.entry_of(&self.terms())
    }

    fn entry_of(&self, terms: &Terms) -> String {
        let Self { table, run, action, took, at, error, .. } = self;
        let Terms { key, name, checksum, .. } = terms;
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
             VALUES ({run}, '{}', {key}, {name}, {checksum}, {took}, {statement}, {}, {})
             RETURNING id, at, by_role, duration_ms, tool",
            table.log_sql(),
            action.name(),
            or_null(*error),
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
        or_null(prefix.map(Checksum::as_str)),
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
        or_null(error),
        literal(TOOL),
    );
    Executor::batch_execute(client, &sql).await
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

fn or_null(text: Option<&str>) -> String {
    text.map_or("NULL".to_owned(), literal)
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
