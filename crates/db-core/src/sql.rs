//! The text of a statement in pieces, as far as logs and summaries need it: words, literals, comments, all else. No parser: it
//! knows nothing of grammar and never fails.

/// A piece of a statement with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A keyword or a name, quoted or not; the parts of a name with dots are one. A parameter, such as `$1`.
    Word(&'a str),
    /// A text or a number.
    Literal(&'a str),
    /// White space.
    Space,
    /// A comment, of either form.
    Comment,
    /// One character of anything else.
    Sign(char),
}

/// Whether there is a comment in a statement, of either form. What looks like one in a text or a quoted name is none.
#[must_use]
pub fn has_comment(sql: &str) -> bool {
    (sql.contains("--") || sql.contains("/*")) && Pieces::of(sql).any(|piece| piece == Piece::Comment)
}

/// Gives the pieces one after the other; none of the text is left out. What is opened and not closed goes on to the end.
pub(crate) struct Pieces<'a> {
    rest: &'a str,
    /// Whether an escape string may begin here, of which a word `E` was the beginning.
    has_escapes: bool,
}

impl<'a> Pieces<'a> {
    pub(crate) fn of(sql: &'a str) -> Self {
        Self { rest: sql, has_escapes: false }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        let take = |length: usize| &rest[..length];
        let (piece, length) = if first == '\'' {
            let length = text_length(rest, self.has_escapes);
            (Piece::Literal(take(length)), length)
        } else if let Some(length) = dollar_quoted_length(rest) {
            (Piece::Literal(take(length)), length)
        } else if first.is_ascii_digit() {
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
                .unwrap_or(rest.len());
            (Piece::Literal(take(length)), length)
        } else if let Some(length) = word_length(rest) {
            (Piece::Word(take(length)), length)
        } else if rest.starts_with("--") {
            (Piece::Comment, rest.find('\n').map_or(rest.len(), |end| end + 1))
        } else if rest.starts_with("/*") {
            (Piece::Comment, block_comment_length(rest))
        } else if first.is_whitespace() {
            (Piece::Space, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()))
        } else {
            (Piece::Sign(first), first.len_utf8())
        };
        self.has_escapes = matches!(piece, Piece::Word("e" | "E"));
        self.rest = &rest[length..];
        Some(piece)
    }
}

/// The length of a name, or a parameter, at the beginning.
fn word_length(sql: &str) -> Option<usize> {
    let mut length = part_length(sql)?;
    while let Some(next) = sql[length..].strip_prefix('.').and_then(part_length) {
        length += 1 + next;
    }
    Some(length)
}

fn part_length(sql: &str) -> Option<usize> {
    if let Some(quoted) = sql.strip_prefix('"') {
        return Some(quoted.find('"').map_or(sql.len(), |end| end + 2));
    }
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    sql.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$')
        .then(|| sql.find(|c: char| !is_inside(c)).unwrap_or(sql.len()))
}

/// The length of the text in single quotes at the beginning.
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

/// The length of a comment that may hold others.
fn block_comment_length(sql: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = sql.get(at..) {
        let Some(found) = next.find(['/', '*']) else { break };
        at += found;
        match sql.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_apart() {
        let check = |sql: &str, expect: &[Piece<'_>]| {
            let pieces: Vec<_> = Pieces::of(sql).filter(|piece| *piece != Piece::Space).collect();
            assert_eq!(pieces, expect, "{sql}");
        };
        check("a.\"b c\".d1", &[Piece::Word("a.\"b c\".d1")]);
        check("1_000_000", &[Piece::Literal("1_000_000")]);
        check("x=1.5e3", &[Piece::Word("x"), Piece::Sign('='), Piece::Literal("1.5e3")]);
        check("$1::text", &[Piece::Word("$1"), Piece::Sign(':'), Piece::Sign(':'), Piece::Word("text")]);
        check("'it''s' y", &[Piece::Literal("'it''s'"), Piece::Word("y")]);
        check("E'it\\'s' y", &[Piece::Word("E"), Piece::Literal("'it\\'s'"), Piece::Word("y")]);
        check("$f$ ' $f$;", &[Piece::Literal("$f$ ' $f$"), Piece::Sign(';')]);
        check("/* a /* b */ c */ d", &[Piece::Comment, Piece::Word("d")]);
        check("/* open", &[Piece::Comment]);
        check("/*/ a */b", &[Piece::Comment, Piece::Word("b")]);
        check("-- a\nb", &[Piece::Comment, Piece::Word("b")]);
        check("\"open", &[Piece::Word("\"open")]);
    }
}
