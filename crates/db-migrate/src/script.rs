//! A file's SQL, taken apart far enough to count its statements, to find their lines and to refuse what would end the
//! runner's transaction. It is no parser: whether the SQL is right is the server's to say.

use squawk_lexer::{TokenKind, tokenize};

use crate::Checksum;

/// SQL that may run inside the runner's transaction.
#[derive(Clone, Debug)]
pub struct Script {
    sql: String,
    checksum: Checksum,
    /// The line of each statement's first word, from 1.
    lines: Vec<u32>,
}

/// Why a script may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It would begin or end a transaction.
    #[error("begins or ends a transaction, but every file runs in one of its own: remove the statement")]
    TransactionControl,
    /// It is a command of psql, not SQL.
    #[error(
        "is a command of psql, which no server understands: use SQL instead, for example INSERT for \\copy"
    )]
    MetaCommand,
    /// It exchanges data with the client.
    #[error("takes data from the client or sends it there: use INSERT, or COPY with a file on the server")]
    ClientCopy,
}

impl Script {
    /// Reads SQL. A byte order mark is dropped and CRLF becomes LF: neither may change the checksum or the bodies of
    /// functions.
    ///
    /// # Errors
    /// The first statement that may not run, with its line.
    pub fn parse(text: &str) -> Result<Self, (u32, Refusal)> {
        let sql = text.strip_prefix(squawk_lexer::BOM).unwrap_or(text).replace("\r\n", "\n");
        let lines = statement_lines(&sql)?;
        let checksum = Checksum::of(&sql);
        Ok(Self { sql, checksum, lines })
    }

    /// The SQL, normalised.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The checksum of [`Script::sql`].
    #[must_use]
    pub fn checksum(&self) -> &Checksum {
        &self.checksum
    }

    /// How many statements it has.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.lines.len()
    }

    /// The line on which a statement begins; the first statement is 0.
    pub(crate) fn line_of_statement(&self, index: usize) -> Option<u32> {
        self.lines.get(index).copied()
    }

    /// The line of a position as the server reports it: characters, from 1.
    pub(crate) fn line_at(&self, position: u32) -> u32 {
        let before = self.sql.chars().take(position.saturating_sub(1) as usize);
        line_number(before.filter(|character| *character == '\n').count())
    }
}

fn statement_lines(sql: &str) -> Result<Vec<u32>, (u32, Refusal)> {
    let mut lines = Vec::new();
    let mut current: Option<Statement> = None;
    let (mut offset, mut newlines) = (0, 0);
    for token in tokenize(sql) {
        let text = &sql[offset..offset + token.len as usize];
        let line = line_number(newlines);
        offset += text.len();
        newlines += text.matches('\n').count();

        match token.kind {
            TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {}
            // A backslash outside of quotes means nothing in SQL.
            TokenKind::Unknown if text == "\\" => return Err((line, Refusal::MetaCommand)),
            TokenKind::Semi if current.as_ref().is_none_or(Statement::is_complete) => {
                if let Some(statement) = current.take() {
                    lines.push(statement.finish()?);
                }
            }
            kind => current.get_or_insert_with(|| Statement::at(line)).push(kind, text),
        }
    }
    if let Some(statement) = current {
        lines.push(statement.finish()?);
    }
    Ok(lines)
}

/// A statement while its tokens pass by.
struct Statement {
    line: u32,
    words: Vec<String>,
    parentheses: u32,
    /// `BEGIN ATOMIC` and each `CASE` within it; an `END` closes one.
    blocks: u32,
    client_copy: bool,
}

impl Statement {
    fn at(line: u32) -> Self {
        Self { line, words: Vec::new(), parentheses: 0, blocks: 0, client_copy: false }
    }

    /// Whether a semicolon ends it: not within `CREATE RULE … DO (…; …)` nor within a body of SQL statements.
    fn is_complete(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn push(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Ident => self.word(text.to_ascii_uppercase()),
            _ => {}
        }
    }

    fn word(&mut self, word: String) {
        match (self.words.last().map(String::as_str), word.as_str()) {
            (Some("BEGIN"), "ATOMIC") if self.creates_routine() => self.blocks += 1,
            (_, "CASE") if self.blocks > 0 => self.blocks += 1,
            (_, "END") => self.blocks = self.blocks.saturating_sub(1),
            (Some("FROM"), "STDIN") | (Some("TO"), "STDOUT") => self.client_copy = true,
            _ => {}
        }
        self.words.push(word);
    }

    /// Only a routine has a body of SQL statements; elsewhere `begin atomic` may be a column and its alias.
    fn creates_routine(&self) -> bool {
        let words = self.words.iter().map(String::as_str);
        let mut words = words.filter(|word| !matches!(*word, "OR" | "REPLACE"));
        words.next() == Some("CREATE") && matches!(words.next(), Some("FUNCTION" | "PROCEDURE"))
    }

    fn finish(self) -> Result<u32, (u32, Refusal)> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            // Back to a savepoint: the transaction goes on.
            ["ROLLBACK", "TO", ..] | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", ..] => Ok(self.line),
            ["BEGIN" | "COMMIT" | "END" | "ROLLBACK" | "ABORT", ..]
            | ["START" | "PREPARE", "TRANSACTION", ..] => Err((self.line, Refusal::TransactionControl)),
            ["COPY", ..] if self.client_copy => Err((self.line, Refusal::ClientCopy)),
            _ => Ok(self.line),
        }
    }
}

fn line_number(newlines: usize) -> u32 {
    u32::try_from(newlines).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
