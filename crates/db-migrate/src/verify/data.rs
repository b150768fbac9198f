//! Whether the data are what the schema promises, where the server itself does not see to it. Reads only, shows
//! no values but the number that a sequence has to be beyond, and repairs nothing: every finding comes with the SQL that helps.

use std::fmt;
use std::time::{Duration, Instant};

use db_core::{Executor, FromRow, Query};
use serde::Serialize;
use tokio_postgres::Client;

use crate::catalogue::Snapshot;
use crate::history::as_millis;
use crate::{Error, Result};

/// How far the check of the data goes. Complete: either the server is trusted or it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataCheck {
    /// What the server does not vouch for: constraints that are `NOT VALID`, foreign keys whose triggers are disabled, invalid
    /// indexes, sequences. Cheap.
    Suspicious,
    /// Every foreign key, check and unique key as well, past the indexes: finds what a damaged index, a restore with
    /// disabled triggers or a changed function has left. Reads every table, some several times.
    All,
}

/// What is checked of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataProblem {
    /// A constraint that is `NOT VALID`.
    UnvalidatedConstraint,
    /// A foreign key whose triggers are disabled.
    DisabledForeignKey,
    /// Rows whose foreign key refers to nothing.
    OrphanRows,
    /// Rows that violate a check.
    CheckViolations,
    /// A sequence whose next value is not beyond what its column holds.
    SequenceBehind,
    /// An index that queries do not use.
    InvalidIndex,
    /// Rows that repeat a unique key.
    DuplicateKeys,
}

/// What the check of the data found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DataReport {
    /// How far it went.
    pub mode: DataCheck,
    /// Whether everything was checked and is in order.
    pub clean: bool,
    /// What is not in order.
    pub findings: Vec<DataFinding>,
    /// What could not be checked.
    pub unchecked: Vec<DataUnchecked>,
    /// What was checked, found or not.
    pub checked: Vec<DataChecked>,
    /// How long it took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// Something that is not in order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DataFinding {
    /// What was checked.
    pub check: DataProblem,
    /// Its qualified name, for example `public.refresh_tokens.refresh_tokens_user_id_fkey`.
    pub object: String,
    /// How many rows are concerned, for checks that count rows. Duplicates do not count the first row of each key.
    pub rows: Option<i64>,
    /// What is wrong.
    pub problem: String,
    /// SQL that mends it, or that shows the rows which somebody has to decide on.
    pub help: String,
}

/// Something that could not be checked.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DataUnchecked {
    /// What would have been checked.
    pub check: DataProblem,
    /// Its qualified name.
    pub object: String,
    /// Why it was not.
    pub reason: String,
}

/// Something that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DataChecked {
    /// What was checked.
    pub check: DataProblem,
    /// Its qualified name.
    pub object: String,
}

pub(crate) async fn check(client: &Client, mode: DataCheck) -> Result<DataReport> {
    let began = Instant::now();
    let mut report = DataReport {
        mode,
        clean: false,
        findings: Vec::new(),
        unchecked: Vec::new(),
        checked: Vec::new(),
        duration: Duration::ZERO,
    };
    look(client, mode, &mut report).await.map_err(Error::doing("check the data"))?;
    report.clean = report.findings.is_empty() && report.unchecked.is_empty();
    report.duration = began.elapsed();
    Ok(report)
}

async fn look(client: &Client, mode: DataCheck, report: &mut DataReport) -> db_core::Result<()> {
    let path: String = client.one("SELECT pg_catalog.current_setting('search_path')", &[]).await?;
    let snapshot = Snapshot::begin(client).await?;
    let all = mode == DataCheck::All;
    let mut probes: Vec<ProbeRow> = Query::query(client, include_str!("data.sql"), &[&all]).await?;
    // Here and not there: the server's order of texts is that of the database's locale.
    probes.sort_by(|left, right| (&left.check, &left.object).cmp(&(&right.check, &right.object)));
    client.one::<String>("SELECT pg_catalog.set_config('search_path', $1, true)", &[&path]).await?;
    // With policies at work a role would see some of the rows only, and call that all of them: better the server's refusal.
    Executor::batch_execute(client, "SET LOCAL row_security = off; SAVEPOINT db_migrate_probe").await?;
    for probe in probes {
        if let Some((check, _)) = PROBLEMS.iter().find(|(_, name)| *name == probe.check) {
            probe.run(client, *check, report).await?;
        }
    }
    snapshot.end().await
}

const PROBLEMS: [(DataProblem, &str); 7] = [
    (DataProblem::UnvalidatedConstraint, "unvalidated_constraint"),
    (DataProblem::DisabledForeignKey, "disabled_foreign_key"),
    (DataProblem::OrphanRows, "orphan_rows"),
    (DataProblem::CheckViolations, "check_violations"),
    (DataProblem::SequenceBehind, "sequence_behind"),
    (DataProblem::InvalidIndex, "invalid_index"),
    (DataProblem::DuplicateKeys, "duplicate_keys"),
];

/// As people read it; in JSON the words are joined by underscores.
impl fmt::Display for DataProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PROBLEMS.iter().find(|(problem, _)| problem == self).map_or("problem", |(_, name)| name);
        f.pad(&name.replace('_', " "))
    }
}

#[derive(FromRow)]
struct ProbeRow {
    check: String,
    object: String,
    found: Option<bool>,
    excuse: Option<String>,
    problem: String,
    probe: Option<String>,
    help: String,
}

impl ProbeRow {
    async fn run(self, client: &Client, check: DataProblem, report: &mut DataReport) -> db_core::Result<()> {
        let Self { check: _, object, found, excuse, problem, probe, help } = self;
        if let Some(reason) = excuse {
            report.unchecked.push(DataUnchecked { check, object, reason });
            return Ok(());
        }
        let told = match probe {
            None => found.unwrap_or_default().then_some((None, None)),
            Some(sql) => match ask(client, check, &sql).await {
                Ok(told) => told,
                Err(source) => {
                    let reason = refusal(&source);
                    let Some(reason) = reason else { return Err(source) };
                    Executor::batch_execute(client, "ROLLBACK TO SAVEPOINT db_migrate_probe").await?;
                    report.unchecked.push(DataUnchecked { check, object, reason });
                    return Ok(());
                }
            },
        };
        report.checked.push(DataChecked { check, object: object.clone() });
        if let Some((rows, more)) = told {
            let problem = more.map_or(problem.clone(), |more: String| format!("{problem}: {more}"));
            report.findings.push(DataFinding { check, object, rows, problem, help });
        }
        Ok(())
    }
}

type Told = Option<(Option<i64>, Option<String>)>;

async fn ask(client: &Client, check: DataProblem, sql: &str) -> db_core::Result<Told> {
    if check == DataProblem::DuplicateKeys {
        // The index in question is not asked whether it is right.
        Executor::batch_execute(client, PAST_INDEXES).await?;
    }
    if check == DataProblem::SequenceBehind {
        // The greatest value is the first in the index, and the table may be huge.
        Executor::batch_execute(client, "ROLLBACK TO SAVEPOINT db_migrate_probe").await?;
    }
    client.one_or_none(sql, &[]).await
}

const PAST_INDEXES: &str = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
    SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = on";

/// Why the server did not answer a probe; none when it was not there. Messages about values would show them, those about
/// privileges, limits and objects do not.
fn refusal(error: &db_core::Error) -> Option<String> {
    let state = error.sqlstate()?;
    let speaks_of_objects = ["42", "53", "54", "55", "57"].contains(&state.class());
    Some(if speaks_of_objects {
        error.to_string()
    } else {
        format!("the server answered with SQLSTATE {}", state.as_str())
    })
}
