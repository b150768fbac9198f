//! Runs seeds, each in one transaction, and proves that running them again changes nothing. It runs them twice for that; which
//! files there are is not decided here.
//!
//! Why twice and not a check of the SQL? Whether `INSERT … WHERE NOT EXISTS` looks for the right row, only the server can say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use db_core::{Executor, Query};
use serde::Serialize;
use tokio_postgres::Client;

use super::{Seed, SeedError, Seeds};
use crate::history::{self, as_millis};
use crate::lock::Fence;
use crate::session::{Limits, SessionState};
use crate::transaction::{Failure, FailureCause, Transaction};
use crate::{Direction, Error, Failed, Finished, Migrations, Progress, Result, Settings, Version};

/// What seeding did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SeedRun {
    /// The environment.
    pub environment: String,
    /// The files that ran, in this order.
    pub done: Vec<SeedDone>,
    /// The whole run with its wait for the lock; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// One seed file that ran and was committed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SeedDone {
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// The file, as named below the folder of seeds.
    pub file: String,
    /// Tables that it changed; empty when everything was there already.
    pub tables: Vec<SeedTable>,
    /// From BEGIN to the answer to COMMIT, with the second run; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// What a seed file did to a table, triggers and cascades included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SeedTable {
    /// Its qualified name.
    pub table: String,
    /// Rows inserted.
    pub inserted: i64,
    /// Rows updated.
    pub updated: i64,
    /// Rows deleted.
    pub deleted: i64,
}

/// Refuses a schema that is older than the seeds, then runs them one after the other. The caller holds the lock.
pub(crate) async fn seed(
    client: &Client,
    fence: &Fence,
    seeds: &Seeds,
    migrations: &Migrations,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Vec<SeedDone>> {
    let records = history::load(client, &settings.table).await?;
    let is_applied =
        |version: &Version| records.iter().any(|record| record.is_applied() && record.version == *version);
    let versions = migrations.iter().map(|migration| migration.version().clone());
    let versions: Vec<_> = versions.filter(|version| !is_applied(version)).collect();
    if !versions.is_empty() {
        return Err(SeedError::Pending { versions }.into());
    }
    let counted = "SELECT pg_catalog.current_setting('track_counts')::boolean";
    if !client.one::<bool>(counted, &[]).await.map_err(Error::doing("read the session's settings"))? {
        return Err(SeedError::NotCounted.into());
    }
    let session = SessionState::capture(client).await.map_err(Error::doing("read the session's settings"))?;
    let mut done = Vec::new();
    for seed in seeds.iter() {
        let Seed { version, name, file, script: _ } = seed;
        let began = Instant::now();
        let result = one(client, &session, fence, seed, settings).await;
        let duration = began.elapsed();
        let tables = match result {
            Ok(tables) => tables,
            Err(error) => {
                progress.failed(&Failed { version, file, duration, error: &error });
                return Err(error);
            }
        };
        progress.seeded(&Finished { version, name, file, duration });
        let (version, name, file) = (version.clone(), name.clone(), file.clone());
        done.push(SeedDone { version, name, file, tables, duration });
    }
    Ok(done)
}

/// Leaves nothing committed unless it is idempotent.
async fn one(
    client: &Client,
    session: &SessionState,
    fence: &Fence,
    seed: &Seed,
    settings: &Settings,
) -> Result<Vec<SeedTable>> {
    let Seed { version, name: _, file, script } = seed;
    let failed = |failure: Failure| failure.in_file(file, version, Direction::Up, &[]);
    let counting = || Error::doing(format!("count the rows of {file}"));
    let limits = Limits::new(script.directives(), settings, session);

    // Dropped on the way out of an error, it rolls back.
    let begun = Transaction::begin_under(client, &limits, fence).await;
    let (transaction, own) = begun.map_err(|source| failed(source.into()))?;
    let session = own.as_ref().unwrap_or(session);
    // The session's earlier transactions may still be counted; within this one nothing is taken off.
    let before = count(client).await.map_err(counting())?;
    transaction.run_unrecorded(script).await.map_err(failed)?;
    session.restore(client).await.map_err(|source| failed(source.into()))?;
    let first = count(client).await.map_err(counting())?;
    // The first run's limits went with its other settings.
    let again = format!("SAVEPOINT {AGAIN}; {}", limits.set_local());
    Executor::batch_execute(client, &again).await.map_err(counting())?;
    if let Err(failure) = transaction.run_unrecorded(script).await {
        let line = failure.line;
        return Err(match failure.cause {
            FailureCause::Database(source) if source.sqlstate().is_some() => {
                SeedError::FailsAgain { file: file.clone(), line, source }.into()
            }
            _ => failed(failure),
        });
    }
    let second = count(client).await.map_err(counting())?;
    if let Some(effect) = effect(&changes(&first, &second)) {
        return Err(SeedError::NotIdempotent { file: file.clone(), effect }.into());
    }
    Executor::batch_execute(client, &format!("ROLLBACK TO SAVEPOINT {AGAIN}")).await.map_err(counting())?;
    transaction.record("SELECT pg_catalog.pg_backend_pid()", fence).await.map_err(failed)?;
    transaction.commit().await.map_err(|source| failed(source.into()))?;
    Ok(changes(&before, &first))
}

const AGAIN: &str = "db_migrate_again";

/// Rows inserted, updated and deleted so far, by table.
type Counts = BTreeMap<String, [i64; 3]>;

async fn count(client: &Client) -> db_core::Result<Counts> {
    // Temporary tables are nobody else's.
    let sql = "SELECT pg_catalog.format('%I.%I', schemaname, relname), n_tup_ins, n_tup_upd, n_tup_del
               FROM pg_catalog.pg_stat_xact_user_tables WHERE schemaname !~ '^pg_temp'";
    let rows: Vec<(String, i64, i64, i64)> = Query::query(client, sql, &[]).await?;
    Ok(rows
        .into_iter()
        .map(|(table, inserted, updated, deleted)| (table, [inserted, updated, deleted]))
        .collect())
}

/// What came between two counts. A TRUNCATE sets counts back, which is no negative number of rows.
fn changes(before: &Counts, after: &Counts) -> Vec<SeedTable> {
    let change = |(table, after): (&String, &[i64; 3])| {
        let before = before.get(table).copied().unwrap_or_default();
        let more = |index: usize| (after[index] - before[index]).max(0);
        let [inserted, updated, deleted] = [more(0), more(1), more(2)];
        SeedTable { table: table.clone(), inserted, updated, deleted }
    };
    let changed = |change: &SeedTable| change.inserted + change.updated + change.deleted > 0;
    after.iter().map(change).filter(changed).collect()
}

/// What a second run must not do, in words. It may update, as ON CONFLICT DO UPDATE does.
fn effect(changes: &[SeedTable]) -> Option<String> {
    let rows = |count: i64| if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    let mut effects = Vec::new();
    for SeedTable { table, inserted, updated: _, deleted } in changes {
        if *inserted > 0 {
            effects.push(format!("inserts {} into {table}", rows(*inserted)));
        }
        if *deleted > 0 {
            effects.push(format!("deletes {} from {table}", rows(*deleted)));
        }
    }
    (!effects.is_empty()).then(|| effects.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_table() {
        let counts = |rows: &[(&str, [i64; 3])]| -> Counts {
            rows.iter().map(|(table, counts)| ((*table).to_owned(), *counts)).collect()
        };
        let check = |before: &[(&str, [i64; 3])], after: &[(&str, [i64; 3])], expect: Option<&str>| {
            let changes = changes(&counts(before), &counts(after));
            assert_eq!(effect(&changes).as_deref(), expect, "{before:?} {after:?}");
        };
        check(&[], &[], None);
        check(&[("a", [5, 5, 5])], &[("a", [5, 6, 5])], None);
        check(&[("a", [5, 0, 0])], &[("a", [6, 0, 0])], Some("inserts 1 row into a"));
        check(&[("a", [5, 0, 0])], &[("a", [0, 0, 0])], None);
        check(
            &[],
            &[("a", [3, 0, 1]), ("b", [0, 0, 2])],
            Some("inserts 3 rows into a and deletes 1 row from a and deletes 2 rows from b"),
        );
    }
}
