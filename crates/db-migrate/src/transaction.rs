//! A file in one transaction, with its limits and what else belongs into it. Whether it runs again, and what is told of
//! it, is the runner's to say.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use db_core::{Cause, Executor, Phase, Signal, SqlState};
use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use crate::lock::Fence;
use crate::message::{self, Answer, Broken};
use crate::session::{Limits, SessionState};
use crate::{Error, Script};

/// A file failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The line of the statement, unless it belongs to none.
    pub(crate) line: Option<u32>,
    /// How many statements were through before it.
    pub(crate) completed: usize,
    /// The place in the message as the server counts: characters, from 1.
    position: Option<u32>,
    /// Whether the row in the history says already how far the file came, so that only the log is to be told.
    pub(crate) keeps_row: bool,
    pub(crate) cause: FailureCause,
}

/// Why a file failed.
#[derive(Debug)]
pub(crate) enum FailureCause {
    Database(db_core::Error),
    /// The runner may not go on at all.
    Runner(Box<Error>),
}

impl From<db_core::Error> for Failure {
    fn from(source: db_core::Error) -> Self {
        Self {
            line: None,
            completed: 0,
            position: None,
            keeps_row: false,
            cause: FailureCause::Database(source),
        }
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        let position = broken.error.as_db_error().and_then(|error| match error.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        });
        let completed = broken.completed;
        Self {
            line: None,
            completed,
            position,
            keeps_row: false,
            cause: FailureCause::Database(broken.into()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            line: None,
            completed: 0,
            position: None,
            keeps_row: false,
            cause: FailureCause::Runner(Box::new(error)),
        }
    }
}

/// A transaction that is open. Dropped without its end, it sends a ROLLBACK behind whatever runs.
pub(crate) struct Transaction<'a> {
    client: &'a Client,
    open: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) async fn begin(client: &'a Client, limits: &Limits) -> db_core::Result<Transaction<'a>> {
        let transaction = Self { client, open: true };
        Executor::batch_execute(client, &begin_sql(limits)).await?;
        Ok(transaction)
    }

    /// Opens one for a file. Behind a pooler the settings to return to are those of the session that this transaction is in,
    /// so they come with it.
    pub(crate) async fn begin_under(
        client: &'a Client,
        limits: &Limits,
        fence: &Fence,
    ) -> db_core::Result<(Transaction<'a>, Option<SessionState>)> {
        match fence {
            Fence::Process(_) => Ok((Self::begin(client, limits).await?, None)),
            Fence::Lease { .. } => {
                let transaction = Self::begin_plain(client).await?;
                let own = SessionState::capture(client).await?;
                Executor::batch_execute(client, &limits.set_local()).await?;
                Ok((transaction, Some(own)))
            }
        }
    }

    /// Opens one under the limits of the session.
    pub(crate) async fn begin_plain(client: &'a Client) -> db_core::Result<Transaction<'a>> {
        let transaction = Self { client, open: true };
        Executor::batch_execute(client, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        Ok(transaction)
    }

    /// Runs a script, and behind it what keeps record of it. Both are sent at once: the second fails with the first.
    pub(crate) async fn run(&self, script: &Script, record: &str, fence: &Fence) -> Result<(), Failure> {
        let (ran, recorded) =
            join(message::send(self.client, script.sql()), self.record(record, fence)).await;
        ran.map_err(|broken| Failure::from(broken).in_script(script))?;
        recorded.map_err(|failure| failure.after(script))
    }

    /// Runs a script that nobody keeps record of.
    pub(crate) async fn run_unrecorded(&self, script: &Script) -> Result<(), Failure> {
        let ran = message::send(self.client, script.sql()).await;
        ran.map(drop).map_err(|broken| Failure::from(broken).in_script(script))
    }

    /// Runs one statement, and behind it what keeps record of it.
    pub(crate) async fn run_one(&self, sql: &str, record: &str, fence: &Fence) -> Result<(), Failure> {
        let (ran, recorded) = join(message::send(self.client, sql), self.record(record, fence)).await;
        ran?;
        recorded
    }

    /// Keeps record, under the lock.
    pub(crate) async fn record(&self, record: &str, fence: &Fence) -> Result<(), Failure> {
        let answers = message::send(self.client, &fence.around(record)).await?;
        check_record(&answers, fence)
    }

    /// Keeps record in a transaction of its own, under the lock: all of it or nothing.
    pub(crate) async fn record_alone(client: &'a Client, record: &str, fence: &Fence) -> Result<(), Failure> {
        let transaction = Self::begin_plain(client).await?;
        match transaction.record(record, fence).await {
            Ok(()) => Ok(transaction.commit().await?),
            Err(failure) => {
                transaction.rollback().await;
                Err(failure)
            }
        }
    }

    pub(crate) async fn commit(mut self) -> db_core::Result<()> {
        let committed = self.client.batch_execute("COMMIT").await;
        committed.map_err(|error| db_core::Error::from_driver(&error, Phase::Commit))?;
        self.open = false;
        Ok(())
    }

    /// Commits, and opens the next one without waiting in between. That it could not be opened is for whoever needs it to
    /// find out.
    pub(crate) async fn commit_and_begin(self, next: Option<&Limits>) -> db_core::Result<Option<Self>> {
        let Some(limits) = next else {
            return self.commit().await.map(|()| None);
        };
        let client = self.client;
        // Behind a COMMIT that fails it is open as well, and its end closes it.
        let next = Self { client, open: true };
        let begin = begin_sql(limits);
        let (committed, begun) = join(self.commit(), Executor::batch_execute(client, &begin)).await;
        committed.map(|()| begun.is_ok().then_some(next))
    }

    /// Rolls back. Fails only with the connection, and then the server does it.
    pub(crate) async fn rollback(mut self) {
        if Executor::batch_execute(self.client, "ROLLBACK").await.is_ok() {
            self.open = false;
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            send(self.client, "ROLLBACK");
        }
    }
}

impl Failure {
    /// The failure of a message that is a whole script.
    fn in_script(mut self, script: &Script) -> Self {
        self.line = match self.position.take() {
            Some(position) => Some(script.line_at(position)),
            None => script.line_of_statement(self.completed),
        };
        self
    }

    /// The failure of a message that is one statement of a script.
    pub(crate) fn in_statement(mut self, script: &Script, index: usize) -> Self {
        if let Some(statement) = script.statements().get(index) {
            let position = self.position.take();
            self.line = Some(position.map_or(statement.line, |place| script.line_within(statement, place)));
        }
        self.completed = index;
        self
    }

    /// The failure of what comes when all statements are through.
    pub(crate) fn after(mut self, script: &Script) -> Self {
        (self.line, self.completed) = (None, script.statements().len());
        self
    }

    /// The failure of what was done around the statements.
    pub(crate) fn keeping_row(mut self, completed: usize) -> Self {
        (self.keeps_row, self.completed) = (true, completed);
        self
    }

    /// Whether the script is through and the server does not know the statement that should have recorded it.
    pub(crate) fn is_unknown_record(&self, script: &Script) -> bool {
        let FailureCause::Database(error) = &self.cause else {
            return false;
        };
        self.completed == script.statements().len()
            && error.phase() != Phase::Commit
            && error.sqlstate() == Some(SqlState::INVALID_STATEMENT_NAME)
    }

    /// Whether others use what it needs, so that it may well succeed a little later. Nothing of it took effect.
    pub(crate) fn is_busy(&self) -> bool {
        let FailureCause::Database(error) = &self.cause else {
            return false;
        };
        // The statement was through; what failed came behind it.
        if self.keeps_row {
            return false;
        }
        let code = error.sqlstate();
        error.phase() != Phase::Commit
            && (code == Some(SqlState::LOCK_NOT_AVAILABLE) || code == Some(SqlState::DEADLOCK_DETECTED))
    }
}

fn begin_sql(limits: &Limits) -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}", limits.set_local_here())
}

/// The history must have had a row to change, and the lock must be ours in this very transaction.
pub(crate) fn check_record(answers: &[Answer], fence: &Fence) -> Result<(), Failure> {
    if answers.last().is_none_or(|record| record.value.is_none()) {
        let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
        return Err(db_core::Error::new(signal, "its row in the history is gone").into());
    }
    Ok(fence.check(answers)?)
}

/// Sends statements without waiting for the answer, for use in `drop`: the driver queues them at the first poll and
/// reads the answers away.
pub(crate) fn send(client: &Client, sql: &str) {
    let _ = pin!(client.batch_execute(sql)).poll(&mut Context::from_waker(Waker::noop()));
}
