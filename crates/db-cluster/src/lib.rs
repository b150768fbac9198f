//! Sends each statement to the right server of a PostgreSQL cluster, also while servers fail: writes to the primary, wherever
//! that is by now, reads to a replica that is fresh enough, over any pools.
//!
//! ```no_run
//! use db_cluster::Cluster;
//! use db_core::{Acquire, Query};
//!
//! # async fn example<P: Acquire>(first: P, second: P, third: P) -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder()
//!     .endpoint("db-1:5432", first)
//!     .endpoint("db-2:5432", second)
//!     .endpoint("db-3:5432", third)
//!     .start()
//!     .await?;
//!
//! let primary = cluster.primary().await?;
//! primary.one::<i64>("INSERT INTO orders (item) VALUES ($1) RETURNING id", &[&"tea"]).await?;
//! let token = primary.token().await?;
//! drop(primary);
//!
//! // Perhaps in another process, to which the token went as text: sees the order, on a replica if one has it already.
//! let orders: i64 = cluster.read().after(token).one("SELECT count(*) FROM orders", &[]).await?;
//! # Ok(()) }
//! ```
//!
//! # Concepts
//! - An **endpoint** is one server with its pool, which is anything that is [`Acquire`](db_core::Acquire). Configuration names
//!   servers and never roles: each is asked twice a second what it is. [`Standing`] is what it is good for.
//! - **The primary** is the one on the highest timeline that was ever seen. After a failover the old one is severed, and if it
//!   comes back it gets nothing: each promotion begins a new timeline, and the old primary is on the old one. A server of
//!   another cluster is known by its system identifier.
//! - **A replica** takes reads while it is within the limit of [`Lag`], in bytes and in time, which is measured by where the
//!   primary was when. Of two at random the one with less to do takes the read.
//! - A [`ConsistencyToken`] stands for everything committed up to a moment. A read [after](Read::after) it sees that: the
//!   session that reads is asked what it has replayed, and nothing remembered decides.
//! - **A read fails over** by itself, when its server fails or goes out of use meanwhile. A write never does: whether it may
//!   run again is for the caller to say, or for `db-retry`. Who asks for the [primary](Cluster::primary) waits until there is
//!   one.
//!
//! # What it does not do
//! It promotes nobody: that is the work of Patroni, of a managed service, or of a person. While the primary and everything that
//! it wrote are cut off from us but not from others, replicas that keep replaying are taken as fresh as the last look at the
//! primary allows; [`Read::no_staler_than`] counts that time as staleness.
//!
//! # Privileges
//! The role needs to be able to log in, and should have `pg_read_all_stats`: without it a standby's new timeline is known
//! only with its next restartpoint, and until then reads go elsewhere.
//!
//! Foreign types in this API: `tokio::time::Instant`, `jiff::Timestamp`.

mod assess;
mod attempt;
mod balance;
mod cluster;
mod endpoint;
mod lag;
mod lsn;
mod monitor;
mod preference;
mod read;
mod route;
mod routed;
mod seldom;
mod settings;
mod shared;
mod sighting;
mod standing;
mod stats;
mod token;

pub use cluster::{Builder, Cluster, UnknownEndpoint};
pub use lag::Lag;
pub use lsn::{InvalidLsn, Lsn};
pub use preference::{Preference, UnknownPreference};
pub use read::Read;
pub use routed::Routed;
pub use settings::Settings;
pub use standing::{Reason, Standing};
pub use stats::EndpointStats;
pub use token::{ConsistencyToken, TokenError};
