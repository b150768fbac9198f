//! Retries that cannot multiply an outage and cannot apply a write twice.
//!
//! ```
//! use db_core::{Cause, Error, Phase, Signal};
//! use db_retry::Policy;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> db_core::Result<()> {
//! let mut attempts = 0;
//! let answer = Policy::default()
//!     .run(|| {
//!         attempts += 1;
//!         let refused = || Error::new(Signal::new(Cause::Unreachable, Phase::Connect), "refused");
//!         let result = if attempts < 3 { Err(refused()) } else { Ok("connected") };
//!         async move { result }
//!     })
//!     .await?;
//! assert_eq!((answer, attempts), ("connected", 3));
//! # Ok(()) }
//! ```
//!
//! # Concepts
//! - A [`Policy`] says how often and how long apart. What **may** be retried is the word of the error's classification
//!   ([`Error::advice`](db_core::Error::advice)); a policy only narrows it, by its [`Scope`].
//! - [`Work`] says what is tried: the same lost connection is harmless to a read, and leaves a write in doubt. A write that
//!   may have taken effect is never run again.
//! - A [`Retry`] is a policy with what outlives a call: a [`Budget`] that bounds what all calls retry together, a
//!   [`Breaker`] that stops connecting to what cannot be reached, and an observer.
//! - A deadline is one moment for all attempts and pauses together. Nothing begins after it.
//! - [`Policy::run_when`] retries over any error type: a pool of another crate needs nothing of ours.
//!
//! Retry at one layer only. Inside a transaction nothing is retried but the whole; two layers with three retries each
//! ask a faltering server sixteen times.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `postgres` | no | resolvers of an unknown COMMIT over [`db_core::Executor`](https://docs.rs/db-core) |
//!
//! Without it no driver is in the dependency tree. Foreign types in this API: `tokio::time::Instant`.

mod breaker;
mod budget;
mod call;
mod circuit;
mod decide;
mod delays;
mod policy;
mod retry;
mod run;
mod window;

#[cfg(feature = "postgres")]
mod marker;
#[cfg(feature = "postgres")]
mod resolution;
#[cfg(feature = "postgres")]
mod xid;

pub use breaker::{Breaker, Permit};
pub use budget::{Budget, BudgetSettings};
pub use call::Attempt;
pub use circuit::BreakerSettings;
pub use decide::Work;
pub use policy::{InvalidPolicy, Jitter, Policy, Scope};
pub use retry::Retry;
pub use run::Failed;

#[cfg(feature = "postgres")]
pub use marker::Marker;
#[cfg(feature = "postgres")]
pub use resolution::{Doubt, Resolution};
#[cfg(feature = "postgres")]
pub use xid::Xid;
