//! From tokens to statements: where each one ends, what is refused wherever it stands, and which comments are directives.

use squawk_lexer::TokenKind;

use super::classify::{Found, classify};
use super::lexer::{Lexeme, Lexer};
use super::refusal::Refusal;
use crate::checksum::TokenHash;
use crate::directives::Header;
use crate::statement::{Execution, Statement};
use crate::{DirectiveError, Directives};

/// More tokens of a statement than its kind and its names take.
const HEAD: usize = 256;

/// What a text consists of.
pub(super) struct Split {
    pub(super) statements: Vec<Statement>,
    pub(super) directives: Directives,
    /// One more than statements: the first is that of none.
    pub(super) loose_checksums: Vec<TokenHash>,
}

pub(super) fn split(
    sql: &str,
    first_line: u32,
    inherited: Option<&Directives>,
) -> Result<Split, (u32, Refusal)> {
    if let Some(at) = sql.find('\0') {
        return Err((first_line.saturating_add(super::lexer::newlines(&sql[..at])), Refusal::Nul));
    }
    let mut all = Splitting::new(Header::new(inherited));
    let mut current: Option<Reading<'_>> = None;
    // Whether nothing but white space is in front of a token on its line.
    let mut is_first_on_line = true;
    for lexeme in Lexer::new(sql, first_line) {
        let lexeme = lexeme?;
        let was_first = is_first_on_line;
        is_first_on_line = match lexeme.kind {
            TokenKind::Whitespace => was_first || lexeme.text.contains(['\n', '\r']),
            _ => false,
        };
        match lexeme.kind {
            TokenKind::LineComment if was_first => all.comment(&lexeme, current.is_some())?,
            _ if lexeme.is_blank() => {}
            // A backslash outside of quotes means nothing in SQL.
            TokenKind::Unknown if lexeme.text == "\\" => return Err((lexeme.line, Refusal::MetaCommand)),
            TokenKind::Semi if current.as_ref().is_none_or(Reading::is_complete) => {
                if let Some(reading) = current.take() {
                    all.finish(&reading)?;
                }
            }
            _ => {
                all.hash.push(&lexeme);
                current.get_or_insert_with(|| Reading::at(&lexeme)).push(lexeme)?;
            }
        }
    }
    if let Some(reading) = current {
        all.finish(&reading)?;
    }
    let Splitting { header, statements, loose_checksums, hash: _ } = all;
    Ok(Split { statements, directives: header.finish(), loose_checksums })
}

/// What was found so far.
struct Splitting {
    header: Header,
    statements: Vec<Statement>,
    loose_checksums: Vec<TokenHash>,
    hash: TokenHash,
}

impl Splitting {
    fn new(header: Header) -> Self {
        let hash = TokenHash::default();
        Self { header, statements: Vec::new(), loose_checksums: vec![hash.clone()], hash }
    }

    fn comment(&mut self, comment: &Lexeme<'_>, is_in_statement: bool) -> Result<(), (u32, Refusal)> {
        let refused = |error: DirectiveError| (comment.line, Refusal::Directive(error));
        if is_in_statement || !self.statements.is_empty() {
            return Header::too_late(comment.text).map_err(refused);
        }
        self.header.read(comment.text).map_err(refused)
    }

    fn finish(&mut self, reading: &Reading<'_>) -> Result<(), (u32, Refusal)> {
        let line = reading.line;
        let is_alone = self.header.directives().no_transaction;
        let Found { execution, must_be_alone, refusal, is_savepoint } = classify(&reading.head);
        let refusal = match refusal {
            Some(refusal) => Some(refusal),
            None if reading.is_client_copy() => Some(Refusal::ClientCopy),
            None if is_savepoint && is_alone => Some(Refusal::Savepoint),
            None if must_be_alone && !is_alone => Some(Refusal::NeedsNoTransaction),
            None => None,
        };
        if let Some(refusal) = refusal {
            return Err((line, refusal));
        }
        let execution = execution.map_or(Execution::InTransaction, Execution::Alone);
        self.statements.push(Statement { range: reading.start..reading.end, line, execution });
        self.hash.end_statement();
        self.loose_checksums.push(self.hash.clone());
        Ok(())
    }
}

/// A statement while its tokens pass by.
struct Reading<'a> {
    start: usize,
    end: usize,
    line: u32,
    head: Vec<Lexeme<'a>>,
    last: Option<Lexeme<'a>>,
    parentheses: u32,
    /// `BEGIN ATOMIC` and each `CASE` within it; an `END` closes one.
    blocks: u32,
    exchanges_with_client: bool,
}

impl<'a> Reading<'a> {
    fn at(first: &Lexeme<'a>) -> Self {
        Self {
            start: first.start,
            end: first.start,
            line: first.line,
            head: Vec::new(),
            last: None,
            parentheses: 0,
            blocks: 0,
            exchanges_with_client: false,
        }
    }

    /// Whether a semicolon ends it: not within `CREATE RULE … DO (…; …)` nor within a body of SQL statements. Elsewhere no
    /// semicolon can be in parentheses, so one that is there marks a parenthesis that was forgotten.
    fn is_complete(&self) -> bool {
        self.blocks == 0 && (self.parentheses == 0 || !self.creates(&["RULE"]))
    }

    fn push(&mut self, lexeme: Lexeme<'a>) -> Result<(), (u32, Refusal)> {
        match lexeme.kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Ident => self.word(&lexeme)?,
            _ => {}
        }
        self.end = lexeme.range().end;
        if self.head.len() < HEAD {
            self.head.push(lexeme.clone());
        }
        self.last = Some(lexeme);
        Ok(())
    }

    fn word(&mut self, word: &Lexeme<'_>) -> Result<(), (u32, Refusal)> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        // As an alias or as a column every word is a name, reserved or not.
        if last.kind == TokenKind::Dot || last.is_word("AS") {
            return Ok(());
        }
        if self.blocks == 0 {
            if self.parentheses > 0 {
                return Ok(());
            }
            if word.is_word("ATOMIC") && last.is_word("BEGIN") && self.creates(&["FUNCTION", "PROCEDURE"]) {
                self.blocks = 1;
            }
            self.exchanges_with_client |=
                last.is_one_of(&["FROM", "TO"]) && word.is_one_of(&["STDIN", "STDOUT"]);
            return Ok(());
        }
        // A body of SQL statements may not hold these. If one seems to, the body ended without being noticed, and what
        // follows would run as a part of it.
        let control = ["BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT"];
        if last.kind == TokenKind::Semi && word.is_one_of(&control) {
            return Err((word.line, Refusal::TransactionControl));
        }
        if word.is_word("CASE") {
            self.blocks += 1;
        } else if word.is_word("END") {
            self.blocks -= 1;
        }
        Ok(())
    }

    /// Only a routine has a body of SQL statements; elsewhere `begin atomic` may be a column and its alias.
    fn creates(&self, what: &[&str]) -> bool {
        let mut words = self.head.iter().filter(|word| !word.is_one_of(&["OR", "REPLACE"]));
        words.next().is_some_and(|word| word.is_word("CREATE"))
            && words.next().is_some_and(|word| word.is_one_of(what))
    }

    fn is_client_copy(&self) -> bool {
        self.exchanges_with_client && self.head.first().is_some_and(|word| word.is_word("COPY"))
    }
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
