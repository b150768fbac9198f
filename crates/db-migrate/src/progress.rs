//! What a run tells as it goes: a port with empty defaults. Who prints, logs or counts implements it.

use std::time::Duration;

use crate::{Direction, Error, Holder, Version};

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
    /// A file failed and left nothing.
    fn failed(&self, _event: &Failed<'_>) {}
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
