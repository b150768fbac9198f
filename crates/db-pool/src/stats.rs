//! The pool's figures at one moment.

use serde::Serialize;

/// Figures of a pool, from [`Pool::stats`](crate::Pool::stats).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Name of the pool.
    pub pool: String,
    /// Connections open.
    pub total: u32,
    /// Of these, nobody uses.
    pub idle: u32,
    /// Connections with a caller.
    pub in_use: u32,
    /// Callers waiting for one.
    pub waiting: u32,
    /// The most connections, after the server's limit.
    pub max: u32,
    /// The fewest that are kept open.
    pub min: u32,
    /// `in_use` in per cent of `max`.
    pub utilization: f64,
}
