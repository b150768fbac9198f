//! What a file says about how it wants to run: comments in front of its first statement. Read from text; carried out
//! elsewhere.
//!
//! # Which comments are directives?
//! A line comment by itself on its line, in front of the first statement, which is one word (letters, digits, `-`, `_`)
//! and then either nothing or a colon and a value. Block comments never are.
//! - If the word is one of ours, whatever its case and be it with `_` for `-`, it is a directive, and a value that is wrong
//!   is an error.
//! - If it is nearly one of ours, written in lower case, it is an error that names the one that was meant. Nearly means at
//!   most two letters off; for `lint` and `phase`, which are near to common words, the value must be right as well
//!   (`-- fase: expand`, but not `-- phrase: hello`).
//! - If nothing but the colon is missing (`-- lock-timeout 5s`, `-- phase = expand`), it is an error as well.
//! - Everything else is prose: `-- Author: Bob`, `-- lint the table`, `-- note: phase two`.
//!
//! Further down a directive would do nothing, so one that would be right in front of the first statement is an error there.
//! Prose (`-- phase: two of three`) is not.
//!
//! The spellings of other tools for [`Directives::no_transaction`] are understood too: `-- +goose NO TRANSACTION`,
//! `-- migrate:up transaction:false`, `-- atlas:txmode none`. What these tools have beyond it is an error where ignoring it
//! would change what runs.

mod error;
mod header;

use std::time::Duration;

use serde::Serialize;

pub use self::error::DirectiveError;
pub(crate) use self::header::Header;

/// The directives of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directives {
    /// `-- no-transaction`: one statement per message, and a rerun resumes where it stopped.
    pub no_transaction: bool,
    /// `-- phase: expand|migrate|contract`.
    pub phase: Option<Phase>,
    /// `-- lock-timeout: 5s`, instead of the one of the settings.
    pub lock_timeout: Option<Duration>,
    /// `-- statement-timeout: 20min`, instead of the one of the settings.
    pub statement_timeout: Option<Duration>,
    /// `-- out-of-order: allow`: it may run after newer ones.
    pub out_of_order: bool,
    /// `-- lint: ignore RULE[, RULE]`, as often as you like.
    pub lint_ignore: Vec<String>,
}

/// The place of a migration in a rollout without downtime. Complete: there is no fourth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Adds what the new program needs and the old one does not mind.
    Expand,
    /// Moves data.
    Migrate,
    /// Removes what only the old program used.
    Contract,
}
