//! A connection with a caller: the guard that runs statements, bounds their time, and gives the connection back when it is
//! dropped.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Cause, Error, Executor, Params, Phase, Released, Result, RowStream, Signal};
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::checkout::Pooled;
use crate::physical::About;
use crate::release::{Held, Place};
use crate::rows::Rows;
use crate::running::{Patience, Running, Unfinished};
use crate::session::Session;
use crate::shared::Shared;
use crate::statements::is_set_local;
use crate::telling::Telling;
use crate::watch::Caller;
use crate::wire::{Effects, Ends, Transaction};
use crate::{Detached, Tx, TxOptions};

/// A connection of its own for one caller; it goes back when it is dropped.
///
/// # Cancel safety
/// Dropping the future of a statement has the server cancel it; so does a stream that is dropped before its end. Until
/// that has happened nobody else gets the connection. A transaction that is open when the connection is dropped is
/// rolled back, also one that was begun by hand, and what [`Reset`](crate::Reset) names is undone.
///
/// # Time-outs
/// A call ends after the statement time-out and a twentieth of it, at least half a second, also when the server is silent.
/// Whether the statement took effect is then unknown; it is cancelled as above.
pub struct Conn {
    /// Taken when the guard is dropped, never before.
    held: Option<Held>,
    session: Arc<Session>,
    acquired: Instant,
    unfinished: Unfinished,
    /// Whether a transaction was dropped in its middle, or the driver lost its way: nothing more may run here.
    is_abandoned: bool,
    /// When what runs here must have ended.
    deadline: Option<Instant>,
}

impl Conn {
    pub(crate) fn new(physical: Pooled, place: Place, now: Instant, caller: Caller) -> Self {
        let held = Held::new(physical, place, now, caller);
        Self {
            session: Arc::clone(held.session()),
            held: Some(held),
            acquired: now,
            unfinished: Unfinished::default(),
            is_abandoned: false,
            deadline: None,
        }
    }

    /// Runs `body` in a transaction: commits when it gives `Ok`, rolls back when it gives `Err`.
    ///
    /// # Errors
    /// What `body` gives, or the error of BEGIN or COMMIT. When a statement failed and `body` gave `Ok` all the same,
    /// the transaction is rolled back and the first error is reported: the server would not have committed it (going back
    /// to a savepoint undoes the failure). The same when a statement was dropped before its end, or a stream half-read. An
    /// error of COMMIT whose [outcome](Error::outcome) is `Unknown` must not be taken for a rollback.
    ///
    /// # Cancel safety
    /// A future that is dropped commits nothing, except during COMMIT, where the outcome is unknown. The connection takes
    /// no further statement; the rollback follows when it is given back.
    pub async fn tx<T, F>(&mut self, body: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.try_tx(body).await
    }

    /// [`Conn::tx`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Conn::tx`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn try_tx<T, E, F>(&mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        self.try_tx_with(&TxOptions::default(), body).await
    }

    /// [`Conn::tx`] with an isolation level, a deadline, and so on.
    ///
    /// # Errors
    /// As [`Conn::tx`], and when the deadline passes. Then nothing was committed, unless COMMIT was under way: its outcome is
    /// unknown.
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn tx_with<T, F>(&mut self, options: &TxOptions, body: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.try_tx_with(options, body).await
    }

    /// [`Conn::tx_with`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Conn::tx_with`].
    ///
    /// # Cancel safety
    /// As [`Conn::tx`].
    pub async fn try_tx_with<T, E, F>(&mut self, options: &TxOptions, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        Tx::begin(self, options).await?.run(body).await
    }

    /// Begins a transaction that is ended by hand: [`Tx::commit`], [`Tx::rollback`], or by dropping it.
    ///
    /// # Errors
    /// The error of BEGIN; also when a transaction is open already.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a connection that takes no further statement; it is cleaned when it goes back.
    pub async fn begin(&mut self, options: &TxOptions) -> Result<Tx<'_>> {
        Tx::begin(self, options).await
    }

    /// Sets until when whatever runs on this connection is waited for, beside the time limit of each statement; what is not over
    /// by then is cancelled on the server as the connection goes back. It holds while this guard does.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// What [`Conn::set_deadline`] has set, or the transaction under way.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes the connection out of the pool, which opens another in its place when it needs one. From then on nobody
    /// cleans it, counts it or bounds its time.
    #[must_use]
    pub fn detach(mut self) -> Detached {
        match self.held.take() {
            Some(held) => held.detach(),
            None => unreachable!("a connection is held until it is dropped"),
        }
    }

    /// What is held, for whoever keeps it; none if something still runs on it. To the observer it was released.
    pub(crate) fn into_held(mut self) -> Option<Held> {
        if self.unfinished.any() || !self.session.is_usable() {
            return None;
        }
        let held = self.held.take()?;
        let About { pool, observer, .. } = &*held.shared().about;
        observer.released(&Released::new(pool, self.acquired.elapsed()));
        held.is_no_leak();
        Some(held)
    }

    /// `host:port` of the server that it goes to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.held.as_ref().map_or("", Held::endpoint)
    }

    /// The process id of the server's session, as in `pg_stat_activity`; behind a pooler a number of the pooler's.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.session.wire.process().0
    }

    /// Rows as they arrive; the connection goes back when the stream ends or is dropped.
    ///
    /// # Errors
    /// As [`Executor::fetch_stream`].
    ///
    /// # Cancel safety
    /// As that of the connection.
    pub async fn into_stream(self, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        let rows = self.start_stream(sql, params).await?;
        Ok(rows.until_the_end(self))
    }

    /// The session, if something may be sent on it: what is not sent has no unknown outcome.
    pub(crate) fn usable(&self, phase: Phase) -> Result<&Arc<Session>> {
        if self.is_abandoned {
            let message = "a transaction on this connection was abandoned: give it back and acquire another";
            return Err(Error::new(Signal::new(Cause::Misuse, phase), message));
        }
        if !self.session.is_usable() {
            return Err(Error::new(Signal::new(Cause::Unsent, phase), "the connection is closed"));
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let message = "not sent: the deadline has passed";
            return Err(Error::new(Signal::new(Cause::DeadlinePassed, phase), message));
        }
        Ok(&self.session)
    }

    /// The session, also when nothing may be sent on it.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether a statement was begun whose end was not seen.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.unfinished.any()
    }

    /// Notes that the driver has lost its way on this connection.
    pub(crate) fn spend(&self) {
        self.session.spend();
    }

    /// Ends the connection at once, whatever the server still owes.
    pub(crate) fn hang_up(&self) {
        self.session.spend();
        self.session.abort();
    }

    /// Notes that nothing more may run here.
    pub(crate) fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Where the session stands, once the server has answered everything.
    pub(crate) async fn transaction(&self, phase: Phase) -> Result<Transaction> {
        let session = self.usable(phase)?;
        if session.wire.is_owed() {
            self.run(phase, session.sync()).await?;
        }
        Ok(session.wire.transaction())
    }

    /// What has ended on the session.
    pub(crate) fn ends(&self) -> Ends {
        self.session.wire.ends()
    }

    /// Whether everything is answered, and a transaction is open that has not failed.
    pub(crate) fn is_open(&self) -> bool {
        self.session.wire.is_open()
    }

    /// Whether everything is answered, and no transaction is open.
    pub(crate) fn is_outside(&self) -> bool {
        self.session.wire.is_quiet()
    }

    /// Runs an operation, counted until its end was seen, for at most the time that a statement may take.
    pub(crate) async fn run<T>(&self, phase: Phase, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let running = self.start();
        // Time that runs out leaves it unfinished.
        let result = self.session.bound(self.patience(), phase, operation).await?;
        running.end();
        result
    }

    /// Notes that an operation begins.
    pub(crate) fn start(&self) -> Running {
        self.unfinished.begin()
    }

    /// How long a call may take.
    pub(crate) fn patience(&self) -> Patience {
        self.session.patience().until(self.deadline)
    }

    /// What its pool has in common.
    pub(crate) fn shared(&self) -> &Shared {
        match &self.held {
            Some(held) => held.shared(),
            None => unreachable!("a connection is held until it is dropped"),
        }
    }

    /// Begins to tell of a statement.
    pub(crate) fn telling<'c>(&'c self, sql: &'c str) -> Telling<'c> {
        Telling::begin(self.shared(), self.endpoint(), sql)
    }

    /// Runs a statement, and tells the observer how it went, and how many rows it gave.
    async fn observed<T>(
        &self,
        sql: &str,
        rows: fn(&T) -> Option<u64>,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let telling = self.telling(sql);
        let (effects, before) = (self.session.wire.effects(), self.unfinished.seen());
        let result = self.run(Phase::Execute, operation).await;
        if is_set_local(sql) && self.unfinished.is_only_one_since(before) && !effects.has(Effects::SETTING) {
            // It ends with its transaction, which the server does not say.
            self.session.wire.forget(Effects::SETTING);
        }
        telling.end(result.as_ref().map(rows));
        result
    }

    async fn start_stream(&self, sql: &str, params: Params<'_>) -> Result<Rows> {
        let session = self.usable(Phase::Execute)?;
        let telling = self.telling(sql);
        let running = self.start();
        let result = self.patience().bound(Phase::Execute, session.stream(sql, params)).await;
        let result = match result {
            Ok(Ok((rows, needs_commit))) => Ok(Rows {
                rows: Box::pin(rows),
                commit: needs_commit.then(|| Arc::clone(session)),
                patience: self.patience(),
                running,
            }),
            Ok(Err(error)) => {
                running.end();
                Err(error)
            }
            Err(silent) => Err(silent),
        };
        telling.end(result.as_ref().map(|_| None));
        result
    }
}

/// The verbs without a box, for those who have one of their own. What runs is pinned here: each function that a future is
/// moved into makes the whole larger by twice its size.
impl Conn {
    pub(crate) async fn fetch_here(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let session = self.usable(Phase::Execute)?;
        self.observed(sql, |rows: &Vec<Row>| u64::try_from(rows.len()).ok(), pin!(session.fetch(sql, params)))
            .await
    }

    pub(crate) async fn execute_here(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let session = self.usable(Phase::Execute)?;
        self.observed(sql, |_| None, pin!(session.execute(sql, params))).await
    }

    /// Begins a transaction where a pooler would give the next statement another session. Giving the connection back ends it.
    pub(crate) async fn keep_session(&self) -> Result<()> {
        let session = self.usable(Phase::Execute)?;
        let Some(begin) = session.begin_to_read() else { return Ok(()) };
        self.observed(&begin, |_| None, pin!(session.simple(&begin, Phase::Execute))).await
    }

    /// What the server took of the time of a statement that ran here, about.
    pub(crate) fn beyond_the_way(&self, took: Duration) -> Duration {
        let way = &self.session.way;
        way.ran(took);
        took.saturating_sub(way.least())
    }

    pub(crate) async fn batch_here(&self, sql: &str) -> Result<()> {
        let session = self.usable(Phase::Execute)?;
        self.observed(sql, |_| None, pin!(session.texts(sql))).await
    }
}

#[async_trait]
impl Executor for Conn {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.fetch_here(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        Ok(self.start_stream(sql, params).await?.until_the_end(()))
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.execute_here(sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.batch_here(sql).await
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let about = &held.shared().about;
        let now = Instant::now();
        about.observer.released(&Released::new(&about.pool, now - self.acquired));
        held.release(self.unfinished.any(), now);
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("process_id", &self.process_id()).finish_non_exhaustive()
    }
}
