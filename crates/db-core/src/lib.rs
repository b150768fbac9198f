//! What every part of the PostgreSQL layer agrees on: errors that say what may be done about them,
//! the verbs that run statements, and the events that report what happens.
//!
//! ```
//! use db_core::{Action, Cause, Operation, Phase, Signal, SqlState};
//!
//! // A transaction lost a race: nothing of it remains, the whole may run again.
//! let class = Signal::server(SqlState::SERIALIZATION_FAILURE, Phase::Execute).classify();
//! assert_eq!(class.advice.on(Operation::Write), Action::RetryTransaction);
//!
//! // The connection broke while COMMIT was under way: only the server knows the outcome.
//! let class = Signal::new(Cause::Lost, Phase::Commit).classify();
//! assert_eq!(class.advice.on(Operation::Commit), Action::Resolve);
//! ```
//!
//! # Concepts
//! - [`Error`] is opaque. It answers four questions: [what kind](Error::kind), [what happened to the
//!   statement](Error::outcome), [what may be done](Error::advice), and [what to tell a person](Error::report).
//! - [`Signal::classify`] is the one table that decides these answers. It is pure.
//! - [`Executor`] runs statements; [`Query`] adds the verbs by cardinality to everything that is one.
//! - [`Batch`] is several statements that are sent together, [`Answer`] what one of them gave.
//! - [`Acquire`] is a pool of such connections to one server.
//! - [`Observer`] is told of events; [`Log`] writes them with `tracing`, [`Observers`] passes them on to several.
//! - [`query_summary`] and [`without_literals`] say what a statement does, for metrics, traces and logs; [`has_comment`] whether
//!   somebody else has said something in it.
//! - [`Probe`] is one health check.
//! - [`CredentialProvider`] gives the password of each connection that is opened.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `postgres` | yes | [`Executor`], [`Query`], [`Batch`], [`Acquire`], [`FromRow`] and error conversion for `tokio-postgres` |
//!
//! Without it no driver is in the dependency tree.
//!
//! Foreign types in this API: `secrecy`, `jiff::Timestamp`, `serde_json::Value`, and with `postgres` those of
//! `tokio-postgres`.

mod classify;
mod credentials;
mod error;
mod event;
mod plain;
mod probe;
mod redact;
mod report;
mod sql;
mod sqlstate;
mod summary;

#[cfg(feature = "postgres")]
mod acquire;
#[cfg(feature = "postgres")]
mod answer;
#[cfg(feature = "postgres")]
mod driver;
#[cfg(feature = "postgres")]
mod executor;
#[cfg(feature = "postgres")]
mod row;

pub use classify::{Action, Advice, Cause, Class, Kind, Operation, Outcome, Phase, Severity, Signal};
pub use credentials::{CredentialProvider, NoPassword, StaticPassword};
pub use error::{Error, Result, ServerError, Wait};
pub use event::{
    Abandoned, AcquireFailed, Acquired, BreakerChanged, BreakerState, CloseReason, Closed, CommitResolved,
    ConnectFailed, Connected, ConnectionState, EndpointChanged, Executed, GaveUp, GaveUpReason, HighUse,
    Leaked, Log, Observer, Observers, ReadMoved, Released, ResolvedBy, Retried,
};
pub use plain::{NotPlain, plain_statement};
pub use probe::{Finding, Probe, Status};
pub use redact::without_literals;
pub use report::Report;
pub use secrecy::{ExposeSecret, SecretString};
pub use sql::has_comment;
pub use sqlstate::SqlState;
pub use summary::query_summary;

#[cfg(feature = "postgres")]
pub use acquire::Acquire;
#[cfg(feature = "postgres")]
pub use answer::{Answer, Batch};
#[cfg(feature = "postgres")]
pub use db_derive::FromRow;
#[cfg(feature = "postgres")]
pub use executor::{Executor, Params, Query, RowStream};
#[cfg(feature = "postgres")]
pub use row::{FromRow, column as __column};
#[cfg(feature = "postgres")]
pub use tokio_postgres::Row;

/// What the verbs need in scope: `use db_core::prelude::*;`
#[cfg(feature = "postgres")]
pub mod prelude {
    pub use crate::{Executor as _, FromRow, Query as _};
}
