//! What each statement of a script does to the tables of a running system: which lock it takes on which, whether it
//! rewrites or scans one, and what may go wrong. Read from the text alone; sizes, and what the catalogue knows, are for
//! others to add.
//!
//! # Why from the text?
//! A plan is made before anything runs, often far from the database that it is for. What the text does not tell (the
//! table of an index, the old type of a column, what a function does) is said in a hazard rather than guessed.

mod alter_table;
mod found;
mod lock;
mod query;
mod statement;
mod table;
pub(crate) mod tree;
pub(crate) mod volatility;

#[cfg(test)]
mod tests;

use serde::Serialize;
use squawk_syntax::SourceFile;

use self::found::Found;
use self::tree::Names;
use crate::Script;

pub use self::lock::LockLevel;

/// What one statement does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatementEffects {
    /// The statement on one line, shortened.
    pub statement: String,
    /// The line on which it begins, from 1.
    pub line: u32,
    /// What it does to each relation, in the order in which it meets them.
    pub effects: Vec<Effect>,
    /// What to know about the statement as a whole, above all if it does what can not be seen from here.
    pub hazard: Option<String>,
}

/// What a statement does to one relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Effect {
    /// Table, view, sequence or index, as the statement writes it.
    pub relation: String,
    /// The strongest lock on it.
    pub lock: LockLevel,
    /// Whether every row is written anew. If that depends on what only the catalogue knows, it is `true` and the hazard
    /// says on what. Not seen is a new column of a domain with constraints: by its name it is a type like any other.
    pub rewrites: bool,
    /// Whether every row is read, to check it or to build an index.
    pub scans: bool,
    /// Whether the same file creates it: then there is nobody whom the lock could keep waiting.
    pub new: bool,
    /// What to know before it runs.
    pub hazard: Option<String>,
}

/// The effects of each statement of a script, in its order.
#[must_use]
pub fn effects(script: &Script) -> Vec<StatementEffects> {
    let mut new = Names::default();
    let statements = script.statements().iter();
    statements.map(|statement| of_text(script.text(statement), statement.line, &mut new)).collect()
}

/// The effects of one statement. `new` holds what the file has created so far, and grows.
fn of_text(text: &str, line: u32, new: &mut Names) -> StatementEffects {
    let parse = SourceFile::parse(text);
    let mut found = Found::default();
    match parse.tree().stmts().next() {
        Some(statement) => statement::read(&statement, &mut found),
        None => found.warn("could not be read, so its locks are not known"),
    }
    if !parse.errors().is_empty() {
        found.warn("was not understood in full, so there may be more to it");
    }
    let (effects, hazard) = found.finish(new);
    StatementEffects { statement: tree::excerpt(&parse.syntax_node()), line, effects, hazard }
}
