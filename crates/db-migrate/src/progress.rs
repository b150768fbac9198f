//! What a run tells as it goes: a port with empty defaults. Who prints, logs or counts implements it.

use std::time::Duration;

use crate::{Blocker, Direction, Error, Holder, Version};

/// Receives events. Every method does nothing unless it is overridden. Called on the runner's task; must not block.
pub trait Progress: Send + Sync {
    /// Another runner is at work; told once.
    fn waiting(&self, _event: &Waiting<'_>) {}
    /// A file begins.
    fn started(&self, _event: &Started<'_>) {}
    /// A migration was applied and committed.
    fn applied(&self, _event: &Finished<'_>) {}
    /// A migration was rolled back by its down file, and that was committed.
    fn rolled_back(&self, _event: &Finished<'_>) {}
    /// A seed file ran and was committed.
    fn seeded(&self, _event: &Finished<'_>) {}
    /// A file failed. One that runs in a transaction left nothing.
    fn failed(&self, _event: &Failed<'_>) {}
    /// Somebody holds what the running statement needs; told again and again while it lasts. Needs a
    /// [watcher](crate::Migrator::watcher).
    fn blocked(&self, _event: &Blocked<'_>) {}
    /// A file gave way to those who use its tables, and is begun anew after a pause.
    fn retrying(&self, _event: &Retrying<'_>) {}
    /// An index is being built; told again and again while it lasts. Needs a [watcher](crate::Migrator::watcher).
    fn building_index(&self, _event: &IndexBuild<'_>) {}
}

/// Somebody holds what the running statement needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Blocked<'a> {
    /// Who it is.
    pub blockers: &'a [Blocker],
    /// How long the file runs or waits already.
    pub waited: Duration,
}

/// A file is begun anew.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retrying<'a> {
    /// The file.
    pub file: &'a str,
    /// The attempt that comes next, from 2.
    pub attempt: u32,
    /// The pause before it.
    pub pause: Duration,
    /// How long it is tried at most from now on.
    pub left: Duration,
    /// Who was in the way, if that was seen.
    pub blockers: &'a [Blocker],
}

/// An index is being built, by the server's own count.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IndexBuild<'a> {
    /// The index, once it has a name.
    pub index: Option<&'a str>,
    /// Its table.
    pub table: Option<&'a str>,
    /// What the server does for it now, in its words.
    pub phase: &'a str,
    /// How much of this phase is done: blocks, rows, or transactions that it waited for.
    pub done: u64,
    /// How much this phase has in all; zero when it counts nothing.
    pub total: u64,
    /// How long the statement runs.
    pub running: Duration,
}

/// Another runner is at work.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Waiting<'a> {
    /// Who it is, if that is visible.
    pub holder: Option<&'a Holder>,
    /// How long it will be waited for at most.
    pub limit: Duration,
}

/// A file begins.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Started<'a> {
    /// The migration's version.
    pub version: &'a Version,
    /// The migration's name.
    pub name: &'a str,
    /// The file.
    pub file: &'a str,
    /// Where it goes.
    pub direction: Direction,
    /// Its place in the run, from 1.
    pub position: usize,
    /// How many files the run has.
    pub total: usize,
}

/// A file is through.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Finished<'a> {
    /// The migration's version.
    pub version: &'a Version,
    /// The migration's name.
    pub name: &'a str,
    /// The file.
    pub file: &'a str,
    /// From BEGIN to the answer to COMMIT.
    pub duration: Duration,
}

/// A file failed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failed<'a> {
    /// The migration's version.
    pub version: &'a Version,
    /// The file.
    pub file: &'a str,
    /// From BEGIN to the failure.
    pub duration: Duration,
    /// Why.
    pub error: &'a Error,
}

/// Nobody listens.
pub(crate) struct Silent;

impl Progress for Silent {}
