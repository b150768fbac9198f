//! Whether a statement by its text leaves nothing behind in its session: what may share a connection with others. No parser: in
//! doubt the answer is no. What a function does inside is not seen.

use std::fmt;

use crate::sql::{Piece, Pieces};

/// With what a statement that may share a connection begins.
const BEGINNINGS: [&str; 7] = ["select", "insert", "update", "delete", "merge", "values", "with"];

/// Functions that change, or ask for, what belongs to the session: settings, seeds, the last number of a sequence. Advisory locks
/// are told by a part of their names.
const FUNCTIONS: [&str; 4] = ["set_config", "setseed", "lastval", "currval"];

/// Beginnings of names of functions with connections, or origins of replication, of the session.
const PREFIXES: [&str; 3] = ["dblink", "pg_replication_origin", "pg_temp"];

/// Why a statement may not share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotPlain {
    /// It is none of SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, with WITH before it or not.
    Kind,
    /// It is several statements.
    Several,
    /// It makes a table of its result, perhaps a temporary one.
    Into,
    /// It names something that belongs to the session: a setting, a lock, a temporary table, the last number of a sequence.
    Session,
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "no plain SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES",
            Self::Several => "several statements",
            Self::Into => "makes a table of its result",
            Self::Session => "uses what belongs to the session",
        })
    }
}

/// Looks whether a statement leaves nothing in its session, as far as its text tells.
///
/// ```
/// use db_core::{NotPlain, plain_statement};
///
/// assert_eq!(plain_statement("SELECT name FROM users WHERE id = $1"), Ok(()));
/// assert_eq!(plain_statement("SELECT pg_advisory_lock(1)"), Err(NotPlain::Session));
/// ```
///
/// # Errors
/// Why it may leave something.
pub fn plain_statement(sql: &str) -> Result<(), NotPlain> {
    let mut previous = "";
    let mut has_begun = false;
    let mut has_ended = false;
    for piece in Pieces::of(sql) {
        match piece {
            Piece::Space | Piece::Comment => continue,
            _ if has_ended => return Err(NotPlain::Several),
            Piece::Sign(';') => has_ended = true,
            Piece::Sign('(') if !has_begun => {}
            Piece::Word(word) => {
                if !has_begun && !is_one_of(word, &BEGINNINGS) {
                    return Err(NotPlain::Kind);
                }
                has_begun = true;
                if word.eq_ignore_ascii_case("into") && !is_one_of(previous, &["insert", "merge"]) {
                    return Err(NotPlain::Into);
                }
                if word.split('.').any(is_of_session) {
                    return Err(NotPlain::Session);
                }
                previous = word;
            }
            Piece::Sign(_) | Piece::Literal(_) if !has_begun => return Err(NotPlain::Kind),
            Piece::Sign(_) | Piece::Literal(_) => {}
        }
    }
    if has_begun { Ok(()) } else { Err(NotPlain::Kind) }
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// Whether a part of a name, quoted or not, is known to belong to a session.
fn is_of_session(part: &str) -> bool {
    let part = part.trim_matches('"');
    let begins_with =
        |prefix: &&str| part.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    is_one_of(part, &FUNCTIONS) || PREFIXES.iter().any(begins_with) || is_advisory_lock(part)
}

/// Whether it is a function for advisory locks, but for those that end with the transaction.
fn is_advisory_lock(part: &str) -> bool {
    let has =
        |word: &str| part.as_bytes().windows(word.len()).any(|it| it.eq_ignore_ascii_case(word.as_bytes()));
    has("advisory") && !has("_xact_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_nothing_in_its_session_is_told_from_its_text() {
        let check = |sql, expect| assert_eq!(plain_statement(sql), expect, "{sql}");
        check("SELECT 1", Ok(()));
        check(" -- why\n select 1 ; -- because", Ok(()));
        check("(SELECT 1) UNION (SELECT 2)", Ok(()));
        check("WITH new AS (INSERT INTO t VALUES (1) RETURNING id) SELECT id FROM new", Ok(()));
        check("INSERT INTO t SELECT 'set_config; x'", Ok(()));
        check("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DO NOTHING", Ok(()));
        check("SELECT pg_advisory_xact_lock($1)", Ok(()));
        check("SELECT $1::text, $2", Ok(()));
        check("VALUES (1)", Ok(()));
        check("SET a = 1", Err(NotPlain::Kind));
        check("LISTEN a", Err(NotPlain::Kind));
        check("DECLARE c CURSOR FOR SELECT 1", Err(NotPlain::Kind));
        check("EXPLAIN ANALYZE SELECT 1", Err(NotPlain::Kind));
        check("CREATE TEMP TABLE t (id int)", Err(NotPlain::Kind));
        check("CALL p()", Err(NotPlain::Kind));
        check("", Err(NotPlain::Kind));
        check("; SELECT 1", Err(NotPlain::Several));
        check("'select'", Err(NotPlain::Kind));
        check("SELECT 1; SELECT 2", Err(NotPlain::Several));
        check("SELECT 1 INTO TEMP t", Err(NotPlain::Into));
        check("select * into t from s", Err(NotPlain::Into));
        check("SELECT pg_catalog.Set_Config('role', 'x', false)", Err(NotPlain::Session));
        check("SELECT \"set_config\"('role', 'x', false)", Err(NotPlain::Session));
        check("SELECT pg_try_advisory_lock(1)", Err(NotPlain::Session));
        check("SELECT pg_advisory_unlock_all()", Err(NotPlain::Session));
        check("SELECT currval('s')", Err(NotPlain::Session));
        check("INSERT INTO pg_temp.t VALUES (1)", Err(NotPlain::Session));
        check("SELECT * FROM dblink_exec('x')", Err(NotPlain::Session));
    }

    #[test]
    fn no_text_is_too_strange() {
        for sql in ["\"", "$", "$$", "/*", "'", "ß", "select ß.ü", "select \"é"] {
            plain_statement(sql).ok();
        }
    }
}
