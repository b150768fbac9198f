//! Health checks that run in the background, so that asking for the health of a service costs nothing and never waits
//! for the database.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use db_health::{Check, ConnectionProbe, Monitor, OwnConnection, RoleProbe, TransactionsProbe, view};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target: tokio_postgres::Config = "postgres://app:secret@localhost/shop".parse()?;
//! let server = Arc::new(OwnConnection::new(target.clone()));
//! let transactions = TransactionsProbe::new("transactions", server.clone());
//! let monitor = Monitor::start(vec![
//!     Check::new(ConnectionProbe::new("postgres", target)),
//!     Check::new(RoleProbe::primary("role", server)).part_of("postgres"),
//!     Check::new(transactions).part_of("postgres").non_critical().interval(Duration::from_secs(30)),
//! ]);
//!
//! let snapshot = monitor.snapshot();
//! println!("{}: {}", snapshot.status(), view::plain(&snapshot));
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - A [`Probe`](db_core::Probe) looks once. A [`Check`] says how often, with which time limit, and whether the service
//!   can live without the component.
//! - A result is **damped**: it takes several failures in a row to become unhealthy, and several successes to recover.
//! - A result has an **age**. One older than three intervals and a time limit is unhealthy itself: the monitor
//!   hangs.
//! - Components form a **tree** by [`Check::part_of`]: what is wrong in a part is wrong in the whole of it.
//! - A service **starts** until everything critical has been well once ([`Snapshot::is_started`]), and **shuts down** from
//!   [`Monitor::shut_down`] on: it is not ready any more, while the checks go on until [`Monitor::stop`].
//! - [`Monitor::run_now`] looks without waiting for the interval; [`Monitor::changes`] tells what changed.
//! - [`view`] turns a [`Snapshot`] into JSON.
//! - A [`Window`] listens to pools and retries, and knows the figures of the last minute.
//! - [`Alerts`] looks at [`Rule`]s in the background and tells each firing and its end to [sinks](AlertSink). [`rules`] has
//!   those that most services want. How often a sink is told is bounded.
//! - [`recommend`] says in words what could be done about figures that are not well.
//!
//! # Probes
//! | probe | asks | can find |
//! |---|---|---|
//! | [`ConnectionProbe`] | a server, over a connection of its own | the reasons below |
//! | [`ExecutorProbe`] | the same through any [`Executor`](db_core::Executor), such as somebody's pool | the reasons below |
//! | [`RoleProbe`] | is it the primary, does it take writes | `not_primary`, `read_only`, `not_standby` |
//! | [`DiskProbe`] | can it write to its disk | `disk_full`, `read_only` |
//! | [`TransactionsProbe`] | is one open for too long | `long_transaction`, `idle_in_transaction`, `prepared_transaction` |
//! | [`WraparoundProbe`] | are there transaction ids left | `wraparound` |
//! | [`PoolProbe`] | the figures of a pool | `saturated`, `paused` |
//! | [`LagProbe`] | the lag of a replica | `lag`, `lag_unknown` |
//! | [`MigrationsProbe`], [`IntegrityProbe`] | whoever knows the migrations | `migrations_pending`, `schema_drift` |
//! | `RedisProbe` | a Redis, with feature `redis` | `authentication`, `loading` |
//! | [`FnProbe`], [`AsyncProbe`] | a function of yours | what it says |
//!
//! Those that ask a server over SQL take an [`Executor`](db_core::Executor): give them an [`OwnConnection`], which all of them
//! may share. A look that fails is unhealthy with one of `unreachable`, `timeout`, `authentication`, `no_database`, `no_privilege`,
//! `not_accepting`, `too_many_connections`, `out_of_memory`, `disk_full`, `read_only`, `busy`, `panicked` or `failed`; a component says
//! `starting` before its first look, `stale` when its last is too old, `recovering` while it is well but not for long enough.
//! These words are all that a stranger is told; error texts and figures are for insiders.
//!
//! # A check of your own
//! A function, when it neither waits nor fails:
//!
//! ```
//! use db_core::Finding;
//! use db_health::{Check, FnProbe};
//!
//! # fn jobs_waiting() -> u32 { 0 }
//! let queue = FnProbe::new("queue", || match jobs_waiting() {
//!     jobs if jobs > 1_000 => Finding::degraded("backlog").with("jobs", jobs),
//!     jobs => Finding::healthy().with("jobs", jobs),
//! });
//! let check = Check::new(queue).non_critical().internal();
//! ```
//!
//! Anything else, here whether a table has what nobody can work without; an error is unhealthy by itself:
//!
//! ```
//! use async_trait::async_trait;
//! use db_core::{Executor, Finding, Probe, Query, Result};
//!
//! struct Prices<E>(E);
//!
//! #[async_trait]
//! impl<E: Executor> Probe for Prices<E> {
//!     fn name(&self) -> &str {
//!         "prices"
//!     }
//!
//!     async fn check(&self) -> Result<Finding> {
//!         let prices: i64 = self.0.one("SELECT count(*) FROM prices WHERE valid_until > now()", &[]).await?;
//!         Ok(if prices > 0 { Finding::healthy() } else { Finding::unhealthy("no_prices") })
//!     }
//! }
//! ```
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `redis` | no | `RedisProbe` |
//! | `webhook` | no | a [sink](AlertSink) that posts signed JSON, and what a receiver checks the signature with |
//!
//! Foreign types in this API: those of `db-core`, `jiff::Timestamp`, `serde_json::Value`, `tokio_postgres::Config`.

mod alerts;
mod changes;
mod check;
mod damper;
mod monitor;
mod own_connection;
mod probe;
mod reason;
mod recommend;
mod slot;
mod snapshot;
mod tree;
pub mod view;
mod window;

pub use alerts::{
    Alert, AlertSink, AlertState, Alerts, LogSink, Notice, NoticeState, Reading, Rule, Undelivered, rules,
};
#[cfg(feature = "webhook")]
pub use alerts::{SignatureError, WebhookError, WebhookSink, verify_signature};
pub use changes::{Change, Changes};
pub use check::{Aspect, Check};
pub use monitor::Monitor;
pub use own_connection::OwnConnection;
#[cfg(feature = "redis")]
pub use probe::RedisProbe;
pub use probe::{
    AsyncProbe, ConnectionProbe, DiskProbe, ExecutorProbe, FnProbe, IntegrityProbe, LagProbe,
    MigrationsProbe, PoolFigures, PoolProbe, RoleProbe, TransactionsProbe, WraparoundProbe,
};
pub use recommend::{PoolUse, Recommendation, Situation, recommend};
pub use snapshot::{Component, Snapshot};
pub use window::{ErrorCount, SlowStatement, Window, WindowFigures};
