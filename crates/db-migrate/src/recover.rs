//! Statements that no transaction protects: what an earlier attempt left of them, looked up in the catalogue, and set
//! right. When to look, and what follows from it, is `stepwise`'s to say.

use std::time::Duration;

use db_core::Executor;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::history::literal;
use crate::statement::Alone;
use crate::transaction::Failure;
use crate::{Error, ask};

/// What is known of a statement that was begun, and whose end nobody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    TookEffect,
    DidNot,
    /// The catalogue does not tell.
    Unknown,
}

/// Looks whether a statement took effect. What was begun and can only be finished is finished.
pub(crate) async fn took_effect(client: &Client, alone: &Alone) -> db_core::Result<Found> {
    let took_effect = match alone {
        Alone::CreateIndex { index, table, .. } => {
            find_index(client, index, table).await?.is_some_and(|index| index.is_valid)
        }
        Alone::DropIndex { index } => {
            ask::one(client, &format!("SELECT pg_catalog.to_regclass({}) IS NULL", quoted(index))).await?
        }
        Alone::CreateDatabase { name } => database_exists(client, name).await?,
        Alone::DropDatabase { name } => !database_exists(client, name).await?,
        Alone::DetachPartition { table, partition } => {
            finish(client, alone).await? || pending_detachment(client, table, partition).await?.is_none()
        }
        Alone::Repeatable | Alone::Opaque => return Ok(Found::Unknown),
    };
    Ok(if took_effect { Found::TookEffect } else { Found::DidNot })
}

/// Finishes a detachment that was broken off, which the server does not let anybody begin anew; tells whether there was one.
pub(crate) async fn finish(client: &Client, alone: &Alone) -> db_core::Result<bool> {
    let Alone::DetachPartition { table, partition } = alone else {
        return Ok(false);
    };
    if pending_detachment(client, table, partition).await? != Some(true) {
        return Ok(false);
    }
    let (table, partition) = (name(table), name(partition));
    Executor::batch_execute(client, &format!("ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE"))
        .await?;
    Ok(true)
}

/// Removes what would be in the way: an index of the same name on the same table that was never finished, whoever left it.
pub(crate) async fn prepare(client: &Client, alone: &Alone, patience: Duration) -> Result<(), Failure> {
    let Alone::CreateIndex { index, table, .. } = alone else {
        return Ok(());
    };
    let began = Instant::now();
    while let Some(found) = find_index(client, index, table).await?.filter(|found| !found.is_valid) {
        let Some(builder) = found.builder else {
            tracing::info!(target: "db::migrate", index = found.name, "removing an index that was never finished");
            Executor::batch_execute(client, &format!("DROP INDEX CONCURRENTLY IF EXISTS {}", found.name))
                .await?;
            continue;
        };
        if began.elapsed() >= patience {
            return Err(Error::IndexInUse { index: found.name, pid: builder }.into());
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// After the server refused the statement: an index that violates something stays behind as INVALID, and slows writes down
/// for nothing.
pub(crate) async fn clean_up(client: &Client, alone: &Alone) {
    if client.is_closed() {
        return;
    }
    if let Err(failure) = prepare(client, alone, Duration::ZERO).await {
        tracing::debug!(target: "db::migrate", ?failure, "an index that was not finished stays behind");
    }
}

/// After the statement: whether what it made may be used.
pub(crate) async fn check(client: &Client, alone: &Alone) -> Result<(), Failure> {
    let Alone::CreateIndex { index, table, .. } = alone else {
        return Ok(());
    };
    match find_index(client, index, table).await? {
        Some(found) if found.is_valid => Ok(()),
        _ => Err(Error::IndexInvalid { index: index.join(".") }.into()),
    }
}

struct Index {
    /// As it stands in SQL.
    name: String,
    is_valid: bool,
    /// Who may be building it: the other session that holds the lock of a build on its table. Not a VACUUM, which takes the same
    /// lock, and which the server sends away for whoever waits behind it, not for whoever only looks.
    builder: Option<i32>,
}

/// How often to look whether somebody else's work on a table has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// An index is in the schema of its table, whatever the search path is.
async fn find_index(client: &Client, index: &[String], table: &[String]) -> db_core::Result<Option<Index>> {
    let Some(index_name) = index.last() else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), i.indisvalid, (
                   SELECT pg_catalog.min(l.pid) FROM pg_catalog.pg_locks l
                   WHERE l.relation = t.oid AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
                     AND l.database = (
                         SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                     AND l.pid <> pg_catalog.pg_backend_pid()
                     AND l.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum)
                     AND l.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_analyze))
               FROM pg_catalog.pg_class t
               JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
               JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace AND c.relname = {}
               JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid AND i.indrelid = t.oid
               WHERE t.oid = pg_catalog.to_regclass({})",
        literal(index_name),
        quoted(table)
    );
    let found: Option<(String, bool, Option<i32>)> = ask::one_or_none(client, &sql).await?;
    Ok(found.map(|(name, is_valid, builder)| Index { name, is_valid, builder }))
}

async fn database_exists(client: &Client, name: &str) -> db_core::Result<bool> {
    let name = literal(name);
    ask::one(client, &format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {name})"))
        .await
}

/// Whether the detachment of a partition was begun and not finished; none when it is no partition.
async fn pending_detachment(
    client: &Client,
    table: &[String],
    partition: &[String],
) -> db_core::Result<Option<bool>> {
    let sql = format!(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits
         WHERE inhparent = pg_catalog.to_regclass({}) AND inhrelid = pg_catalog.to_regclass({})",
        quoted(table),
        quoted(partition)
    );
    ask::one_or_none(client, &sql).await
}

/// Parts of a name as SQL.
fn name(parts: &[String]) -> String {
    let quoted: Vec<String> = parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    quoted.join(".")
}

/// A name as text that `to_regclass` reads.
fn quoted(parts: &[String]) -> String {
    literal(&name(parts))
}
