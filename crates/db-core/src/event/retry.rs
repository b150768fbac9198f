//! What retries tell observers, and how the log says it. Which failure is retried is not decided here.

use std::fmt;
use std::time::Duration;

use super::constructors;
use crate::Outcome;

/// A call failed and is about to be tried again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retried<'a> {
    /// Name of the server or pool.
    pub endpoint: &'a str,
    /// What the caller calls it.
    pub operation: &'a str,
    /// The attempt that failed; the first is 1.
    pub attempt: u32,
    /// The pause before the next one.
    pub delay: Duration,
    /// Why it failed.
    pub error: fmt::Arguments<'a>,
}

/// A call failed for good.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GaveUp<'a> {
    /// Name of the server or pool.
    pub endpoint: &'a str,
    /// What the caller calls it.
    pub operation: &'a str,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why there is no further one.
    pub reason: GaveUpReason,
    /// Why the last one failed.
    pub error: fmt::Arguments<'a>,
}

/// The breaker of an endpoint changed its state.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BreakerChanged<'a> {
    /// Name of the server or pool.
    pub endpoint: &'a str,
    /// The new state.
    pub state: BreakerState,
    /// The last failure to connect; absent once it is closed.
    pub error: Option<fmt::Arguments<'a>>,
}

/// The server was asked what became of a COMMIT.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CommitResolved<'a> {
    /// Name of the server or pool.
    pub endpoint: &'a str,
    /// How it was found out.
    pub by: ResolvedBy,
    /// [`Outcome::Executed`] if it committed; [`Outcome::Unknown`] if nothing is known still.
    pub outcome: Outcome,
}

/// Why a call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaveUpReason {
    /// All attempts are used up.
    Exhausted,
    /// The deadline came, or would come during the pause.
    Deadline,
    /// Too large a share of the calls is being retried.
    Budget,
    /// The breaker is open.
    CircuitOpen,
    /// A later attempt failed in a way that no retry helps.
    NotRetryable,
    /// It may have taken effect: only the server knows.
    OutcomeUnknown,
}

/// Whether connecting is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// By all.
    Closed,
    /// By one caller, whose result decides.
    HalfOpen,
    /// By nobody, for a while.
    Open,
}

/// How the outcome of a COMMIT was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolvedBy {
    /// By a row that the transaction wrote.
    Marker,
    /// By the status of its transaction id.
    Xid,
}

constructors! {
    Retried {
        endpoint: &'a str, operation: &'a str, attempt: u32, delay: Duration, error: fmt::Arguments<'a>
    }
    GaveUp {
        endpoint: &'a str, operation: &'a str, attempts: u32, reason: GaveUpReason, error: fmt::Arguments<'a>
    }
    BreakerChanged { endpoint: &'a str, state: BreakerState, error: Option<fmt::Arguments<'a>> }
    CommitResolved { endpoint: &'a str, by: ResolvedBy, outcome: Outcome }
}

pub(super) fn log_retried(event: &Retried<'_>) {
    tracing::info!(target: "db::retry", endpoint = event.endpoint, operation = event.operation,
        attempt = event.attempt, delay = ?event.delay, error = %event.error, "trying again");
}

pub(super) fn log_gave_up(event: &GaveUp<'_>) {
    if event.reason == GaveUpReason::CircuitOpen {
        // All callers are refused until it closes; that it opened was a warning of its own.
        tracing::debug!(target: "db::retry", endpoint = event.endpoint, operation = event.operation,
            error = %event.error, "refused");
        return;
    }
    tracing::warn!(target: "db::retry", endpoint = event.endpoint, operation = event.operation,
        attempts = event.attempts, reason = ?event.reason, error = %event.error, "gave up");
}

pub(super) fn log_breaker_changed(event: &BreakerChanged<'_>) {
    tracing::warn!(target: "db::retry", endpoint = event.endpoint, state = ?event.state,
        error = event.error.map(tracing::field::display), "breaker changed");
}

pub(super) fn log_commit_resolved(event: &CommitResolved<'_>) {
    tracing::warn!(target: "db::retry", endpoint = event.endpoint, by = ?event.by, outcome = ?event.outcome,
        "asked what became of a COMMIT");
}
