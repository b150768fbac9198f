//! What a caller may decide, with the defaults beside it. Values only: reading the environment is the program's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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
    /// `statement_timeout` of each migration. Default zero, which is none: the session's own limit is made for queries, and
    /// building an index takes longer.
    pub statement_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: HistoryTable::default(),
            lock_wait: Duration::from_secs(60),
            lock_poll: Duration::from_millis(75),
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::ZERO,
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

/// The server cuts names at 63 bytes; `_log` takes four of them.
const MAX_LENGTH: usize = 59;

const LOG: &str = "_log";

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

    /// The history table as it stands in SQL. Only letters, digits and underscores are in the names.
    pub(crate) fn sql(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.name)
    }

    /// The log table as it stands in SQL.
    pub(crate) fn log_sql(&self) -> String {
        format!("\"{}\".\"{}{LOG}\"", self.schema, self.name)
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
        check(&"a".repeat(60), None);
        for bad in ["", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"; DROP TABLE users", "ä"] {
            check(bad, None);
        }
    }
}
