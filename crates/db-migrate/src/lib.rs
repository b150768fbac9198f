//! Plain-SQL migrations for PostgreSQL: applied once, recorded, reversible, verified against the catalogue.
//!
//! ```no_run
//! use db_migrate::{Migrations, Migrator, Steps};
//!
//! # async fn example(client: tokio_postgres::Client) -> Result<(), db_migrate::Error> {
//! let migrator = Migrator::new(Migrations::from_dir("migrations")?);
//! migrator.up(&client, Steps::All).await?;
//! for entry in migrator.status(&client).await?.migrations {
//!     assert!(entry.state.is_applied(), "{} is pending", entry.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - A [`Migration`] is a file that goes up and mostly one that goes down; [`Migrations`] is all of them, from a folder in one
//!   of four layouts, or compiled in by [`embed!`]. What exists has passed all checks that need no server.
//! - [`Directives`] are comments at the top of a file that say how it wants to run.
//! - [`plan()`] decides what runs from history, files and [`Goal`]. It is pure.
//! - [`Migrator`] executes the plan over any [`tokio_postgres::Client`], be it a connection of its own or lent by a pool.
//!   Each file and its row in the history are one transaction, so a crash leaves the old or the new state, and the
//!   next run goes on. An advisory lock lets one of many runners run while the others wait.
//! - A file with `-- no-transaction` runs one statement at a time and keeps its progress, so that the next run goes on behind
//!   what took effect. A statement that may be in a transaction shares one with its progress and runs exactly once. For
//!   one that may not, such as `CREATE INDEX CONCURRENTLY`, the catalogue tells; only for `CALL`, and `DO` with a
//!   COMMIT inside, nothing does: they run again, so write them so that they may.
//! - [`Migrator::verify`] replays what is applied in a scratch database and names every object that is not as declared.
//! - [`Migrator::roundtrip`] proves there that every down file undoes its migration, and [`Migrator::check_data`] looks for rows
//!   that the schema does not allow.
//! - [`Migrator::seed`] puts in the rows that one kind of installation begins with, and proves that doing so again is harmless.
//! - [`Phase`]s split a change for a rollout without downtime, and a [`SchemaRange`] says which schemas a program can work
//!   with.
//! - [`Progress`] is told what happens; nothing here prints. Every result is `serde::Serialize`.
//!
//! # Why these defaults?
//! `lock_timeout` is 2 s because a migration that waits for a busy table makes every later query on that table wait behind
//! it; failing and running again is cheap, as the transaction leaves nothing. `busy_wait` is 2 min: long enough for a
//! backup's or a report's end, short enough for somebody who watches a deployment. `statement_timeout` is lifted because
//! the session's limit is made for queries. The lock is polled rather than waited for, since a blocked
//! `pg_advisory_lock` holds a snapshot that `CREATE INDEX CONCURRENTLY` of another session waits for.
//!
//! # What a migration can not do here
//! Begin or end transactions, use commands of psql, or exchange data with the client (`COPY … FROM STDIN`). Statements that
//! refuse to run in a transaction (`CREATE INDEX CONCURRENTLY`, `VACUUM`, `CREATE DATABASE`) need `-- no-transaction` at the top
//! of their file. All of that is refused before anything runs.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `lint` | no | `lint` finds what should be written differently, `effects` says which locks and rewrites a file brings; both parse SQL with squawk |
//!
//! Foreign types in this API: those of `db-core`, `jiff::Timestamp`, `tokio_postgres::Client`.

mod migration;
mod migrator;

mod checksum;
mod create;
mod directives;
mod embed;
mod error;
mod history;
mod plan;
mod plan_error;
mod progress;
mod range;
mod repair;
mod script;
mod seed;
mod settings;
mod source;
mod statement;
mod status;
mod verify;
mod version;

#[cfg(feature = "lint")]
mod effects;
#[cfg(feature = "lint")]
mod lint;

mod ask;
mod bare;
mod busy;
mod catalogue;
mod compare;
mod lock;
mod message;
mod recover;
mod runner;
mod scratch;
mod session;
mod stepwise;
mod transaction;
mod watch;

pub use catalogue::ObjectKind;
pub use checksum::Checksum;
pub use compare::{Checked, ObjectState};
pub use create::{Created, create};
pub use directives::{DirectiveError, Directives, Phase};
#[cfg(feature = "lint")]
pub use effects::{Effect, LockLevel, StatementEffects, effects};
pub use error::{Error, Holder, Result};
pub use history::{LogAction, LogEntry, Record, RecordStatus, applied_version};
#[cfg(feature = "lint")]
pub use lint::{Finding, Severity, lint};
pub use migration::{Migration, Migrations};
pub use migrator::{Done, Migrator, Run};
pub use plan::{Direction, Goal, Plan, PlannedStep, Steps, plan};
pub use plan_error::PlanError;
pub use progress::{Blocked, Failed, Finished, IndexBuild, Progress, Retrying, Started, Waiting};
pub use range::{InvalidRange, Place, SchemaRange};
pub use repair::{RefusedRow, RepairKind, Repaired, RepairedRow, Repairs};
pub use scratch::Connect;
pub use script::{Open, Refusal, Script};
pub use seed::run::{SeedDone, SeedRun, SeedTable};
pub use seed::{SeedError, Seeds};
pub use settings::{HistoryTable, InvalidTable, LockKind, OutOfOrder, Settings};
pub use source::{MarkerProblem, SourceError};
pub use statement::Statement;
pub use status::{MigrationStatus, State, Status};
pub use verify::data::{DataCheck, DataChecked, DataFinding, DataProblem, DataReport, DataUnchecked};
pub use verify::roundtrip::{Roundtrip, RoundtripMigration, RoundtripReport, RoundtripState};
pub use verify::{FileDrift, FileState, Verification};
pub use version::{InvalidVersion, Version};
pub use watch::Blocker;

#[doc(hidden)]
pub use db_migrate_macros::embedded_files as __embedded_files;
