//! A script in a transaction: opened with its limits, told where it failed, with the session as it was before. What else
//! belongs into the transaction, and whether it commits, is the caller's to say.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use db_core::{Executor as _, Phase, Query};
use futures_util::StreamExt as _;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{Script, Settings};

/// Runs scripts one after the other. Dropped in the middle of one, it sends a ROLLBACK after it.
pub(crate) struct Transactions<'a> {
    client: &'a Client,
    session: SessionState,
    open: bool,
}

/// A script failed.
pub(crate) struct Failure {
    /// The line of the statement, unless it belongs to none.
    pub(crate) line: Option<u32>,
    /// What the server said.
    pub(crate) source: db_core::Error,
}

impl From<db_core::Error> for Failure {
    fn from(source: db_core::Error) -> Self {
        Self { line: None, source }
    }
}

impl<'a> Transactions<'a> {
    /// Remembers the session as it is now; every script begins with it.
    pub(crate) async fn new(client: &'a Client) -> db_core::Result<Self> {
        let session = SessionState::capture(client).await?;
        Ok(Self { client, session, open: false })
    }

    /// Runs a script and leaves its transaction open.
    pub(crate) async fn run(&mut self, script: &Script, settings: &Settings) -> Result<(), Failure> {
        self.open = true;
        self.client.batch(&begin(settings)).await?;
        execute(self.client, script).await?;
        // Within the transaction, so that a rollback restores the session as well, and the history is written by the role
        // that connected.
        self.session.restore(self.client).await?;
        Ok(())
    }

    /// Commits.
    pub(crate) async fn commit(&mut self) -> db_core::Result<()> {
        let committed = self.client.batch_execute("COMMIT").await;
        committed.map_err(|error| db_core::Error::from_driver(&error, Phase::Commit))?;
        self.open = false;
        Ok(())
    }

    /// Rolls back. Fails only with the connection, and then the server does it.
    pub(crate) async fn rollback(&mut self) {
        if self.client.batch("ROLLBACK").await.is_ok() {
            self.open = false;
        }
    }
}

impl Drop for Transactions<'_> {
    fn drop(&mut self) {
        if self.open {
            send(self.client, "ROLLBACK");
        }
    }
}

/// Sends statements without waiting for the answer, for use in `drop`: the driver queues them at the first poll and
/// reads the answers away.
pub(crate) fn send(client: &Client, sql: &str) {
    let _ = pin!(client.batch_execute(sql)).poll(&mut Context::from_waker(Waker::noop()));
}

fn begin(settings: &Settings) -> String {
    let Settings { table: _, lock_wait: _, lock_poll: _, lock_timeout, statement_timeout } = settings;
    // The statements were told apart under standard_conforming_strings. transaction_timeout is known from
    // PostgreSQL 17 on.
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
         SET LOCAL standard_conforming_strings = on;
         SET LOCAL lock_timeout = {};
         SET LOCAL statement_timeout = {};
         SET LOCAL idle_in_transaction_session_timeout = 0;
         SELECT pg_catalog.set_config('transaction_timeout', '0', true)
         WHERE pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL",
        as_setting(*lock_timeout),
        as_setting(*statement_timeout)
    )
}

/// Milliseconds, as the server counts them; only a zero becomes zero, which is no limit.
fn as_setting(limit: Duration) -> i32 {
    let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    if limit.is_zero() { 0 } else { millis.max(1) }
}

/// Sends the whole script as one message; each completed statement is answered, so the failed one is known.
async fn execute(client: &Client, script: &Script) -> Result<(), Failure> {
    let mut completed = 0;
    let error = match client.simple_query_raw(script.sql()).await {
        Err(error) => error,
        Ok(stream) => {
            let mut messages = pin!(stream);
            loop {
                match messages.next().await {
                    None => return Ok(()),
                    Some(Ok(SimpleQueryMessage::CommandComplete(_))) => completed += 1,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                }
            }
        }
    };
    let line = error.as_db_error().and_then(|error| match error.position() {
        Some(ErrorPosition::Original(position)) => Some(script.line_at(*position)),
        _ => script.line_of_statement(completed),
    });
    Err(Failure { line, source: db_core::Error::from_driver(&error, Phase::Execute).without_parameters() })
}

/// What the session had set: a script may SET what it likes, and dumps made by `pg_dump` do.
struct SessionState {
    names: Vec<String>,
    values: Vec<String>,
}

impl SessionState {
    async fn capture(client: &Client) -> db_core::Result<Self> {
        let sql = "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session'
                   UNION ALL SELECT 'role', pg_catalog.current_setting('role')";
        let settings: Vec<(String, String)> = Query::query(client, sql, &[]).await?;
        let (names, values) = settings.into_iter().unzip();
        Ok(Self { names, values })
    }

    async fn restore(&self, client: &Client) -> db_core::Result<()> {
        client.batch("RESET SESSION AUTHORIZATION; RESET ALL").await?;
        let sql = "SELECT pg_catalog.count(pg_catalog.set_config(name, value, false))
                   FROM unnest($1::text[], $2::text[]) AS setting (name, value)";
        client.one::<i64>(sql, &[&self.names, &self.values]).await?;
        Ok(())
    }
}
