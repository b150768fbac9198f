//! The objects of a database with their definitions, as the server itself writes them. Reads; compares nothing.

use std::collections::BTreeMap;
use std::fmt;

use db_core::{Executor, FromRow, Query};
use serde::Serialize;
use tokio_postgres::Client;

use crate::HistoryTable;
use crate::transaction::send;

/// Kinds of objects that verification knows, in the order in which it names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectKind {
    /// A schema other than `public`.
    Schema,
    /// An extension; its members are not looked at.
    Extension,
    /// An enum, a domain, a composite or range type.
    Type,
    /// A table: partitioning, inheritance, persistence, row level security and replica identity.
    Table,
    /// A column: type, collation, nullability, default.
    Column,
    /// A constraint.
    Constraint,
    /// An index that no constraint owns.
    Index,
    /// A trigger, and whether it is enabled.
    Trigger,
    /// A function, procedure or aggregate.
    Function,
    /// A view with its options, materialized or not.
    View,
    /// A sequence that no identity column owns.
    Sequence,
    /// A policy of row level security.
    Policy,
    /// A rule, and whether it is enabled.
    Rule,
    /// Extended statistics.
    Statistics,
}

const KINDS: [(ObjectKind, &str); 14] = [
    (ObjectKind::Schema, "schema"),
    (ObjectKind::Extension, "extension"),
    (ObjectKind::Type, "type"),
    (ObjectKind::Table, "table"),
    (ObjectKind::Column, "column"),
    (ObjectKind::Constraint, "constraint"),
    (ObjectKind::Index, "index"),
    (ObjectKind::Trigger, "trigger"),
    (ObjectKind::Function, "function"),
    (ObjectKind::View, "view"),
    (ObjectKind::Sequence, "sequence"),
    (ObjectKind::Policy, "policy"),
    (ObjectKind::Rule, "rule"),
    (ObjectKind::Statistics, "statistics"),
];

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, _)| kind == self).map_or("object", |(_, name)| name);
        f.pad(name)
    }
}

/// All objects, by kind and qualified name.
pub(crate) type Catalogue = BTreeMap<(ObjectKind, String), Object>;

/// What there is to know of an object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its schema; empty for what has none.
    pub(crate) schema: String,
    /// As the server writes it.
    pub(crate) definition: String,
    /// Whether it may well exist without a migration.
    pub(crate) incidental: bool,
}

/// A transaction in which everything is read as of one moment.
pub(crate) struct Snapshot<'a> {
    client: &'a Client,
    open: bool,
}

impl<'a> Snapshot<'a> {
    pub(crate) async fn begin(client: &'a Client) -> db_core::Result<Self> {
        let snapshot = Self { client, open: true };
        // Definitions qualify what search_path does not hold.
        let sql =
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp";
        Executor::batch_execute(client, sql).await?;
        Ok(snapshot)
    }

    /// Everything but the runner's own tables.
    pub(crate) async fn catalogue(&self, history: &HistoryTable) -> db_core::Result<Catalogue> {
        let lease = format!("{}_lease", history.name());
        let names = vec![history.name().to_owned(), history.log_name(), lease];
        let sql = include_str!("catalogue.sql");
        let rows: Vec<ObjectRow> = Query::query(self.client, sql, &[&history.schema(), &names]).await?;
        Ok(rows.into_iter().filter_map(ObjectRow::parse).collect())
    }

    pub(crate) async fn end(mut self) -> db_core::Result<()> {
        Executor::batch_execute(self.client, "ROLLBACK").await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if self.open {
            send(self.client, "ROLLBACK");
        }
    }
}

#[derive(FromRow)]
struct ObjectRow {
    kind: String,
    schema: String,
    name: String,
    definition: String,
    incidental: bool,
}

impl ObjectRow {
    fn parse(self) -> Option<((ObjectKind, String), Object)> {
        let Self { kind, schema, name, definition, incidental } = self;
        let (kind, _) = KINDS.iter().find(|(_, name)| *name == kind)?;
        Some(((*kind, name), Object { schema, definition, incidental }))
    }
}
