//! Health checks that run in the background, so that asking for the health of a service costs nothing and never waits
//! for the database.
//!
//! ```no_run
//! use db_health::{Check, ConnectionProbe, Monitor, view};
//!
//! # async fn example() {
//! let target = "postgres://app:secret@localhost/shop".parse().expect("a connection string");
//! let monitor = Monitor::start(vec![Check::new(ConnectionProbe::new("postgres", target))]);
//!
//! let snapshot = monitor.snapshot();
//! println!("{}: {}", snapshot.status(), view::plain(&snapshot));
//! # }
//! ```
//!
//! # Concepts
//! - A [`Probe`](db_core::Probe) looks once. A [`Check`] says how often, with which time limit, and whether the service
//!   can live without the component.
//! - A result is **damped**: it takes several failures in a row to become unhealthy, and several successes to recover.
//! - A result has an **age**. One older than three intervals and a time limit is unhealthy itself: the monitor
//!   hangs.
//! - [`ConnectionProbe`] keeps a connection of its own, so that a busy pool is not taken for a dead server.
//!   [`ExecutorProbe`] goes through any [`Executor`](db_core::Executor), for example a pool of another crate.
//! - [`view`] turns a [`Snapshot`] into JSON.

mod alerts;
mod check;
mod damper;
mod monitor;
mod probe;
mod snapshot;
pub mod view;
mod window;

pub use alerts::{
    Alert, AlertSink, AlertState, Alerts, LogSink, Notice, NoticeState, Reading, Rule, Undelivered, rules,
};
#[cfg(feature = "webhook")]
pub use alerts::{SignatureError, WebhookError, WebhookSink, verify_signature};
pub use check::Check;
pub use monitor::Monitor;
pub use probe::{ConnectionProbe, ExecutorProbe, FnProbe};
pub use snapshot::{Component, Snapshot};
pub use window::{ErrorCount, SlowStatement, Window, WindowFigures};
