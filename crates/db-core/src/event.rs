//! What a pool tells its observers, and the observer that writes it to the log. What retries tell is in [`retry`], what
//! a cluster tells in [`cluster`].
//!
//! Observers are called on the caller's task and must neither block nor panic.

mod cluster;
mod observers;
mod retry;

use std::panic::Location;
use std::time::Duration;

use crate::Error;

pub use cluster::{EndpointChanged, ReadMoved};
pub use observers::Observers;
pub use retry::{BreakerChanged, BreakerState, CommitResolved, GaveUp, GaveUpReason, ResolvedBy, Retried};

/// Receives events. Every method does nothing unless it is overridden.
pub trait Observer: Send + Sync {
    /// A connection was opened.
    fn connected(&self, _event: &Connected<'_>) {}
    /// A connection could not be opened.
    fn connect_failed(&self, _event: &ConnectFailed<'_>) {}
    /// A connection was handed out.
    fn acquired(&self, _event: &Acquired<'_>) {}
    /// A caller went away without a connection: an error, not a dropped future.
    fn acquire_failed(&self, _event: &AcquireFailed<'_>) {}
    /// More than 80 % of the connections came into use; told once until use falls below again.
    fn high_use(&self, _event: &HighUse<'_>) {}
    /// A connection came back.
    fn released(&self, _event: &Released<'_>) {}
    /// A connection was closed.
    fn closed(&self, _event: &Closed<'_>) {}
    /// A caller has held a connection for suspiciously long; told once for each checkout.
    fn leaked(&self, _event: &Leaked<'_>) {}
    /// A statement ended, well or not.
    fn executed(&self, _event: &Executed<'_>) {}
    /// A statement was given up before its end: its future was dropped.
    fn abandoned(&self, _event: &Abandoned<'_>) {}
    /// A call failed and is about to be tried again.
    fn retried(&self, _event: &Retried<'_>) {}
    /// A call failed for good although it was tried again, or might have been. Not told of errors that no retry would
    /// have helped.
    fn gave_up(&self, _event: &GaveUp<'_>) {}
    /// Connecting is no longer tried, is tried once, or is tried by all again.
    fn breaker_changed(&self, _event: &BreakerChanged<'_>) {}
    /// The server was asked what became of a COMMIT whose answer was lost.
    fn commit_resolved(&self, _event: &CommitResolved<'_>) {}
    /// A server of a cluster is good for something else than before.
    fn endpoint_changed(&self, _event: &EndpointChanged<'_>) {}
    /// A read failed on one server and goes on to another.
    fn read_moved(&self, _event: &ReadMoved<'_>) {}
}

/// A connection was opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Connected<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// `host:port` of the server.
    pub endpoint: &'a str,
    /// From the first packet to the end of authentication.
    pub took: Duration,
}

/// A connection could not be opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectFailed<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// `host:port` of the server.
    pub endpoint: &'a str,
    /// Why.
    pub error: &'a Error,
}

/// A connection was handed out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Acquired<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// How long the caller waited.
    pub waited: Duration,
    /// Connections now in use.
    pub in_use: u32,
    /// The most connections that the pool may hold.
    pub max: u32,
}

/// A caller went away without a connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AcquireFailed<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// Why.
    pub error: &'a Error,
}

/// More than 80 % of the connections are in use.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HighUse<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// Connections in use.
    pub in_use: u32,
    /// The most connections that the pool may hold.
    pub max: u32,
    /// Callers waiting.
    pub waiting: u32,
}

/// A connection came back.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Released<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// How long it was out.
    pub held: Duration,
}

/// A connection was closed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// `host:port` of the server.
    pub endpoint: &'a str,
    /// Why.
    pub reason: CloseReason,
    /// Whether somebody was using it.
    pub state: ConnectionState,
    /// How long it lived.
    pub lived: Duration,
}

/// A caller has held a connection for suspiciously long.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Leaked<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// Where it was acquired.
    pub place: &'a Location<'a>,
    /// How long it has been out.
    pub held: Duration,
}

/// A statement ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Executed<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// `host:port` of the server.
    pub endpoint: &'a str,
    /// Its text as given. Literals in it may be secrets: for a log take [`Executed::statement`].
    pub sql: &'a str,
    /// From its start to the last row; for a stream to the moment when the rows began to arrive.
    pub took: Duration,
    /// Whether that is longer than the pool's limit for slow statements.
    pub is_slow: bool,
    /// How many rows it gave; none when it failed, when it gives no rows, and for a stream.
    pub rows: Option<u64>,
    /// Why it failed, if it did.
    pub error: Option<&'a Error>,
}

/// A statement was given up before its end, by a caller who went away or ran out of patience. What became of it is not known.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Abandoned<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// `host:port` of the server.
    pub endpoint: &'a str,
    /// Its text as given. Literals in it may be secrets: for a log take [`Abandoned::statement`].
    pub sql: &'a str,
    /// From its start to when it was given up.
    pub took: Duration,
    /// Whether that is longer than the pool's limit for slow statements.
    pub is_slow: bool,
}

impl Abandoned<'_> {
    /// The text without its literals, on one line, at most 500 characters of it.
    #[must_use]
    pub fn statement(&self) -> String {
        crate::redact::without_literals(self.sql)
    }
}

impl Executed<'_> {
    /// The text without its literals, on one line, at most 500 characters of it.
    #[must_use]
    pub fn statement(&self) -> String {
        crate::redact::without_literals(self.sql)
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nobody needed it for the idle time-out.
    Idle,
    /// It reached its lifetime.
    Lifetime,
    /// It reached its number of uses.
    Uses,
    /// The server or the network ended it, or a check failed.
    Broken,
    /// It came back in the middle of a transaction or a statement.
    Unclean,
    /// All connections are being replaced.
    Rotated,
    /// The pool became smaller.
    Resized,
    /// A caller took it out of the pool.
    Detached,
    /// The pool was closed.
    PoolClosed,
}

/// Whether a connection was idle or in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// In the pool.
    Idle,
    /// With a caller.
    InUse,
}

/// Opening an event's struct literal to the crates that raise it, since the structs may grow.
macro_rules! constructors {
    ($($event:ident { $($field:ident: $type:ty),* })*) => {$(
        impl<'a> $event<'a> {
            /// The event with all its fields.
            #[must_use]
            pub fn new($($field: $type),*) -> Self {
                Self { $($field),* }
            }
        }
    )*};
}

use constructors;

constructors! {
    Connected { pool: &'a str, endpoint: &'a str, took: Duration }
    ConnectFailed { pool: &'a str, endpoint: &'a str, error: &'a Error }
    Acquired { pool: &'a str, waited: Duration, in_use: u32, max: u32 }
    AcquireFailed { pool: &'a str, error: &'a Error }
    HighUse { pool: &'a str, in_use: u32, max: u32, waiting: u32 }
    Released { pool: &'a str, held: Duration }
    Closed { pool: &'a str, endpoint: &'a str, reason: CloseReason, state: ConnectionState, lived: Duration }
    Leaked { pool: &'a str, place: &'a Location<'a>, held: Duration }
    Abandoned { pool: &'a str, endpoint: &'a str, sql: &'a str, took: Duration, is_slow: bool }
    Executed {
        pool: &'a str, endpoint: &'a str, sql: &'a str, took: Duration, is_slow: bool, rows: Option<u64>,
        error: Option<&'a Error>
    }
}

/// Writes events with `tracing`, target `db::pool`: what went wrong as warnings, connections opened and
/// closed at `debug`, each checkout at `trace`. Retries go to `db::retry`, each at `info`, and at `warn` what was given up.
/// Servers that come into use go to `db::cluster` at `info`, those that go out of it at `warn`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Observer for Log {
    fn connected(&self, event: &Connected<'_>) {
        tracing::debug!(target: "db::pool", pool = event.pool, endpoint = event.endpoint, took = ?event.took,
            "connected");
    }

    fn connect_failed(&self, event: &ConnectFailed<'_>) {
        tracing::warn!(target: "db::pool", pool = event.pool, endpoint = event.endpoint, error = %event.error,
            "connect failed");
    }

    fn acquired(&self, event: &Acquired<'_>) {
        tracing::trace!(target: "db::pool", pool = event.pool, waited = ?event.waited, in_use = event.in_use,
            max = event.max, "acquired");
    }

    fn acquire_failed(&self, event: &AcquireFailed<'_>) {
        tracing::warn!(target: "db::pool", pool = event.pool, error = %event.error, "acquire failed");
    }

    fn high_use(&self, event: &HighUse<'_>) {
        tracing::warn!(target: "db::pool", pool = event.pool, in_use = event.in_use, max = event.max,
            waiting = event.waiting, "more than 80 % of the connections are in use");
    }

    fn released(&self, event: &Released<'_>) {
        tracing::trace!(target: "db::pool", pool = event.pool, held = ?event.held, "released");
    }

    fn leaked(&self, event: &Leaked<'_>) {
        tracing::warn!(target: "db::pool", pool = event.pool, place = %event.place, held = ?event.held,
            "a connection has not come back for long");
    }

    fn executed(&self, event: &Executed<'_>) {
        if event.is_slow {
            tracing::warn!(target: "db::query", pool = event.pool, took = ?event.took,
                statement = event.statement(), "slow statement");
        } else if tracing::enabled!(target: "db::query", tracing::Level::DEBUG) {
            tracing::debug!(target: "db::query", pool = event.pool, took = ?event.took,
                statement = event.statement(), error = event.error.map(tracing::field::display), "statement");
        }
    }

    fn abandoned(&self, event: &Abandoned<'_>) {
        if event.is_slow {
            tracing::warn!(target: "db::query", pool = event.pool, took = ?event.took,
                statement = event.statement(), "slow statement given up");
        } else if tracing::enabled!(target: "db::query", tracing::Level::DEBUG) {
            tracing::debug!(target: "db::query", pool = event.pool, took = ?event.took,
                statement = event.statement(), "statement given up");
        }
    }

    fn closed(&self, event: &Closed<'_>) {
        match event.reason {
            CloseReason::Broken | CloseReason::Unclean => {
                tracing::warn!(target: "db::pool", pool = event.pool,
                endpoint = event.endpoint, reason = ?event.reason, state = ?event.state, lived = ?event.lived,
                "connection removed")
            }
            _ => tracing::debug!(target: "db::pool", pool = event.pool, endpoint = event.endpoint,
                reason = ?event.reason, state = ?event.state, lived = ?event.lived, "connection removed"),
        }
    }
    fn retried(&self, event: &Retried<'_>) {
        retry::log_retried(event);
    }

    fn gave_up(&self, event: &GaveUp<'_>) {
        retry::log_gave_up(event);
    }

    fn breaker_changed(&self, event: &BreakerChanged<'_>) {
        retry::log_breaker_changed(event);
    }

    fn commit_resolved(&self, event: &CommitResolved<'_>) {
        retry::log_commit_resolved(event);
    }

    fn endpoint_changed(&self, event: &EndpointChanged<'_>) {
        cluster::log_endpoint_changed(event);
    }

    fn read_moved(&self, event: &ReadMoved<'_>) {
        cluster::log_read_moved(event);
    }
}
