//! One session on the server: runs statements that it prepares once, cancels what runs, and cleans up after a user. It knows
//! nothing of a pool.

mod batch;
mod clean;
mod copy;
mod encoded;
mod lookups;
mod pooled;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use db_core::{Action, Cause, Error, Outcome, Params, Phase, Result, Severity, Signal};
use futures_channel::mpsc::UnboundedSender;
use futures_util::FutureExt;
use futures_util::stream::TryStreamExt;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream, Statement};

pub(crate) use self::batch::{Around, Report};
pub(crate) use self::encoded::{Encoded, encode};
use self::lookups::Lookups;
use self::pooled::Pooled;
pub(crate) use self::way::{Way, nanos};
use crate::comment::commented;
use crate::connect::Canceller;
use crate::lanes::Operation;
use crate::running::{Patience, Timer};
use crate::session_settings::SessionSettings;
use crate::statements::{Found, Prepared, Statements, effects_of};
use crate::wire::{Effects, Transaction, Wire};
use crate::{Commenter, Pooler, Settings};

/// A session.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) wire: Arc<Wire>,
    pub(crate) way: Way,
    canceller: Canceller,
    /// To the task that drives the connection, for statements that share it with others.
    lane: UnboundedSender<Operation>,
    /// The task that drives the connection. Left alone it ends with the client, once the server has answered what it owes.
    driver: AbortHandle,
    statements: Statements,
    /// Where each transaction may meet another session of the server.
    pooled: Option<Pooled>,
    /// How the settings of the session come back after a reset; empty where a reset brings them back by itself.
    set: String,
    commenter: Option<Commenter>,
    /// Whether something in the driver is beyond repair.
    is_spent: AtomicBool,
    statement_timeout: Duration,
    patience: Patience,
    timer: Timer,
    pub(crate) runtime: Handle,
}

/// Who asked last went away before the server had answered: nobody else would end the connection.
impl Drop for Session {
    fn drop(&mut self) {
        if self.wire.is_owed() {
            self.driver.abort();
        }
    }
}

/// What a session is made from.
pub(crate) struct Parts<'a> {
    pub(crate) client: Client,
    pub(crate) wire: Arc<Wire>,
    pub(crate) canceller: Canceller,
    pub(crate) driver: AbortHandle,
    pub(crate) lane: UnboundedSender<Operation>,
    /// The name of the application, where the settings could not travel in the startup message.
    pub(crate) needs_set: Option<&'a str>,
}

impl Session {
    pub(crate) fn new(parts: Parts<'_>, settings: &Settings) -> Self {
        let Parts { client, wire, canceller, driver, lane, needs_set } = parts;
        let session_settings = SessionSettings::new(settings);
        let pooled = (settings.pooler == Pooler::Transaction).then(|| Pooled {
            begin: session_settings.begin(),
            turn: Mutex::new(()),
            is_streaming: AtomicBool::new(false),
            lookups: Lookups::default(),
        });
        // There the types of the statement that is about to run must be known.
        let capacity = settings.statement_cache.max(usize::from(pooled.is_some()));
        Self {
            client,
            wire,
            way: Way::new(),
            canceller,
            driver,
            lane,
            statements: Statements::new(capacity),
            pooled,
            set: needs_set.map(|name| session_settings.set(name)).unwrap_or_default(),
            commenter: settings.commenter.clone(),
            is_spent: AtomicBool::new(false),
            statement_timeout: settings.statement_timeout,
            patience: Patience::new(settings.statement_timeout),
            timer: Timer::default(),
            // That of the task which drives the connection; a caller's may end before.
            runtime: Handle::current(),
        }
    }

    /// Sends the settings that could not travel in the startup message.
    pub(crate) async fn set_up(&self) -> Result<()> {
        if self.set.is_empty() {
            return Ok(());
        }
        self.send_simple(&self.set, Phase::Connect).await?;
        self.wire.clear_effects();
        Ok(())
    }

    /// Whether it can run anything more.
    pub(crate) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.is_spent.load(Ordering::Relaxed)
    }

    /// Notes that the driver has lost its way: nothing more can run here.
    pub(crate) fn spend(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
    }

    /// How long a call may take.
    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// `statement_timeout` as the settings have it.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// What `operation` gives, or an error when it takes longer than `patience` has.
    pub(crate) async fn bound<T>(
        &self,
        patience: Patience,
        phase: Phase,
        operation: impl Future<Output = T>,
    ) -> Result<T> {
        self.timer.bound(patience, phase, operation).await
    }

    /// Ends it at once, whatever the server still owes.
    pub(crate) fn abort(&self) {
        self.driver.abort();
    }

    /// What begins a transaction here.
    pub(crate) fn begin(&self) -> &str {
        self.pooled.as_ref().map_or("BEGIN", |pooled| &pooled.begin)
    }

    /// Runs a statement and collects its rows.
    pub(crate) async fn fetch(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.alone(sql, params, async |rows| rows.try_collect().await).await
    }

    /// Runs a statement and counts the rows that it changed.
    pub(crate) async fn execute(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<u64> {
        let drain = async |rows: RowStream| {
            let mut rows = std::pin::pin!(rows);
            while rows.try_next().await?.is_some() {}
            Ok(rows.rows_affected().unwrap_or(0))
        };
        self.alone(sql, params, drain).await
    }

    /// Sends a statement that shares the connection with others. Without a driver it is dropped, unsent.
    pub(crate) fn send_on_lane(&self, operation: Operation) {
        self.lane.unbounded_send(operation).ok();
    }

    /// A statement that is prepared already.
    pub(crate) fn ready(&self, sql: &str) -> Option<Statement> {
        self.statements.ready(sql)
    }

    /// Forgets a statement, which is prepared anew when it is needed again.
    pub(crate) fn forget_one(&self, sql: &str) {
        self.statements.evict(sql);
    }

    /// Starts a statement, and says whether its transaction must be ended after its rows.
    pub(crate) async fn stream(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<(RowStream, bool)> {
        let Some(pooled) = &self.pooled else {
            return Ok((self.start(sql, params).await?, false));
        };
        let Some(_turn) = self.turn(pooled).await? else {
            return Ok((self.start(sql, params).await?, false));
        };
        self.send_simple(&pooled.begin, Phase::Execute).await?;
        pooled.is_streaming.store(true, Ordering::Relaxed);
        match self.start(sql, params).await {
            Ok(rows) => Ok((rows, true)),
            Err(error) => {
                self.roll_back().await?;
                Err(error)
            }
        }
    }

    /// Runs several statements of a user's without parameters.
    pub(crate) async fn texts(&self, sql: &str) -> Result<()> {
        self.simple_as(sql, &commented(self.commenter.as_ref(), sql), Phase::Execute).await
    }

    /// Runs a statement of our own without parameters.
    pub(crate) async fn simple(&self, sql: &str, phase: Phase) -> Result<()> {
        self.simple_as(sql, sql, phase).await
    }

    async fn simple_as(&self, sql: &str, sent: &str, phase: Phase) -> Result<()> {
        let Some(pooled) = &self.pooled else { return self.send_simple(sent, phase).await };
        // Not in the middle of somebody else's transaction.
        let _turn = pooled.turn.lock().await;
        match sql {
            "ROLLBACK" => return self.roll_back().await,
            // Somebody went back to a savepoint, and the session is lost with the transaction.
            "COMMIT" => {
                self.is_spent.fetch_or(pooled.lookups.may_be_left(), Ordering::Relaxed);
            }
            _ => self.leave_stream(pooled).await?,
        }
        self.send_simple(sent, phase).await
    }

    pub(crate) async fn send_simple(&self, sql: &str, phase: Phase) -> Result<()> {
        self.wire.note(effects_of(sql));
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| Error::from_driver(&error, phase).without_parameters())
    }

    /// Waits until the server has answered everything. What is still owed are answers to statements that failed or were
    /// given up; how they ended does not matter.
    pub(crate) async fn sync(&self) -> Result<()> {
        let started = Instant::now();
        let answered = self.client.batch_execute("").await;
        match answered.map_err(|error| Error::from_driver(&error, Phase::Execute)) {
            Err(error) if error.server().is_none_or(|server| server.severity == Severity::Fatal) => {
                Err(error)
            }
            _ => {
                self.way.asked_nothing(started.elapsed());
                Ok(())
            }
        }
    }

    /// Runs a statement to its end, in a transaction of its own where it needs one.
    async fn alone<T, F>(self: &Arc<Self>, sql: &str, params: Params<'_>, read: F) -> Result<T>
    where
        F: AsyncFnOnce(RowStream) -> Result<T, tokio_postgres::Error>,
    {
        let read = async |rows| read(rows).await.map_err(|error| Error::from_driver(&error, Phase::Execute));
        match &self.pooled {
            None => read(self.start(sql, params).await?).await,
            // Kept apart, so that those who talk to the server directly do not carry it.
            Some(pooled) => Box::pin(self.apart(pooled, sql, params, read)).await,
        }
    }

    /// Starts a statement. One that the server does not know any more, or whose result has changed, is prepared anew: it
    /// has not run.
    pub(super) async fn start(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<RowStream> {
        let mut may_heal = true;
        loop {
            let result = match self.prepared(sql).await {
                Ok((prepared, effects)) => {
                    self.wire.note(effects);
                    self.send(&prepared, sql, params).await
                }
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.advice().read == Action::Reprepare => {
                    self.statements.evict(sql);
                    // An error ends the transaction, and what was done in it.
                    let is_alone = self.wire.transaction() == Transaction::None;
                    if !(may_heal && is_alone) {
                        if is_alone {
                            // What is not known are the statements by which the driver itself looks up types.
                            self.spend();
                        }
                        return Err(error);
                    }
                    may_heal = false;
                }
                other => return other,
            }
        }
    }

    async fn send(&self, prepared: &Prepared, sql: &str, params: Params<'_>) -> Result<RowStream> {
        let sent = match prepared {
            Prepared::Named(statement) => self.client.query_raw(statement, params.iter().copied()).await,
            Prepared::Typed(types) => {
                if types.len() != params.len() {
                    return Err(wrong_count(params.len(), types.len()));
                }
                let typed = params.iter().copied().zip(types.iter().cloned());
                let sql = commented(self.commenter.as_ref(), sql);
                let sent = self.client.query_typed_raw::<&(dyn ToSql + Sync), _>(&sql, typed).await;
                return sent.map_err(|error| self.not_read(&error));
            }
        };
        sent.map_err(|error| Error::from_driver(&error, Phase::Execute))
    }

    /// The error of a statement that was sent whole. One that says that a statement is not known comes from the driver's own,
    /// by which it looks up types of the result: ours has run then.
    fn not_read(&self, error: &tokio_postgres::Error) -> Error {
        let error = Error::from_driver(error, Phase::Execute);
        if error.advice().read != Action::Reprepare {
            return error;
        }
        self.spend();
        let message = format!("the types of the result could not be looked up: {error}");
        Error::new(Signal::new(Cause::Lost, Phase::Execute), message)
    }

    /// The statement, prepared by whoever needs it first.
    pub(crate) async fn prepared(self: &Arc<Self>, sql: &str) -> Result<(Prepared, Effects)> {
        match self.find(sql) {
            Found::Ready(prepared, effects) => Ok((prepared, effects)),
            Found::Preparing(preparing) => {
                let prepared = preparing.await.map_err(|error| error.duplicate())?;
                Ok((prepared, effects_of(sql)))
            }
        }
    }

    /// A task of its own prepares: one that is dropped halfway would leave the statement on the server without an owner.
    fn find(self: &Arc<Self>, sql: &str) -> Found {
        self.statements.find_or(sql, || {
            let (session, sql) = (Arc::clone(self), sql.to_owned());
            let task = self.runtime.spawn(async move {
                let unsettled = Unsettled { session: &session, sql: &sql };
                let started = Instant::now();
                let prepared = match &session.pooled {
                    Some(pooled) => pooled.lookups.prepare(&session.client, &sql).await.map(Prepared::Typed),
                    None => session.client.prepare(&sql).await.map(Prepared::Named),
                };
                if prepared.is_ok() {
                    session.way.prepared(started.elapsed());
                }
                let result = prepared.map_err(|error| Arc::new(not_prepared(&error)));
                session.statements.settle(&sql, &result);
                std::mem::forget(unsettled);
                result
            });
            task.map(|joined| joined.unwrap_or_else(|_| Err(Arc::new(interrupted())))).boxed()
        })
    }
}

fn wrong_count(given: usize, expected: usize) -> Error {
    let message = format!("expected {expected} parameters but got {given}");
    Error::new(Signal::new(Cause::Misuse, Phase::Execute), message)
}

/// A preparation whose task ends before its time must not stay in the cache.
struct Unsettled<'s> {
    session: &'s Session,
    sql: &'s str,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.session.statements.evict(self.sql);
    }
}

/// A statement whose preparation got no answer has not run.
fn not_prepared(error: &tokio_postgres::Error) -> Error {
    let error = Error::from_driver(error, Phase::Execute).without_parameters();
    if error.server().is_some() || error.outcome() != Outcome::Unknown {
        return error;
    }
    Error::new(Signal::new(Cause::Unsent, Phase::Execute), format!("the statement was not prepared: {error}"))
}

/// The task that prepared is gone, as when the runtime ends.
fn interrupted() -> Error {
    Error::new(Signal::new(Cause::Unsent, Phase::Execute), "the statement was not prepared")
}
