//! Finds a local PostgreSQL and runs it as a child process that never outlives its parent.
//!
//! ```no_run
//! use db_embedded::{Search, Server, Settings};
//!
//! # async fn example() -> Result<(), db_embedded::Error> {
//! let settings = Settings::new("/var/lib/example").search(Search::with_path(std::env::var_os("PATH")));
//! let server = Server::start(settings).await?;
//! assert_eq!(server.host(), "127.0.0.1");
//! // Hand `server.url()` to any client; it is a secret, because it holds the password.
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - **Installation**: a folder that holds both `postgres` and `initdb`. [`installations`] finds them in `PATH` and
//!   in the folders the distributions use, newest first. A data folder that exists is only ever opened with its own
//!   major version.
//! - **Folder**: everything of one server lives in one folder: `data` (PGDATA), `password` (mode 0600), `lock`,
//!   `state`, `postgres.log`. `data` appears by a rename after `initdb` has succeeded, so that an interrupted first
//!   start leaves nothing that the next one could trip over.
//! - **Owner and attached**: the first [`Server`] on a folder holds `lock` and owns the process. Every further one, in
//!   this process or in another, *attaches*: it waits until the owner's server is ready and gives the same URL;
//!   stopping it stops nothing.
//! - **Supervisor**: a small `/bin/sh` stands between us and PostgreSQL and reads from a pipe that only we can write
//!   to. However we end (stop, drop, panic, `SIGKILL`) the pipe closes and the shell stops PostgreSQL: a fast shutdown
//!   first, an immediate one three seconds later.
//! - **User**: PostgreSQL refuses to run as root. When we are root it runs as the owner of the data folder, else as
//!   `postgres`, else as `nobody`.
//! - **Standby**: a folder may begin as a copy of another server instead of an empty database
//!   ([`Settings::standby_of`]), and be made one later ([`Server::follow`]). It needs `pg_basebackup`.
//! - **Network**: only 127.0.0.1, on a port that is chosen free and kept as long as it stays free; no Unix socket;
//!   `scram-sha-256` with a random password.
//!
//! The crate takes values: it reads no environment variable and prints nothing (it reports through `tracing`). It
//! runs on Unix only.
//!
//! # Features
//! | feature    | default | effect |
//! |------------|---------|--------|
//! | `download` | off     | fetches a build of PostgreSQL 17 from `theseus-rs/postgresql-binaries` when none is installed |

#[cfg(not(unix))]
compile_error!("db-embedded needs the signals, pipes and users of a Unix system");

mod error;
mod find;
mod hint;
mod version;

mod exit;
mod server;
mod settings;

#[cfg(feature = "download")]
mod download;
mod folder;
mod initialise;
mod install;
mod launch;
mod log;
mod pidfile;
mod process;
mod standby;
mod state;
mod supervisor;
mod user;

pub use error::Error;
pub use exit::Exit;
pub use find::{Installation, Search, installations};
pub use server::{Server, Shutdown};
pub use settings::Settings;
pub use version::Version;
