//! The exact resolver: the transaction leaves a row, and whoever asks what became of it writes the same row first.
//!
//! A lost COMMIT and a lost acknowledgement look the same to the client. A row that is either there or not does not: it
//! survives crash, failover and reused transaction ids. Why it suffices:
//! - The transaction inserts its id before anything else, and commits it with everything else.
//! - Whoever asks inserts the same id as aborted. The unique index lets one of the two in: a conflict means that the
//!   transaction committed, and a success that it has not, and never can: what is left of it will meet our row.
//! - While the transaction still runs the index makes us wait for it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use db_core::{Cause, Error, Executor, Phase, Query, Result, Signal, SqlState};
use uuid::Uuid;

use crate::Resolution;

/// Beyond this age a marker is not resolved: its row may have been cleaned, and its absence would be taken for a rollback.
/// Half of [`KEPT`], so that clocks may differ by hours.
const RESOLVED_FOR: Duration = Duration::from_secs(12 * 3_600);

/// For how long rows are kept at least.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How far the clock that made a marker may be ahead of the server's.
const AHEAD: Duration = Duration::from_secs(3_600);

/// How many rows are cleaned at once, so that no statement holds its locks for long.
const BATCH: u64 = 10_000;

/// The mark of one run of a transaction. As text ([`Display`](fmt::Display), [`FromStr`]) it can outlive the process.
///
/// ```no_run
/// use std::time::Duration;
///
/// use db_core::{Executor, Result};
/// use db_retry::{Marker, Resolution};
///
/// # async fn example(connection: &dyn Executor, another: &dyn Executor) -> Result<()> {
/// let marker = Marker::new();
/// connection.batch_execute("BEGIN").await?;
/// connection.batch_execute(&marker.enlist()).await?;
/// connection.batch_execute("UPDATE accounts SET balance = balance - 10 WHERE id = 7").await?;
/// if connection.batch_execute("COMMIT").await.is_err() {
///     match marker.resolve(another, Duration::from_secs(1)).await? {
///         Resolution::Committed => println!("it committed all the same"),
///         resolution => println!("{resolution}"),
///     }
/// }
/// # Ok(()) }
/// ```
///
/// Each run needs a marker of its own: a transaction that is run again gets a new one. The table ([`Marker::TABLE`]) is
/// found by `search_path`, which must lead both connections to the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Marker(Uuid);

impl Marker {
    /// Makes the table. The role of the application needs `SELECT`, `INSERT` and `DELETE` on it.
    pub const TABLE: &'static str = "CREATE TABLE IF NOT EXISTS db_tx_outcome (\
        id uuid PRIMARY KEY, aborted boolean NOT NULL DEFAULT false, at timestamptz NOT NULL DEFAULT now())";

    /// A fresh one, for one run of a transaction.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The statement to run inside the transaction, right after BEGIN. When it fails with `23505` the transaction has been
    /// given up by somebody who asked for it, and must not go on.
    #[must_use]
    pub fn enlist(&self) -> String {
        format!("INSERT INTO db_tx_outcome (id) VALUES ('{}')", self.0)
    }

    /// Finds out what became of the transaction, and gives it up if it has not committed.
    ///
    /// `connection` is one connection to the current primary, outside of a transaction, and is left so. Asking again gives
    /// the same answer. `lock_timeout` is how long it waits for a transaction that still runs; less than 1 ms counts as
    /// 1 ms. It does not bound a server that does not answer: that is for the caller's deadline.
    ///
    /// # Errors
    /// When the connection or the table is missing, when it is a standby (`25006`), and when the marker is older than
    /// 12 hours. Nothing is known then; all but the last are worth asking again, on another connection.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the connection in a transaction. A pool must not hand it out as it is.
    pub async fn resolve(&self, connection: &dyn Executor, lock_timeout: Duration) -> Result<Resolution> {
        let (is_standby, now): (bool, f64) = connection
            .one("SELECT pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8", &[])
            .await
            .map_err(|error| self.context(error))?;
        if is_standby {
            let signal = Signal::server(SqlState::READ_ONLY_TRANSACTION, Phase::Execute);
            return Err(self.context(Error::new(signal, "a standby answers: ask the primary")));
        }
        self.check_age(now)?;
        let resolved = self.resolve_in_transaction(connection, lock_timeout).await;
        if resolved.is_err() {
            // When this fails as well the connection is gone, and its transaction with it.
            connection.batch_execute("ROLLBACK").await.ok();
        }
        match resolved {
            Err(error) if error.sqlstate() == Some(SqlState::LOCK_NOT_AVAILABLE) => Ok(Resolution::Running),
            resolved => resolved.map_err(|error| self.context(error)),
        }
    }

    async fn resolve_in_transaction(
        &self,
        connection: &dyn Executor,
        lock_timeout: Duration,
    ) -> Result<Resolution> {
        let id = self.0.to_string();
        let millis = lock_timeout.as_millis().clamp(1, i32::MAX as u128).to_string();
        // Whatever the defaults of the session are. Under a stricter level the row of the other would not be seen.
        connection.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        connection.fetch("SELECT set_config('lock_timeout', $1, true)", &[&millis]).await?;
        let fenced = "INSERT INTO db_tx_outcome (id, aborted) VALUES ($1::text::uuid, true) \
                      ON CONFLICT DO NOTHING RETURNING aborted";
        let is_fenced = !connection.fetch(fenced, &[&id]).await?.is_empty();
        let resolution = if is_fenced {
            Resolution::RolledBack
        } else {
            let row = "SELECT aborted FROM db_tx_outcome WHERE id = $1::text::uuid";
            match connection.one_or_none::<bool>(row, &[&id]).await? {
                Some(true) => Resolution::RolledBack,
                Some(false) => Resolution::Committed,
                None => return Err(unexpected("its row went while it was read: ask again")),
            }
        };
        // Only with the fence in place may anybody be told that it is rolled back.
        connection.batch_execute("COMMIT").await?;
        Ok(resolution)
    }

    /// Deletes the rows that are older than `age`, at least 24 hours, in batches; gives their number. To be run now and then.
    ///
    /// # Errors
    /// When `age` is less than 24 hours, and when the connection fails; what was deleted by then stays deleted.
    ///
    /// # Cancel safety
    /// Dropping the future ends it between two batches, or undoes the last.
    pub async fn clean(connection: &dyn Executor, age: Duration) -> Result<u64> {
        if age < KEPT {
            let signal = Signal::new(Cause::Misuse, Phase::Execute);
            let text = format!("markers are kept for at least {} hours", KEPT.as_secs() / 3_600);
            return Err(Error::new(signal, text));
        }
        let sql = format!(
            "DELETE FROM db_tx_outcome WHERE id IN (SELECT id FROM db_tx_outcome \
             WHERE at < now() - $1::float8 * interval '1 second' LIMIT {BATCH} FOR UPDATE SKIP LOCKED)"
        );
        let mut deleted = 0;
        loop {
            let batch = connection.execute(&sql, &[&age.as_secs_f64()]).await?;
            deleted += batch;
            if batch < BATCH {
                return Ok(deleted);
            }
        }
    }

    /// By the server's clock, which is what rows are cleaned by.
    fn check_age(&self, now: f64) -> Result<()> {
        let made = self.0.get_timestamp().map_or(0.0, |at| {
            let (seconds, nanos) = at.to_unix();
            seconds as f64 + f64::from(nanos) / 1e9
        });
        let hours = |seconds: f64| seconds / 3_600.0;
        let age = now - made;
        let text = if age > RESOLVED_FOR.as_secs_f64() {
            format!(
                "it is {:.0} hours old, and after {:.0} its row may be gone: look for what the transaction wrote",
                hours(age),
                hours(RESOLVED_FOR.as_secs_f64())
            )
        } else if age < -AHEAD.as_secs_f64() {
            format!(
                "it was made {:.0} hours ahead of the server's clock, so its age is not known",
                hours(-age)
            )
        } else {
            return Ok(());
        };
        Err(self.context(unexpected(text)))
    }

    fn context(&self, error: Error) -> Error {
        let error = match error.sqlstate().as_ref().map(SqlState::as_str) {
            Some("42P01") => error.context("db_tx_outcome, which Marker::TABLE creates"),
            _ => error,
        };
        error.context(format_args!("cannot find out what became of transaction {self}"))
    }
}

fn unexpected(text: impl Into<String>) -> Error {
    Error::new(Signal::new(Cause::UnexpectedResult, Phase::Execute), text)
}

impl Default for Marker {
    /// A fresh one.
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Marker {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Uuid::from_str(text) {
            Ok(id) if id.get_version_num() == 7 => Ok(Self(id)),
            _ => {
                let signal = Signal::new(Cause::Misuse, Phase::Execute);
                Err(Error::new(signal, "not a marker, which is a UUID of version 7"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_as_text() {
        let marker = Marker::new();
        assert_eq!(marker.to_string().parse::<Marker>().expect("its own text"), marker);
        for text in ["", "7", "6f1ed002-ab59-4d1c-8a8e-1a0d6a0c7c11", "'); DROP TABLE users; --"] {
            assert!(text.parse::<Marker>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_whose_row_may_be_gone_is_refused() {
        let made = 1_731_611_295_u32;
        let at = uuid::Timestamp::from_unix_time(made.into(), 0, 0, 0);
        let (marker, made) = (Marker(Uuid::new_v7(at)), f64::from(made));
        let check = |hours: f64, expect: Result<(), &str>| {
            let said = marker.check_age(made + hours * 3_600.0).map_err(|error| error.to_string());
            match expect {
                Ok(()) => assert_eq!(said, Ok(())),
                Err(text) => assert!(said.as_ref().is_err_and(|said| said.contains(text)), "{said:?}"),
            }
        };
        check(0.1, Ok(()));
        check(11.9, Ok(()));
        check(12.1, Err("it is 12 hours old, and after 12 its row may be gone"));
        check(-0.9, Ok(()));
        check(-5.0, Err("it was made 5 hours ahead of the server's clock"));
    }
}
