//! What a caller may decide, with the defaults beside it. Values only: reading the environment is the program's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Phase;

/// How migrations run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the history is kept; `public.schema_migrations` unless set.
    pub table: HistoryTable,
    /// How long to wait for another runner to end. Default 60 s: the runners of a whole deployment fit in.
    pub lock_wait: Duration,
    /// How often to ask whether the other runner has ended. Default 75 ms.
    pub lock_poll: Duration,
    /// `lock_timeout` of each migration: how long a statement waits for a table that others use, while everybody behind
    /// it waits as well. Default 2 s; zero waits for ever.
    pub lock_timeout: Duration,
    /// How long a migration is begun anew when a table that it needs stays in use. Default 2 min. Between two attempts
    /// others get the table: half to one and a half times `lock_timeout` at first, later up to 10 s.
    pub busy_wait: Duration,
    /// `statement_timeout` of each migration. Default zero, which is none: the session's own limit is made for queries, and
    /// building an index takes longer.
    pub statement_timeout: Duration,
    /// How runners keep out of each other's way. Default [`LockKind::Session`]. The kinds do not know of each other: all who
    /// migrate one table must use the same.
    pub lock: LockKind,
    /// Applies only migrations that declare this phase. Default none, which applies all.
    pub phase: Option<Phase>,
    /// What becomes of a migration that is older than one that is applied. Default [`OutOfOrder::Refuse`].
    pub out_of_order: OutOfOrder,
}

/// How runners keep out of each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockKind {
    /// An advisory lock of the session. It is gone the moment its holder is, but needs a connection to the server itself.
    Session,
    /// A row that its holder renews, for connections through a pooler that hands out another session for each
    /// transaction. Files that run without a transaction are refused.
    Lease {
        /// How long a holder that vanished keeps others waiting. It is renewed by each file and, with a
        /// [watcher](crate::Migrator::watcher), three times in this span; without one it must be longer than the longest
        /// file runs.
        ttl: Duration,
    },
}

/// What becomes of a migration that is older than one that is applied. Complete: there is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfOrder {
    /// Nothing runs.
    Refuse,
    /// It is applied like every other.
    Allow,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: HistoryTable::default(),
            lock_wait: Duration::from_secs(60),
            lock_poll: Duration::from_millis(75),
            lock_timeout: Duration::from_secs(2),
            busy_wait: Duration::from_secs(120),
            statement_timeout: Duration::ZERO,
            lock: LockKind::Session,
            phase: None,
            out_of_order: OutOfOrder::Refuse,
        }
    }
}

/// The table that holds the history; its log is beside it, `_log` at the end of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryTable {
    schema: String,
    name: String,
}

/// The text does not name a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name the history table, expected table or schema.table: letters, digits and underscores, \
     no digit first, at most {MAX_LENGTH} characters each"
)]
pub struct InvalidTable(String);

/// The server cuts names at 63 bytes; `_lease` takes six of them.
const MAX_LENGTH: usize = 57;

const LOG: &str = "_log";
const LEASE: &str = "_lease";

impl HistoryTable {
    /// Schema of both tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Name of the history table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the log table.
    #[must_use]
    pub fn log_name(&self) -> String {
        format!("{}{LOG}", self.name)
    }

    /// Name of the table for [`LockKind::Lease`], which exists once that was used.
    #[must_use]
    pub fn lease_name(&self) -> String {
        format!("{}{LEASE}", self.name)
    }

    /// The history table as it stands in SQL. Only letters, digits and underscores are in the names.
    pub(crate) fn sql(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.name)
    }

    /// The log table as it stands in SQL.
    pub(crate) fn log_sql(&self) -> String {
        format!("\"{}\".\"{}{LOG}\"", self.schema, self.name)
    }

    /// The lease table as it stands in SQL.
    pub(crate) fn lease_sql(&self) -> String {
        format!("\"{}\".\"{}{LEASE}\"", self.schema, self.name)
    }
}

impl Default for HistoryTable {
    fn default() -> Self {
        Self { schema: "public".to_owned(), name: "schema_migrations".to_owned() }
    }
}

impl FromStr for HistoryTable {
    type Err = InvalidTable;

    fn from_str(text: &str) -> Result<Self, InvalidTable> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        if !is_name(schema) || !is_name(name) {
            return Err(InvalidTable(text.to_owned()));
        }
        Ok(Self { schema: schema.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for HistoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

fn is_name(text: &str) -> bool {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.len() <= MAX_LENGTH
        && text.starts_with(|first: char| word(first) && !first.is_ascii_digit())
        && text.chars().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_with_or_without_its_schema() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(
                text.parse::<HistoryTable>().ok().map(|table| table.sql()).as_deref(),
                expect,
                "{text:?}"
            );
        };
        check("migrations", Some("\"public\".\"migrations\""));
        check("ops.History_2", Some("\"ops\".\"History_2\""));
        check(&"a".repeat(58), None);
        for bad in ["", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"; DROP TABLE users", "ä"] {
            check(bad, None);
        }
    }
}
