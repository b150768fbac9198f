//! Statements for a log: their text without literals, which may be passwords or people's data.

/// The longest text, in characters.
const LONGEST: usize = 500;

/// A statement on one line, with `?` in place of each text and number, cut after 500 characters: for logs and for people.
#[must_use]
pub fn without_literals(sql: &str) -> String {
    let mut shown = String::new();
    let mut rest = sql.trim();
    while let Some(first) = rest.chars().next() {
        if shown.chars().count() >= LONGEST {
            shown.push('…');
            break;
        }
        let follows_word = shown.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        let (piece, length) = if first == '\'' {
            // An escape string has its E before the quote.
            (Some("?"), text_length(rest, shown.ends_with(['e', 'E'])))
        } else if let Some(length) = dollar_quoted_length(rest).filter(|_| !follows_word) {
            (Some("?"), length)
        } else if first.is_ascii_digit() && !follows_word {
            (Some("?"), rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len()))
        } else if let Some(comment) = rest.strip_prefix("--") {
            (None, comment.find('\n').map_or(rest.len(), |end| end + 2))
        } else if first.is_whitespace() {
            let length = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
            (Some(if shown.ends_with(' ') { "" } else { " " }), length)
        } else {
            shown.push(first);
            (None, first.len_utf8())
        };
        shown.push_str(piece.unwrap_or_default());
        rest = &rest[length..];
    }
    shown
}

/// The length of the text in single quotes at the beginning; an open one goes on to the end.
fn text_length(sql: &str, has_escapes: bool) -> usize {
    let mut characters = sql.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if has_escapes => drop(characters.next()),
            '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => drop(characters.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    sql.len()
}

/// The length of the text between `$tag$` and `$tag$` at the beginning, if there is one.
fn dollar_quoted_length(sql: &str) -> Option<usize> {
    let tag_end = sql.strip_prefix('$')?.find('$')? + 2;
    let tag = &sql[..tag_end];
    let is_tag = tag[1..tag_end - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_tag || tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(sql[tag_end..].find(tag).map_or(sql.len(), |end| tag_end + end + tag_end))
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
        check("SELECT 'é', \"ü\"", "SELECT ?, \"ü\"");
        check("", "");
    }

    #[test]
    fn a_long_statement_is_cut() {
        let shown = without_literals(&"é".repeat(1_000));
        assert_eq!(shown.chars().count(), LONGEST + 1);
        assert!(shown.ends_with('…'));
    }
}
