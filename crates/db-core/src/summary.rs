//! What a statement does, in a few words: its operations and their targets, for span names and metrics. Follows "Generating
//! a summary of the query" of the OpenTelemetry conventions; it is no parser and never fails.

use std::iter::Peekable;

use crate::sql::{Piece, Pieces};

/// The longest summary, in bytes, as the conventions have it.
const LONGEST: usize = 255;

/// Operations and targets in the order of the text, such as `INSERT shipping_details SELECT orders`, at most 255 bytes and
/// without any literal. Empty for a text without a word.
///
/// ```
/// use db_core::query_summary;
///
/// assert_eq!(query_summary("SELECT * FROM users WHERE email = 'ann@example.org'"), "SELECT users");
/// ```
///
/// Names of common table expressions and aliases are no targets. A quoted name stays as it is written.
#[must_use]
pub fn query_summary(sql: &str) -> String {
    let is_said = |piece: &Piece<'_>| !matches!(piece, Piece::Space | Piece::Comment);
    let mut pieces = Pieces::of(sql).filter(is_said).peekable();
    let mut reader = Reader::default();
    while let Some(piece) = pieces.next() {
        reader.read(piece, &mut pieces);
    }
    reader.summary
}

/// What the next word is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// An operation: a statement begins here.
    #[default]
    Operation,
    /// The kind of object that CREATE, ALTER or DROP is about.
    Object,
    /// What an operation works on.
    Target,
    /// What comes after a target: an alias, or a comma and another target.
    MoreTargets,
    /// The name of a common table expression, or the operation behind the last of them.
    Expression,
    /// Of no interest until a keyword.
    Anything,
}

/// What is open at one depth of parentheses.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    next: Next,
    /// Whether FROM and JOIN are clauses here, and not words of a function's arguments.
    has_clauses: bool,
}

#[derive(Debug)]
struct Reader<'a> {
    summary: String,
    is_full: bool,
    level: Level,
    outer: Vec<Level>,
    /// Names of common table expressions.
    expressions: Vec<&'a str>,
    before: &'a str,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        let level = Level { has_clauses: true, ..Level::default() };
        Self {
            summary: String::new(),
            is_full: false,
            level,
            outer: Vec::new(),
            expressions: Vec::new(),
            before: "",
        }
    }
}

impl<'a> Reader<'a> {
    fn read(&mut self, piece: Piece<'a>, following: &mut Peekable<impl Iterator<Item = Piece<'a>>>) {
        match piece {
            Piece::Word(word) => self.word(word, following.peek()),
            Piece::Sign('(') => self.open(following.peek()),
            Piece::Sign(')') => self.level = self.outer.pop().unwrap_or(self.level),
            Piece::Sign(',') if self.level.next == Next::MoreTargets => self.level.next = Next::Target,
            Piece::Sign(',') if self.level.next == Next::Expression => {}
            Piece::Sign(';') => {
                *self = Self { summary: std::mem::take(&mut self.summary), ..Self::default() }
            }
            _ if self.level.next == Next::Operation => {}
            _ => self.level.next = Next::Anything,
        }
        self.before = if let Piece::Word(word) = piece { word } else { "" };
    }

    fn open(&mut self, first: Option<&Piece<'a>>) {
        let is_query = matches!(first, Some(Piece::Word(word)) if is(word, &["select", "with", "insert", "update", "delete", "merge", "values"]));
        // A join in parentheses.
        let is_target = self.level.next == Next::Target && !is_query;
        self.outer.push(match self.level.next {
            Next::Target => Level { next: Next::MoreTargets, ..self.level },
            _ => self.level,
        });
        let next = match (is_query, is_target) {
            (true, _) => Next::Operation,
            (_, true) => Next::Target,
            _ => Next::Anything,
        };
        self.level = Level { next, has_clauses: is_query || is_target };
    }

    fn word(&mut self, word: &'a str, following: Option<&Piece<'a>>) {
        self.level.next = match self.level.next {
            Next::Operation => self.operation(word),
            Next::Object => self.object(word),
            Next::Target
                if is(word, &["only", "lateral", "if", "not", "exists", "concurrently", "table"]) =>
            {
                Next::Target
            }
            Next::Target if !is(word, &["select", "values", "set", "where", "on"]) => self.target(word),
            Next::Expression if is(word, &["recursive", "as", "not", "materialized"]) => Next::Expression,
            Next::Expression if is(word, &["select", "insert", "update", "delete", "merge", "values"]) => {
                self.operation(word)
            }
            Next::Expression if following.is_some() => {
                self.expressions.push(word);
                Next::Expression
            }
            next => self.clause(word, next, following),
        };
    }

    /// A word in the middle of a statement.
    fn clause(&mut self, word: &'a str, next: Next, following: Option<&Piece<'a>>) -> Next {
        let is_list = matches!(following, Some(Piece::Sign('(')));
        if is(word, &["select"]) {
            return self.operation(word);
        }
        let leads_to_target = is(word, &["join", "into"])
            // Not `IS DISTINCT FROM`.
            || is(word, &["from"]) && !is(self.before, &["distinct"])
            // Not `JOIN ... USING (id)`.
            || is(word, &["using"]) && !is_list;
        if self.level.has_clauses && leads_to_target {
            return Next::Target;
        }
        // An alias, after which a comma may come.
        if next == Next::MoreTargets && !is(word, &ENDS_OF_TARGETS) { next } else { Next::Anything }
    }

    fn operation(&mut self, word: &'a str) -> Next {
        if is(word, &["with"]) {
            return Next::Expression;
        }
        self.push(&word.to_ascii_uppercase());
        match word {
            _ if is(word, &["explain"]) => Next::Operation,
            _ if is(word, &["update", "call", "copy", "truncate", "lock", "table"]) => Next::Target,
            _ if is(word, &["create", "alter", "drop", "refresh"]) => Next::Object,
            _ => Next::Anything,
        }
    }

    fn object(&mut self, word: &'a str) -> Next {
        let adjectives =
            ["or", "replace", "unique", "temp", "temporary", "unlogged", "materialized", "foreign"];
        if is(word, &adjectives) {
            return Next::Object;
        }
        self.push(&word.to_ascii_uppercase());
        Next::Target
    }

    fn target(&mut self, name: &str) -> Next {
        if !is(name, &self.expressions) {
            self.push(name);
        }
        Next::MoreTargets
    }

    /// Adds a word, unless it does not fit: then nothing more is added, so that no name is half there.
    fn push(&mut self, word: &str) {
        let space = if self.summary.is_empty() { "" } else { " " };
        self.is_full |= self.summary.len() + space.len() + word.len() > LONGEST;
        if !self.is_full {
            self.summary.push_str(space);
            self.summary.push_str(word);
        }
    }
}

/// Words that are no alias.
const ENDS_OF_TARGETS: [&str; 20] = [
    "where",
    "set",
    "on",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "returning",
    "window",
    "values",
    "default",
    "when",
    "to",
    "using",
];

fn is(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        assert_eq!(query_summary(sql), expect, "{sql}");
    }

    /// The examples that the conventions give, but for a table in single quotes, which PostgreSQL does not know.
    #[test]
    fn examples_of_the_conventions() {
        check("SELECT * FROM wuser_table WHERE username = ?", "SELECT wuser_table");
        check(
            "INSERT INTO shipping_details (order_id, address) SELECT order_id, address FROM orders WHERE order_id = ?",
            "INSERT shipping_details SELECT orders",
        );
        check("SELECT * FROM songs, artists WHERE songs.artist_id == artists.id", "SELECT songs artists");
        check(
            "SELECT order_date FROM (SELECT * FROM orders o JOIN customers c ON o.customer_id = c.customer_id)",
            "SELECT SELECT orders customers",
        );
        check("SELECT * FROM \"song list\", artists", "SELECT \"song list\" artists");
    }

    #[test]
    fn operations_and_targets() {
        check("select 1", "SELECT");
        check("UPDATE ONLY users u SET zone = 'x' FROM zones z WHERE u.zone = z.id", "UPDATE users zones");
        check("DELETE FROM public.users USING zones WHERE true", "DELETE public.users zones");
        check("INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING a", "INSERT t");
        check("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1", "MERGE t s");
        check("SELECT * FROM a LEFT JOIN b USING (id) CROSS JOIN c AS d, e", "SELECT a b c e");
        check("SELECT * FROM a WHERE b IN (SELECT b FROM c) FOR UPDATE", "SELECT a SELECT c");
        check("SELECT (SELECT count(*) FROM o WHERE o.id = c.id) FROM c", "SELECT SELECT o c");
        check("SELECT 1 UNION ALL SELECT 2 FROM t", "SELECT SELECT t");
        check("SELECT * FROM (a JOIN b ON true), LATERAL (SELECT 1) c", "SELECT a b SELECT");
        check(
            "WITH r AS (SELECT * FROM a), s(x) AS MATERIALIZED (DELETE FROM b) SELECT * FROM r JOIN c ON true",
            "SELECT a DELETE b SELECT c",
        );
        check("WITH r AS (SELECT 1) UPDATE t SET a = 1 FROM r", "SELECT UPDATE t");
        check("EXPLAIN SELECT * FROM t", "EXPLAIN SELECT t");
        check("SELECT * FROM generate_series(1, 3) g, t", "SELECT generate_series t");
    }

    #[test]
    fn words_that_look_like_clauses() {
        check("SELECT extract(epoch FROM now()) FROM t", "SELECT t");
        check("SELECT a IS DISTINCT FROM b FROM t", "SELECT t");
        check("SELECT 'x FROM y' /* FROM z */ FROM t -- FROM u", "SELECT t");
        check("SELECT substring(a FROM 1 FOR 2) FROM \"from\"", "SELECT \"from\"");
    }

    #[test]
    fn other_statements() {
        check("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", "CREATE INDEX i");
        check("CREATE TABLE t AS SELECT * FROM s", "CREATE TABLE t SELECT s");
        check("DROP TABLE IF EXISTS a, b CASCADE", "DROP TABLE a b");
        check("ALTER TABLE t ADD COLUMN a int", "ALTER TABLE t");
        check("REFRESH MATERIALIZED VIEW v", "REFRESH VIEW v");
        check("TRUNCATE TABLE a, b", "TRUNCATE a b");
        check("COPY t (a) FROM STDIN", "COPY t STDIN");
        check("CALL p(1)", "CALL p");
        check("BEGIN; INSERT INTO t VALUES (1); COMMIT", "BEGIN INSERT t COMMIT");
        check("SET search_path = 'hunter2'", "SET");
        check("  ", "");
        check("'hunter2", "");
        check("(SELECT 1 FROM t)", "SELECT t");
    }

    #[test]
    fn a_long_summary_ends_with_a_whole_name() {
        let sql = format!("SELECT * FROM {} , short", ["a"; 9].map(|name| name.repeat(40)).join(", "));
        let summary = query_summary(&sql);
        assert_eq!(summary.len(), "SELECT".len() + 6 * 41);
        assert!(!summary.contains("short"), "{summary}");
    }
}
