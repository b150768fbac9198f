//! A PostgreSQL connection pool in which waiting is first come, first served, a connection comes back clean or not at all,
//! and a wrong password is reported as one, not as a time-out.
//!
//! ```no_run
//! use db_core::prelude::*;
//! use db_pool::{Pool, Settings, Target};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target: Target = "postgres://app:secret@localhost/shop".parse()?;
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
//! - **The gate.** A FIFO semaphore admits as many callers as there may be connections, and holds a bounded number of others
//!   in their order. bb8 behind it stores idle connections and never has a waiter of its own, so nobody is overtaken.
//! - **Seats and openers.** A connection has a seat from before it is opened until after it is closed, so the server never
//!   sees more than the maximum. At most two are opened at once, by tasks that outlive an impatient caller. Transient
//!   failures pause all of them together. Every failure is published: whoever waits learns at once that the password, the
//!   database or the host is wrong.
//! - **The wire tap.** The stream below the driver is followed frame by frame. From it the pool knows whether a transaction is
//!   open, what the server still owes, and what was done to the session. The driver tells none of it.
//! - **The statement cache.** Each connection prepares a statement once and closes on the server what it evicts. A statement
//!   that the server has forgotten, or whose result has another type since a migration, is prepared again; inside a
//!   transaction that is the caller's error.
//! - **Clean connections.** When a connection comes back, what still runs is cancelled on the server, an open transaction is
//!   rolled back, and what [`Reset`] names is undone. Then it is used again. One that cannot be cleaned is closed. Its
//!   place stays taken until then.
//! - **Time-outs.** Each phase has one: acquiring, opening, checking, and the statement, which the server ends and which is not
//!   waited for when the server is silent. An error names the phase.
//! - **[`Target`]** is where to connect and how: connection strings in both forms of libpq, several hosts,
//!   `target_session_attrs`, TLS by rustls. What it does not support it refuses. Without `sslmode` a server elsewhere must
//!   show a valid certificate.
//! - **Credentials** are asked for at each physical connect: [`FilePassword`], [`CommandPassword`], [`PasswordFn`], or any
//!   `CredentialProvider` of `db-core`.
//! - **Operations.** [`Pool::rotate`], [`Pool::pause`] and [`Pool::resume`], [`Pool::resize`], [`Pool::close`]; all but the
//!   last without an error to a caller who gets a connection within its time-out. [`Pool::listen`] hears notifications,
//!   [`Conn::copy_in`] and [`insert_columns`] store many rows, [`Conn::detach`] takes a connection out.
//! - **Events and figures.** An observer of `db-core` is told of connections, checkouts, leaks with their place, and statements
//!   with their time; [`Pool::stats`] has the figures.
//! - **Spans.** Each statement is a span of `tracing` (target `db::span`, level `debug`) with the names of the OpenTelemetry
//!   conventions, a child of the caller's. Its text has no literals.
//!
//! # Lanes
//! A connection that one caller has is idle between its request and the answer, and each statement costs a write, a read and two
//! wake-ups. Short statements therefore share a few of the pool's connections, on which those of many callers are in flight at the
//! same time, in one write and one read together. It happens by itself for the verbs of [`Pool`], which are transactions of their
//! own, and nobody sees a difference but in speed:
//! - **Which statements** is learned. One of which nothing is known has a connection of its own. When it was short there for a while
//!   it may use lanes; a slow run that is no rare one, or a large result, sends it back, for longer each time. What touches the
//!   session (`SET`, cursors, locks of the session, temporary tables, whatever is not plainly SELECT, INSERT, UPDATE, DELETE, MERGE
//!   or VALUES) never does; that is read from its text. [`Pool::lane_uses`] says of each statement why it does or does not.
//! - **Nobody waits long behind another.** Statements wait in one line for whichever lane has room first. A lane has room for what keeps
//!   its server at work and little more, and for nothing while its oldest statement is late: one that stops holds up a few. Where
//!   the line is long the rest of the pool takes over. A lane has a `statement_timeout` of its own, and what is stopped by it runs
//!   once more on a connection of its own.
//! - **Whoever goes away** while its statement waits takes it along. What was sent is left to its end: nothing is cancelled on a lane,
//!   where it might hit another one.
//! - **A lane that is lost** fails what was in flight as any lost connection would: what was not sent runs elsewhere, the rest is
//!   unknown. Others open after a moment.
//! - **Lanes are connections of the pool**, within its maximum, a quarter of it at the most. They are replaced as all are, except that
//!   a lane counts as one use however much runs on it, go back when nobody uses them, and give way to callers who wait for long.
//! - **None of it**: [`Autocommit::exclusive`] for a statement, [`LaneSettings::off`] for the pool. There are no lanes behind
//!   [`Pooler::Transaction`] and with [`Reset::Discard`].
//!
//! [`LaneSettings`] has the figures and their reasons.
//!
//! # Settings
//! [`Settings`] is a plain struct. Each field says its default, its minimum and the reason for it. Nothing is read from the
//! environment.
//!
//! # Behind PgBouncer
//! [`Settings::pooler`] says what stands before the server.
//!
//! | | [`Pooler::None`] | [`Pooler::Session`] | [`Pooler::Transaction`] |
//! |---|---|---|---|
//! | settings of the session | in the startup message, by `SET` if refused there | `SET` | `SET LOCAL` in each transaction |
//! | prepared statements | named | named | none: the text and the types of its parameters are sent |
//! | a single statement | as it is | as it is | in a transaction of its own, in one round trip |
//! | what [`Reset`] names | is undone | is undone | is not looked at |
//! | `LISTEN`, `SET`, temporary tables, session locks | work | work | do not |
//! | COPY | works | works | in a transaction |
//!
//! Behind `Transaction`, [`Executor::batch_execute`](db_core::Executor::batch_execute) runs without the settings of the session. Types that the
//! driver does not know (enums, domains, composites) it looks up by named statements of its own, which another session of
//! the server does not know: a statement with such types can fail. Cast them, as in `$1::text::mood` and `mood::text`.
//!
//! # Limits
//! - [`Reset::Light`] undoes what the wire or the statement's text shows: `SET`, `set_config`, `LISTEN`, cursors, advisory
//!   locks. It does not see temporary tables, nor what functions and `DO` blocks do inside; on a lane neither.
//!   [`Reset::Discard`] undoes these too, with a round trip for each use.
//! - `PREPARE`, `DEALLOCATE ALL` and `DISCARD ALL` in SQL cost their connection when it comes back: the driver has prepared
//!   statements of its own there.
//! - [`Settings::read_only`] and the time-outs of the session are defaults: SQL can change them.
//! - A COPY into a table that fails costs its connection: the server may answer it twice, and the driver would take the
//!   second answer for the next statement's. One that is given up does not.
//! - When the future of COMMIT is dropped or the answer is lost, whether it took effect is unknown, and the error says so.
//!
//! # Features
//! None.
//!
//! # Foreign types in this API
//! `tokio_postgres::{Config, Client, Row}` and its `ToSql`, `jiff::Timestamp`, `bytes::Bytes`, `tokio::time::Instant`,
//! `serde::Serialize` on figures, and those of `db-core`, among them `SecretString` of secrecy.

mod acquire;
mod autocommit;
mod batch;
mod bulk;
mod checkout;
mod comment;
mod conn;
mod connect;
mod connector;
mod copy;
mod credentials;
mod detached;
mod gate;
mod histogram;
mod lanes;
mod listen;
mod maintain;
mod operate;
mod physical;
mod pool;
mod release;
mod rows;
mod running;
mod seats;
mod server;
mod session;
mod session_settings;
mod settings;
mod shared;
mod span;
mod statements;
mod stats;
mod store;
mod target;
mod telling;
mod tx;
mod watch;
mod wire;
mod wording;

pub use autocommit::Autocommit;
pub use bulk::{Column, insert_columns};
pub use comment::Commenter;
pub use conn::Conn;
pub use copy::{CopyIn, CopyOut};
pub use credentials::{CommandPassword, FilePassword, PasswordFn};
pub use detached::Detached;
pub use histogram::WaitTimes;
pub use lanes::{LaneSettings, LaneStats, LaneUse};
pub use listen::{Heard, Listener, Notification};
pub use operate::StillInUse;
pub use pool::Pool;
pub use server::ServerInfo;
pub use settings::{ConnectRetry, InvalidSettings, Pooler, Reset, Settings};
pub use stats::{Closings, Stats};
pub use target::{ChannelBinding, ConfigError, Roots, Target, TargetBuilder, TargetSession, Tls, TlsMode};
pub use tx::{Isolation, Tx, TxOptions};
