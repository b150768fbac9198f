//! A file's SQL, taken apart far enough to find its statements, to know which of them must run alone, and to refuse what
//! would end the runner's transaction. It is no parser: whether the SQL is right is the server's to say.

mod classify;
mod lexer;
mod refusal;
mod split;

use squawk_lexer::BOM;

use crate::checksum::TokenHash;
use crate::statement::Statement;
use crate::{Checksum, Directives};

pub(crate) use self::lexer::{Lexeme, Lexer};
pub use self::refusal::{Open, Refusal};

/// SQL that may run, statement by statement.
#[derive(Clone, Debug)]
pub struct Script {
    sql: String,
    /// The line of the file on which `sql` begins, from 1: the way down may be the second half of a file.
    first_line: u32,
    checksum: Checksum,
    loose_checksum: Checksum,
    /// The loose checksum after each number of statements, from none to all.
    loose_checksums: Vec<TokenHash>,
    statements: Vec<Statement>,
    directives: Directives,
}

impl Script {
    /// Reads SQL. A byte order mark is dropped, everything else stays as it is, byte for byte.
    ///
    /// # Errors
    /// The first statement or directive that may not be, with its line.
    pub fn parse(text: &str) -> Result<Self, (u32, Refusal)> {
        Self::parse_section(text, 1, None)
    }

    /// Reads a part of a file that begins on `first_line`, below directives that hold for the whole file.
    pub(crate) fn parse_section(
        text: &str,
        first_line: u32,
        inherited: Option<&Directives>,
    ) -> Result<Self, (u32, Refusal)> {
        let sql = text.strip_prefix(BOM).unwrap_or(text).to_owned();
        let split::Split { statements, directives, loose_checksums } =
            split::split(&sql, first_line, inherited)?;
        let checksum = Checksum::of(&sql);
        let loose_checksum = Checksum::of_tokens(&loose_checksums[statements.len()]);
        Ok(Self { sql, first_line, checksum, loose_checksum, loose_checksums, statements, directives })
    }

    /// The SQL as it is in the file, without a byte order mark.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The checksum of [`Script::sql`]. Line ends of Windows do not change it.
    #[must_use]
    pub fn checksum(&self) -> &Checksum {
        &self.checksum
    }

    /// A checksum that comments and white space do not change, except within quotes.
    #[must_use]
    pub fn loose_checksum(&self) -> &Checksum {
        &self.loose_checksum
    }

    /// The [`loose_checksum`](Self::loose_checksum) of its first statements alone; of all when there are fewer.
    pub(crate) fn loose_checksum_of_first(&self, statements: usize) -> Checksum {
        let statements = statements.min(self.statements.len());
        Checksum::of_tokens(&self.loose_checksums[statements])
    }

    /// What it says about how it wants to run.
    #[must_use]
    pub fn directives(&self) -> &Directives {
        &self.directives
    }

    /// Its statements, in order.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The text of a statement, as it is in the file.
    #[must_use]
    pub fn text(&self, statement: &Statement) -> &str {
        &self.sql[statement.range.clone()]
    }

    /// The line on which a statement begins; the first statement is 0.
    pub(crate) fn line_of_statement(&self, index: usize) -> Option<u32> {
        self.statements.get(index).map(|statement| statement.line)
    }

    /// The line of a position in [`Script::sql`] as the server reports it: characters, from 1.
    pub(crate) fn line_at(&self, position: u32) -> u32 {
        self.first_line.saturating_add(newlines_before(&self.sql, position))
    }

    /// Like [`line_at`](Self::line_at), when the statement was sent by itself.
    pub(crate) fn line_within(&self, statement: &Statement, position: u32) -> u32 {
        statement.line.saturating_add(newlines_before(self.text(statement), position))
    }
}

fn newlines_before(text: &str, position: u32) -> u32 {
    let characters = position.saturating_sub(1) as usize;
    let end = text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    lexer::newlines(&text[..end])
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "script/random_tests.rs"]
mod random_tests;
