//! A PostgreSQL connection pool in which waiting is first come, first served, and a wrong password is reported as
//! one, not as a time-out.
//!
//! ```no_run
//! use db_core::prelude::*;
//! use db_pool::{Pool, Settings};
//!
//! # async fn example() -> db_core::Result<()> {
//! let target = "postgres://app:secret@localhost/shop".parse().expect("a connection string");
//! let pool = Pool::open(target, Settings::default()).await?;
//!
//! let paid: i64 = pool.one("SELECT count(*) FROM orders WHERE paid = $1", &[&true]).await?;
//! let id: i64 = pool
//!     .tx(async |tx| {
//!         tx.execute("UPDATE orders SET paid = true WHERE id = $1", &[&7_i64]).await?;
//!         tx.one("INSERT INTO payments (order_id) VALUES ($1) RETURNING id", &[&7_i64]).await
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - **A gate in front of the store.** A FIFO semaphore admits as many callers as there may be connections. bb8
//!   behind it stores idle connections and never has a waiter of its own, so nobody is overtaken.
//! - **Connect errors are published.** Whoever waits for a connection learns at once that the password, the
//!   database or the host is wrong. Transient failures are retried a few times with growing pauses.
//! - **Only clean connections are handed out.** A transaction that was left open is rolled back first; a connection in
//!   the middle of a statement is closed, after the statement has been cancelled on the server.
//! - **[`Settings`]** are plain fields, each with its reason.
//!
//! Foreign types in this API: `tokio_postgres::Config`, `jiff::Timestamp`, and those of `db-core`.

mod checkout;
mod conn;
mod connector;
mod gate;
mod maintain;
mod physical;
mod pool;
mod release;
mod server;
mod settings;
mod stats;
mod tx;

pub use conn::Conn;
pub use connector::endpoint;
pub use pool::{CloseError, Pool};
pub use server::ServerInfo;
pub use settings::{ConnectRetry, InvalidSettings, Settings};
pub use stats::Stats;
pub use tx::Tx;
