//! What operators and their pages ask of a database beyond its verbs: its settings, a server taken out, a statement cancelled,
//! the way down.

use db_core::{Query, Result};
use db_health::Snapshot;
use tokio_util::sync::CancellationToken;

use crate::Database;
use crate::config::{Environment, Shown};
use crate::migrations_watch::MigrationFigures;

/// There is no server of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no server {name:?}, only {known}")]
pub struct NoSuchServer {
    name: String,
    known: String,
}

impl Database {
    /// Gives a server no further reads, without an error to anybody, until [`Database::restore`]. Writes are not held back.
    ///
    /// # Errors
    /// When there is none of this name; the error lists those that there are.
    pub fn drain(&self, server: &str) -> Result<(), NoSuchServer> {
        self.set_drained(server, true)
    }

    /// Ends [`Database::drain`].
    ///
    /// # Errors
    /// As [`Database::drain`].
    pub fn restore(&self, server: &str) -> Result<(), NoSuchServer> {
        self.set_drained(server, false)
    }

    fn set_drained(&self, server: &str, is_drained: bool) -> Result<(), NoSuchServer> {
        let Some(replicas) = &self.inner.replicas else {
            return Err(NoSuchServer {
                name: server.to_owned(),
                known: "one, which takes everything".to_owned(),
            });
        };
        let cluster = replicas.cluster();
        let done = if is_drained { cluster.drain(server) } else { cluster.restore(server) };
        done.map_err(|unknown| NoSuchServer { name: unknown.name, known: unknown.known })
    }

    /// Cancels what another session runs on the server that takes writes; whether there is such a session. What it ran gets
    /// SQLSTATE 57014. Goes over a connection beside the pool, which may be full of what is to be cancelled.
    ///
    /// # Errors
    /// Those of a statement, and when our role may not cancel that session.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not cancel it.
    pub async fn cancel(&self, process_id: i32) -> Result<bool> {
        let question = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1";
        let operator = self.inner.operator.client().await?;
        let cancelled: Option<bool> = operator.one_or_none(question, &[&process_id]).await?;
        Ok(cancelled.unwrap_or_default())
    }

    /// Looks at every component now, and gives what was seen; what is being looked at already is waited for.
    ///
    /// # Cancel safety
    /// Looks that this began are given up when the future is dropped; the next ones come at their intervals.
    pub async fn look_now(&self) -> Snapshot {
        self.inner.monitor.run_now().await
    }

    /// Says from now on that the service is not ready, so that it gets no new requests, and ends streams of news. Everything
    /// goes on working until [`Database::close`].
    pub fn shut_down(&self) {
        self.inner.monitor.shut_down();
        self.inner.going_down.cancel();
    }

    /// Cancelled once [`Database::shut_down`] or [`Database::close`] was called.
    #[must_use]
    pub fn going_down(&self) -> CancellationToken {
        self.inner.going_down.clone()
    }

    /// What kind of installation this is.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.inner.environment
    }

    /// Each variable with its value and source when it was opened, secrets masked.
    #[must_use]
    pub fn settings(&self) -> &[Shown] {
        &self.inner.settings
    }

    /// Where the migrations stood at the last look; none without [`Builder::migrations`](crate::Builder::migrations), and before
    /// the first look.
    #[must_use]
    pub fn migrations(&self) -> Option<MigrationFigures> {
        self.inner.migrations.as_ref()?.figures()
    }
}
