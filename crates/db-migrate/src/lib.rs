//! Plain-SQL migrations for PostgreSQL: applied once, recorded, reversible, verified against the catalogue.
//!
//! ```no_run
//! use db_migrate::{Migrations, Migrator, Steps};
//!
//! # async fn example(mut client: tokio_postgres::Client) -> Result<(), db_migrate::Error> {
//! let migrator = Migrator::new(Migrations::from_dir("migrations")?);
//! migrator.up(&mut client, Steps::All).await?;
//! for entry in migrator.status(&client).await?.migrations {
//!     assert!(entry.state.is_applied(), "{} is pending", entry.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - A [`Migration`] is `NNN_name.sql` with an optional `NNN_name-down.sql`; [`Migrations`] is all of them. What exists
//!   has passed all checks that need no server.
//! - [`plan()`] decides what runs from history, files and [`Goal`]. It is pure.
//! - [`Migrator`] executes the plan over any [`tokio_postgres::Client`], be it a connection of its own or lent by a pool.
//!   Each file and its row in the history are one transaction, so a crash leaves the old or the new state, and the
//!   next run goes on. An advisory lock lets one of many runners run while the others wait.
//! - [`Migrator::verify`] replays what is applied in a scratch database and names every object that is not as declared.
//! - [`Progress`] is told what happens; nothing here prints. Every result is `serde::Serialize`.
//!
//! # Why these defaults?
//! `lock_timeout` is 2 s because a migration that waits for a busy table makes every later query on that table wait behind
//! it; failing and running again is cheap, as the transaction leaves nothing. `statement_timeout` is lifted because the
//! session's limit is made for queries. The lock is polled rather than waited for, since a blocked
//! `pg_advisory_lock` holds a snapshot that `CREATE INDEX CONCURRENTLY` of another session waits for.
//!
//! # What a migration can not do here
//! Statements that refuse to run in a transaction (`CREATE INDEX CONCURRENTLY`, `VACUUM`, `CREATE DATABASE`) fail with
//! the server's error and leave nothing.
//!
//! Foreign types in this API: those of `db-core`, `jiff::Timestamp`, `tokio_postgres::Client`.

mod migration;
mod runner;

mod checksum;
mod error;
mod history;
mod plan;
mod progress;
mod script;
mod settings;
mod source;
mod status;
mod verify;
mod version;

mod catalogue;
mod compare;
mod lock;
mod scratch;
mod transaction;

pub use catalogue::ObjectKind;
pub use checksum::Checksum;
pub use compare::{Checked, ObjectState};
pub use error::{Error, Holder, Result};
pub use history::{LogAction, LogEntry, Record, RecordStatus};
pub use migration::{Migration, Migrations};
pub use plan::{Direction, Goal, Plan, PlanError, PlannedStep, Steps, plan};
pub use progress::{Failed, Finished, Progress, Started, Waiting};
pub use runner::{Done, Migrator, Run};
pub use scratch::Connect;
pub use script::{Refusal, Script};
pub use settings::{HistoryTable, InvalidTable, Settings};
pub use source::SourceError;
pub use status::{MigrationStatus, State, Status};
pub use verify::{FileDrift, FileState, Verification};
pub use version::{InvalidVersion, Version};
