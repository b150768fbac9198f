//! Transactions that are run again when they lost, and whose COMMIT is not left in doubt. What is retried is decided by
//! `db-retry`, what became of a COMMIT by its resolvers; this brings them together with the pool.

use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use db_core::{Error, Outcome, Phase, Result, SqlState};
use db_pool::{Conn, Tx};
use db_retry::{Marker, Retry};
use tokio::time::Instant;

use crate::resolve::Witness;
use crate::{Database, TxOptions};

/// Whoever waits for longer does not wait for an answer.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Database {
    /// [`Database::tx`] with an isolation level, a deadline, retries, and a resolver of COMMITs whose answer was lost.
    ///
    /// The body is cloned for each attempt, so that each begins with the same values; what it captures by reference is shared.
    ///
    /// ```no_run
    /// # use db_app::prelude::*;
    /// # use std::time::Duration;
    /// # async fn transfer(db: &Database, from: i64, to: i64, cents: i64) -> db_app::core::Result<()> {
    /// let options = TxOptions::new().deadline(Duration::from_secs(2)).retry().resolver(Resolver::Marker);
    /// db.tx_with(&options, async |tx| {
    ///     tx.execute("UPDATE accounts SET cents = cents - $2 WHERE id = $1", &[&from, &cents]).await?;
    ///     tx.execute("UPDATE accounts SET cents = cents + $2 WHERE id = $1", &[&to, &cents]).await?;
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conn::tx`], the last attempt's. One whose [outcome](Error::outcome) is `Unknown` means that nobody could say what
    /// became of the COMMIT in time; with [`Resolver::Marker`](crate::Resolver::Marker) [`Error::in_doubt`] has the name to
    /// ask for later, by [`Database::resolve`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`]. Nothing is run again after the future is dropped.
    #[track_caller]
    pub fn tx_with<'d, T, F>(
        &'d self,
        options: &TxOptions,
        body: F,
    ) -> impl Future<Output = Result<T>> + use<'d, T, F>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T> + Clone,
    {
        let plan = Plan::new(self, options, Location::caller());
        async move {
            let run = plan.retry.run(|| async {
                match plan.attempt(body.clone()).await {
                    Ok(value) => Ok(Ok(value)),
                    Err(Ended::Database(error) | Ended::Body { error, .. }) => Err(error),
                    Err(Ended::ForGood(error)) => Ok(Err(error)),
                }
            });
            run.await.unwrap_or_else(|error| Err(plan.told(error)))
        }
    }

    /// [`Database::tx_with`] for a body with an error type of its own. Whether the whole is run again is decided by the first
    /// error of the database in it that was not undone, whatever the body makes of that; a body that fails by itself is
    /// not run again.
    ///
    /// # Errors
    /// As [`Database::tx_with`].
    ///
    /// # Cancel safety
    /// As [`Database::tx_with`].
    #[track_caller]
    pub fn try_tx_with<'d, T, E, F>(
        &'d self,
        options: &TxOptions,
        body: F,
    ) -> impl Future<Output = Result<T, E>> + use<'d, T, E, F>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E> + Clone,
        E: From<Error>,
    {
        let plan = Plan::new(self, options, Location::caller());
        async move {
            // What the body of the last attempt said, while its cause decides about another.
            let said = Mutex::new(None);
            let said_now = || said.lock().unwrap_or_else(PoisonError::into_inner);
            let run = plan.retry.run(|| async {
                *said_now() = None;
                match plan.attempt(body.clone()).await {
                    Ok(value) => Ok(Ok(value)),
                    Err(Ended::Database(error)) => Err(error),
                    Err(Ended::Body { error, cause: None } | Ended::ForGood(error)) => Ok(Err(error)),
                    Err(Ended::Body { error, cause: Some(cause) }) => {
                        *said_now() = Some(error);
                        Err(cause)
                    }
                }
            });
            match run.await {
                Ok(result) => result,
                Err(error) => Err(said_now().take().unwrap_or_else(|| plan.told(error).into())),
            }
        }
    }
}

/// Everything that the attempts of one call share.
pub(crate) struct Plan<'d> {
    pub(crate) database: &'d Database,
    pub(crate) options: TxOptions,
    pub(crate) retry: Retry,
    pub(crate) caller: &'static Location<'static>,
    /// When all of it must have ended.
    pub(crate) deadline: Option<Instant>,
    /// When the COMMIT must have been answered.
    pub(crate) commit_by: Option<Instant>,
    stage: Mutex<Stage>,
}

/// How far an attempt has come. The deadline may cut it off anywhere.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    /// None is under way: what it gave is said as it is.
    Ended,
    /// Nothing can be committed yet.
    BeforeCommit,
    /// COMMIT may have been sent; this is the name to ask for.
    Commit(Option<Marker>),
}

/// Why an attempt did not commit.
enum Ended<E> {
    /// It could not begin, or not commit.
    Database(Error),
    /// The body gave an error, perhaps because of one of the database.
    Body { error: E, cause: Option<Error> },
    /// The body gave an error after which the same must not be run again, or would fail again.
    ForGood(E),
}

impl<'d> Plan<'d> {
    pub(crate) fn new(
        database: &'d Database,
        options: &TxOptions,
        caller: &'static Location<'static>,
    ) -> Self {
        let mut options = options.clone();
        if options.begin.read_only {
            options.resolver = None;
        }
        let limit = options.deadline.map(|limit| limit.min(FOR_EVER));
        let deadline = limit.map(|limit| Instant::now() + limit);
        let commit_by = match (deadline, limit, options.resolver) {
            (Some(deadline), Some(limit), Some(_)) => Some(deadline - limit / 10),
            _ => deadline,
        };
        let mut retry = database.retry_for_tx(options.is_retried);
        if let (Some(deadline), Some(commit_by)) = (deadline, commit_by) {
            retry = retry.until(deadline).begin_before(commit_by);
        }
        let stage = Mutex::new(Stage::Ended);
        Self { database, options, retry, caller, deadline, commit_by, stage }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// The error of the whole. Of an attempt that was cut off it says no more than that time was up.
    pub(crate) fn told(&self, error: Error) -> Error {
        match *self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Ended | Stage::Commit(None) => error,
            Stage::BeforeCommit => error.before_commit(),
            Stage::Commit(Some(marker)) => error.with_in_doubt(marker.to_string()),
        }
    }

    async fn attempt<T, E, F>(&self, body: F) -> Result<T, Ended<E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        self.enter(Stage::BeforeCommit);
        let result = self.attempt_within(body).await;
        self.enter(Stage::Ended);
        result
    }

    async fn attempt_within<T, E, F>(&self, body: F) -> Result<T, Ended<E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let mut conn = self.database.pool().acquire_for(self.caller, self.commit_by).await?;
        conn.set_deadline(self.commit_by);
        let witness = Witness::new(self.database, self.options.resolver, &conn, self.commit_by).await;
        // A COMMIT of its own may be in doubt, but not the caller's transaction, which has not begun.
        let witness = witness.map_err(Error::before_commit)?;
        let (value, error) = match self.run_on(&mut conn, &witness, body).await? {
            (value, Ok(())) => return Ok(value),
            (value, Err(error)) => (value, error),
        };
        // It is closed, and its place is free for whoever asks what became of the COMMIT.
        drop(conn);
        if error.phase() != Phase::Commit || error.outcome() != Outcome::Unknown {
            return Err(error.into());
        }
        if self.options.begin.read_only {
            // There was nothing to commit.
            return Ok(value);
        }
        match witness.became(self.database, self.deadline, error).await {
            Ok(()) => Ok(value),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs the body in a transaction, and gives its value together with what COMMIT said.
    async fn run_on<T, E, F>(
        &self,
        conn: &mut Conn,
        witness: &Witness,
        body: F,
    ) -> Result<(T, Result<()>), Ended<E>>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let mut begin = self.options.begin.clone();
        begin.deadline = self.commit_by;
        begin.first = witness.enlist();
        let mut tx = conn.begin(&begin).await?;
        witness.note(&tx).await?;
        match tx.in_time(body).await {
            Ok(value) => {
                if !self.options.begin.read_only {
                    self.enter(Stage::Commit(witness.marker()));
                }
                Ok((value, tx.commit().await))
            }
            Err(error) => {
                let (cause, has_ended) = (tx.first_error(), tx.has_ended());
                let is_refused = self.options.begin.read_only
                    && cause.as_ref().and_then(Error::sqlstate) == Some(SqlState::READ_ONLY_TRANSACTION);
                tx.rollback().await;
                if has_ended || is_refused {
                    return Err(Ended::ForGood(error));
                }
                Err(Ended::Body { error, cause })
            }
        }
    }
}

impl<E> From<Error> for Ended<E> {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}
