//! The pools that are compared, each with its own driver or the one that it is made for.
//!
//! # What is made equal
//! - 20 connections each, all open before anything is measured; no limit to the queue; 30 s of patience.
//! - Statements are prepared once for each connection and kept: by the pool or driver where it has a cache, by hand for
//!   bb8-postgres, which has none.
//! - The same statements, parameters and decoded values; see [`workload`](crate::workload). diesel-async writes its own
//!   SQL, which comes to the same.
//! - No TLS, one TCP connection to the same server, one runtime of tokio.
//!
//! # What is in favour of the peers
//! - Checks on acquire are off wherever they can be turned off: bb8 and sqlx make a round trip before each use by
//!   default, and diesel-async asks `SELECT 1`. Ours checks what was idle for 500 ms, as it does by default.
//! - Ours keeps the rest of its defaults: it replaces a connection after 7,500 uses, sets time-outs in every session, and
//!   tells an observer of every acquire. No peer does these by default.
//!
//! # What cannot be made equal
//! - sqlx makes a round trip on every release (`ping`), in a task of its own. There is no setting for it.
//! - sqlx drives the socket on the caller's task; all others have a task for each connection. With one task this saves it
//!   a change of context for each answer.
//! - Which idle connection is taken is left at each pool's default: ours takes the one that was used last, the peers take
//!   them in turn. With one task ours therefore keeps to one session of the server.

mod bb8;
mod deadpool;
mod diesel;
mod ours;
mod pgbench;
mod sqlx;

use anyhow::Result;
use serde::Serialize;

pub(crate) use self::bb8::Bb8;
pub(crate) use self::deadpool::Deadpool;
pub(crate) use self::diesel::Diesel;
pub(crate) use self::ours::Ours;
pub(crate) use self::pgbench::Pgbench;
pub(crate) use self::sqlx::Sqlx;
use crate::workload::Item;

/// A pool that takes part.
pub(crate) trait Contestant: Sized + Send + Sync + 'static {
    /// A connection in use; goes back when it is dropped.
    type Guard<'a>: Send;

    /// Opens a pool of 20 connections, not necessarily all of them at once.
    fn open(url: &str) -> impl Future<Output = Result<Self>> + Send;

    /// Acquires a connection and does nothing with it.
    fn acquire(&self) -> impl Future<Output = Result<Self::Guard<'_>>> + Send;

    /// Acquires a connection and reads one row.
    fn select(&self, key: i64) -> impl Future<Output = Result<Item>> + Send;

    /// Acquires a connection and runs the transaction.
    fn transaction(&self, key: i64) -> impl Future<Output = Result<()>> + Send;

    /// The same statements in one transaction when none of them waits for what another one gives. Whoever has no quicker
    /// way for that runs the transaction.
    fn batch(&self, key: i64) -> impl Future<Output = Result<()>> + Send {
        self.transaction(key)
    }

    /// Acquires a connection and inserts one row, by a statement that commits by itself.
    fn insert(&self, item: i64, n: i64) -> impl Future<Output = Result<()>> + Send;

    /// Acquires a connection and runs the long statement.
    fn pause(&self) -> impl Future<Output = Result<()>> + Send;

    /// Closes the pool; what remains of it ends when it is dropped.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The contestants by name. A further one of ours, with other settings, is a type beside [`Ours`] in `ours.rs`, a name here,
/// an arm in [`race`](crate::race) and [`micro`](crate::micro), and an entrant of [courses](crate::course).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Name {
    #[serde(rename = "db-pool")]
    Ours,
    #[serde(rename = "deadpool-postgres")]
    Deadpool,
    #[serde(rename = "bb8-postgres")]
    Bb8,
    #[serde(rename = "sqlx")]
    Sqlx,
    #[serde(rename = "diesel-async")]
    Diesel,
    #[serde(rename = "pgbench")]
    Pgbench,
}

impl Name {
    /// Those that are pools.
    pub(crate) const POOLS: [Self; 5] = [Self::Ours, Self::Deadpool, Self::Bb8, Self::Sqlx, Self::Diesel];

    /// The name of its crate, or its own.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Ours => "db-pool",
            Self::Deadpool => "deadpool-postgres",
            Self::Bb8 => "bb8-postgres",
            Self::Sqlx => "sqlx",
            Self::Diesel => "diesel-async",
            Self::Pgbench => "pgbench",
        }
    }
}
