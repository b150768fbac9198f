//! What kind of statement it is, from its first words: whether it may share a transaction, and what it makes when it may
//! not. Only what the runner must know; everything else is the server's.

use squawk_lexer::{LiteralKind, TokenKind};

use super::lexer::Lexeme;
use super::refusal::Refusal;
use crate::statement::Alone;

/// What was found out about a statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// `None`: it runs in a transaction.
    pub(super) execution: Option<Alone>,
    /// The server refuses it in a transaction, whatever its arguments. `CALL`, for one, may be there or not.
    pub(super) must_be_alone: bool,
    pub(super) is_savepoint: bool,
    pub(super) refusal: Option<Refusal>,
}

impl Found {
    fn alone(what: Alone) -> Self {
        Self { execution: Some(what), must_be_alone: true, ..Self::default() }
    }

    /// Whether the server lets it into a transaction depends on what is not visible here.
    fn maybe_alone(what: Alone) -> Self {
        Self { execution: Some(what), ..Self::default() }
    }

    fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}

pub(super) fn classify(head: &[Lexeme<'_>]) -> Found {
    let mut words = Words { head };
    let in_transaction = Found::default();
    let Some(first) = words.next_word() else {
        return in_transaction;
    };
    match first.as_str() {
        "BEGIN" | "COMMIT" | "END" | "ABORT" => Found::refused(Refusal::TransactionControl),
        "START" | "PREPARE" if words.take("TRANSACTION") => Found::refused(Refusal::TransactionControl),
        "ROLLBACK" => {
            // Back to a savepoint: the transaction goes on.
            let _ = words.take("WORK") || words.take("TRANSACTION");
            if words.take("TO") { savepoint() } else { Found::refused(Refusal::TransactionControl) }
        }
        "SAVEPOINT" | "RELEASE" => savepoint(),
        "DISCARD" if words.take("ALL") => Found::refused(Refusal::DiscardAll),
        "CREATE" => create(words),
        "DROP" => drop(words),
        "ALTER" => alter(words),
        "REINDEX" => reindex(words),
        "VACUUM" => Found::alone(Alone::Repeatable),
        "CLUSTER" => cluster(words),
        "CALL" => Found::maybe_alone(Alone::Opaque),
        "DO" if ends_transaction(head) => Found::maybe_alone(Alone::Opaque),
        _ => in_transaction,
    }
}

fn savepoint() -> Found {
    Found { is_savepoint: true, ..Found::default() }
}

fn create(mut words: Words<'_>) -> Found {
    let is_unique = words.take("UNIQUE");
    if words.take("INDEX") {
        return if words.take("CONCURRENTLY") { create_index(words, is_unique) } else { Found::default() };
    }
    if words.take("DATABASE") {
        return Found::alone(words.name().map_or(Alone::Opaque, |name| Alone::CreateDatabase { name }));
    }
    if words.take("TABLESPACE") {
        return Found::alone(Alone::Opaque);
    }
    if words.take("SUBSCRIPTION") {
        // Without a slot on the other side there is nothing that a rollback would not undo.
        let makes_slot = !words.has_option_off(&["CREATE_SLOT", "CONNECT"]);
        return if makes_slot { Found::alone(Alone::Opaque) } else { Found::default() };
    }
    Found::default()
}

fn create_index(mut words: Words<'_>, unique: bool) -> Found {
    if words.take_all(&["IF", "NOT", "EXISTS"]) {
        return Found::refused(Refusal::IndexIfNotExists);
    }
    if words.take("ON") {
        return Found::refused(Refusal::UnnamedIndex);
    }
    let mut names = || {
        let name = words.name()?;
        if !words.take("ON") {
            return None;
        }
        let _ = words.take("ONLY");
        let table = words.qualified()?;
        // The index is in the schema of its table, which is why its own name has none.
        let mut index = table.clone();
        index.pop();
        index.push(name);
        Some(Alone::CreateIndex { index, table, unique })
    };
    Found::alone(names().unwrap_or(Alone::Opaque))
}

fn drop(mut words: Words<'_>) -> Found {
    if words.take_all(&["INDEX", "CONCURRENTLY"]) {
        let _ = words.take_all(&["IF", "EXISTS"]);
        let index = words.qualified().filter(|_| !words.is_at(TokenKind::Comma));
        return Found::alone(index.map_or(Alone::Opaque, |index| Alone::DropIndex { index }));
    }
    if words.take("DATABASE") {
        let _ = words.take_all(&["IF", "EXISTS"]);
        return Found::alone(words.name().map_or(Alone::Opaque, |name| Alone::DropDatabase { name }));
    }
    if words.take("TABLESPACE") {
        return Found::alone(Alone::Opaque);
    }
    if words.take("SUBSCRIPTION") {
        // It depends on whether the subscription has a slot.
        return Found::maybe_alone(Alone::Opaque);
    }
    Found::default()
}

fn alter(mut words: Words<'_>) -> Found {
    if words.take("SYSTEM") {
        return Found::alone(Alone::Repeatable);
    }
    if words.take("DATABASE") {
        let moves = words.name_or_skip() && words.take_all(&["SET", "TABLESPACE"]);
        return if moves { Found::alone(Alone::Repeatable) } else { Found::default() };
    }
    if words.take("SUBSCRIPTION") {
        let _ = words.name_or_skip();
        let mut options = words;
        if options.take("SET") && options.is_at(TokenKind::OpenParen) {
            // Some options, `failover` for one, change the slot on the other side.
            return Found::maybe_alone(Alone::Repeatable);
        }
        let refreshes = words.take_all(&["REFRESH", "PUBLICATION"])
            || ["SET", "ADD", "DROP"].iter().any(|verb| words.take_all(&[verb, "PUBLICATION"]))
                && !words.has_option_off(&["REFRESH"]);
        return if refreshes { Found::alone(Alone::Opaque) } else { Found::default() };
    }
    if words.take("TABLE") { detach(words) } else { Found::default() }
}

/// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`; `FINALIZE` instead runs in a transaction.
fn detach(mut words: Words<'_>) -> Found {
    let _ = words.take_all(&["IF", "EXISTS"]);
    let _ = words.take("ONLY");
    let table = words.qualified_or_skip();
    if !words.take_all(&["DETACH", "PARTITION"]) {
        return Found::default();
    }
    let partition = words.qualified_or_skip();
    if !words.take("CONCURRENTLY") {
        return Found::default();
    }
    let both = table.zip(partition);
    let what = both.map_or(Alone::Opaque, |(table, partition)| Alone::DetachPartition { table, partition });
    Found::alone(what)
}

fn reindex(mut words: Words<'_>) -> Found {
    let by_option = words.options().is_some_and(|options| is_on(&options, "CONCURRENTLY"));
    let many = ["DATABASE", "SYSTEM", "SCHEMA"].iter().any(|kind| words.take(kind));
    if many || by_option {
        return Found::alone(Alone::Repeatable);
    }
    let _ = words.take("INDEX") || words.take("TABLE");
    if words.take("CONCURRENTLY") {
        return Found::alone(Alone::Repeatable);
    }
    // That of a partitioned table cannot run in a transaction.
    Found::maybe_alone(Alone::Repeatable)
}

fn cluster(mut words: Words<'_>) -> Found {
    let _ = words.options();
    let _ = words.take("VERBOSE");
    if words.head.is_empty() {
        return Found::alone(Alone::Repeatable);
    }
    // That of a partitioned table cannot run in a transaction.
    Found::maybe_alone(Alone::Repeatable)
}

/// Whether the body of a `DO` holds the word COMMIT or ROLLBACK, be it in a comment.
fn ends_transaction(head: &[Lexeme<'_>]) -> bool {
    let is_control =
        |word: &str| word.eq_ignore_ascii_case("COMMIT") || word.eq_ignore_ascii_case("ROLLBACK");
    let is_string =
        |kind| matches!(kind, TokenKind::Literal { kind } if !matches!(kind, LiteralKind::Int { .. }));
    let words = |text: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(is_control);
    head.iter().any(|lexeme| is_string(lexeme.kind) && words(lexeme.text))
}

/// Whether an option is given, and not as `false`.
fn is_on(options: &[Lexeme<'_>], name: &str) -> bool {
    options.split(|lexeme| lexeme.kind == TokenKind::Comma).any(|option| {
        option.first().is_some_and(|word| word.is_word(name)) && !option.last().is_some_and(is_off)
    })
}

fn is_off(value: &Lexeme<'_>) -> bool {
    let text = value.text.trim_matches(['\'', '"']);
    ["false", "off", "0"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

/// Takes words and names off the front.
#[derive(Clone, Copy)]
struct Words<'a> {
    head: &'a [Lexeme<'a>],
}

impl<'a> Words<'a> {
    fn next_word(&mut self) -> Option<String> {
        let first = self.head.first().filter(|first| first.kind == TokenKind::Ident)?;
        self.head = &self.head[1..];
        Some(first.text.to_ascii_uppercase())
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.head.first().is_some_and(|first| first.is_word(word));
        self.head = &self.head[usize::from(is_there)..];
        is_there
    }

    /// All of them or none.
    fn take_all(&mut self, words: &[&str]) -> bool {
        let mut rest = *self;
        let are_there = words.iter().all(|word| rest.take(word));
        if are_there {
            *self = rest;
        }
        are_there
    }

    fn is_at(&self, kind: TokenKind) -> bool {
        self.head.first().is_some_and(|first| first.kind == kind)
    }

    /// A name as the server holds it. `None` for one with Unicode escapes, which nobody writes.
    fn name(&mut self) -> Option<String> {
        let first = self.head.first()?;
        let name = match first.kind {
            TokenKind::Ident => first.text.to_ascii_lowercase(),
            TokenKind::QuotedIdent { uescape: false, .. } => {
                first.text[1..first.text.len() - 1].replace("\"\"", "\"")
            }
            _ => return None,
        };
        self.head = &self.head[1..];
        Some(truncated(name))
    }

    /// A name whose text does not matter.
    fn name_or_skip(&mut self) -> bool {
        let is_name = matches!(
            self.head.first().map(|first| first.kind),
            Some(TokenKind::Ident | TokenKind::QuotedIdent { .. })
        );
        self.head = &self.head[usize::from(is_name)..];
        is_name
    }

    /// Schema and name, or the name alone. A database in front can only be the connected one.
    fn qualified(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.name()?];
        while self.is_at(TokenKind::Dot) {
            self.head = &self.head[1..];
            parts.push(self.name()?);
        }
        let schema = parts.len().saturating_sub(2);
        Some(parts.split_off(schema))
    }

    /// Like [`qualified`](Self::qualified), and past it also when the name cannot be read. `table *` is `table`.
    fn qualified_or_skip(&mut self) -> Option<Vec<String>> {
        let mut rest = *self;
        let name = rest.qualified();
        if name.is_some() {
            *self = rest;
        } else {
            while self.name_or_skip() && self.is_at(TokenKind::Dot) {
                self.head = &self.head[1..];
            }
        }
        if self.is_at(TokenKind::Star) {
            self.head = &self.head[1..];
        }
        name
    }

    /// What is in the parentheses here.
    fn options(&mut self) -> Option<Vec<Lexeme<'a>>> {
        if !self.is_at(TokenKind::OpenParen) {
            return None;
        }
        let end = self.head.iter().position(|lexeme| lexeme.kind == TokenKind::CloseParen)?;
        let options = self.head[1..end].to_vec();
        self.head = &self.head[end + 1..];
        Some(options)
    }

    /// Whether the last parentheses turn off one of these options.
    fn has_option_off(&self, names: &[&str]) -> bool {
        let open = self.head.iter().rposition(|lexeme| lexeme.kind == TokenKind::OpenParen);
        let mut options = Words { head: open.map_or(&[], |open| &self.head[open..]) };
        let options = options.options().unwrap_or_default();
        options.split(|lexeme| lexeme.kind == TokenKind::Comma).any(|option| {
            option.first().is_some_and(|word| word.is_one_of(names)) && option.last().is_some_and(is_off)
        })
    }
}

/// The server cuts names at 63 bytes, between characters.
fn truncated(mut name: String) -> String {
    let end = (0..=63.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.truncate(end);
    name
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
