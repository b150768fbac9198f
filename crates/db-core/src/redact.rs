//! Statements for a log: their text without literals, which may be passwords or people's data.

use crate::sql::{Piece, Pieces};

/// The longest text, in characters.
const LONGEST: usize = 500;

/// A statement on one line, with `?` in place of each text and number and without comments, cut after 500 characters: for logs,
/// for traces, and for people.
#[must_use]
pub fn without_literals(sql: &str) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for piece in Pieces::of(sql.trim()) {
        let mut buffer = [0; 4];
        let text = match piece {
            Piece::Word(text) => text,
            Piece::Literal(_) => "?",
            Piece::Space | Piece::Comment if shown.ends_with(' ') => "",
            Piece::Space | Piece::Comment => " ",
            Piece::Sign(sign) => sign.encode_utf8(&mut buffer),
        };
        let room = LONGEST - length;
        shown.extend(text.chars().take(room));
        length += text.chars().count().min(room);
        if length == LONGEST {
            shown.push('…');
            break;
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_not_shown() {
        let check = |sql, expect| assert_eq!(without_literals(sql), expect);
        check("SELECT * FROM t1 WHERE a = 'ann''s' AND b = 12.5", "SELECT * FROM t1 WHERE a = ? AND b = ?");
        check("SELECT $1::text, $2", "SELECT $1::text, $2");
        check("ALTER ROLE app\n  PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD ?");
        check("SELECT E'it\\'s hunter2'", "SELECT E?");
        check("DO $x$ hunter2 $x$", "DO ?");
        check("DO $$ hunter2", "DO ?");
        check("SELECT 'open hunter2", "SELECT ?");
        check("SELECT 1 -- hunter2\n, 2", "SELECT ? , ?");
        check("SELECT 1 /* 'hunter2 */ + 2", "SELECT ? + ?");
        check("SELECT 'é', \"ü\"", "SELECT ?, \"ü\"");
        check("", "");
    }

    #[test]
    fn a_long_statement_is_cut() {
        let shown = without_literals(&"é".repeat(1_000));
        assert_eq!(shown.chars().count(), LONGEST + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(without_literals(&"+".repeat(1_000)).chars().count(), LONGEST + 1);
    }
}
