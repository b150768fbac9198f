//! A file without a transaction: one statement after the other, with its progress in the history, so that another run goes
//! on where this one was cut off. A statement that may run in a transaction shares one with its progress and runs
//! exactly once; of the others the catalogue tells whether they took effect.

use db_core::Executor;

use crate::history::{LogAction, Reached, RecordStatus, Took, end, literal, progress_sql};
use crate::message;
use crate::recover::{self, Found};
use crate::runner::Context;
use crate::session::Limits;
use crate::statement::{Alone, Execution};
use crate::transaction::{Failure, Transaction};
use crate::watch::Watch;
use crate::{Checksum, PlannedStep, Statement, ask};

/// Runs what is left of a file and records its end. The session's settings are the caller's to restore.
pub(crate) async fn run(
    context: &Context<'_>,
    watch: &mut Watch,
    step: &PlannedStep<'_>,
    limits: &Limits,
) -> Result<(), Failure> {
    let work = Stepwise { context, step };
    let begun = watch.during(context, work.begin(limits)).await;
    let first = begun.map_err(|failure| failure.keeping_row(step.done))?;
    let statements = step.script.statements();
    for (index, statement) in statements.iter().enumerate().skip(first) {
        let mut patience = context.patience(limits);
        loop {
            let failure = match watch.during(context, work.statement(index, statement)).await {
                Ok(()) => break,
                Err(failure) => failure.in_statement(step.script, index),
            };
            let may_run_again = !matches!(statement.execution, Execution::Alone(Alone::Opaque));
            if !(may_run_again && failure.is_busy() && patience.pause(context, step, watch.blockers()).await)
            {
                return Err(failure);
            }
        }
    }
    let (action, status) = end(step.direction);
    let reached = Reached { statement: statements.len(), attempted: statements.len(), prefix: None };
    let recorded = work.record(status, action, reached, None).await;
    recorded.map_err(|failure| failure.keeping_row(statements.len()))
}

struct Stepwise<'c, 's> {
    context: &'c Context<'c>,
    step: &'s PlannedStep<'s>,
}

impl Stepwise<'_, '_> {
    /// Prepares the session and says in the history that it runs; returns the statement to go on with.
    async fn begin(&self, limits: &Limits) -> Result<usize, Failure> {
        let (client, step) = (self.context.client, self.step);
        Executor::batch_execute(client, &limits.set()).await?;
        let statements = step.script.statements();
        // What was set in the session of an earlier run is not set in this one.
        for statement in statements[..step.done].iter().filter(|statement| self.sets_session(statement)) {
            Executor::batch_execute(client, step.script.text(statement)).await?;
        }
        let found = match statements.get(step.done).map(|statement| &statement.execution) {
            Some(Execution::Alone(alone)) if step.in_doubt => {
                Some(recover::took_effect(client, alone).await?)
            }
            _ => None,
        };
        let first = step.done + usize::from(found == Some(Found::TookEffect));
        let is_resumed = step.done > 0 || step.in_doubt;
        let action = if is_resumed { LogAction::Resumed } else { LogAction::Started };
        let number = step.done + 1;
        let text = found.map(|found| match found {
            Found::TookEffect => format!("statement {number} had been begun, and it took effect"),
            Found::DidNot => {
                format!("statement {number} had been begun, and it did not take effect: it runs again")
            }
            Found::Unknown => {
                format!(
                    "statement {number} had been begun; whether it took effect cannot be seen, it runs again"
                )
            }
        });
        let prefix = self.prefix(first);
        let reached = Reached { statement: first, attempted: first, prefix: Some(&prefix) };
        self.record(RecordStatus::Running, action, reached, text.as_deref()).await?;
        Ok(first)
    }

    async fn statement(&self, index: usize, statement: &Statement) -> Result<(), Failure> {
        let sql = self.step.script.text(statement);
        match &statement.execution {
            Execution::InTransaction => self.with_progress(index, sql).await,
            Execution::Alone(alone) => self.alone(index, sql, alone).await,
        }
    }

    async fn with_progress(&self, index: usize, sql: &str) -> Result<(), Failure> {
        // Under the limits of the session, which the file itself may have changed.
        let transaction = Transaction::begin_plain(self.context.client).await?;
        let progress = self.as_runner(&self.progress(index + 1, index + 1));
        match transaction.run_one(sql, &progress, &self.context.fence).await {
            Ok(()) => Ok(transaction.commit().await?),
            Err(failure) => {
                transaction.rollback().await;
                Err(failure)
            }
        }
    }

    async fn alone(&self, index: usize, sql: &str, alone: &Alone) -> Result<(), Failure> {
        let context = self.context;
        recover::prepare(context.client, alone, context.settings.busy_wait).await?;
        self.save(index, index + 1).await?;
        let ran = if recover::finish(context.client, alone).await? {
            Ok(())
        } else if waits_without_blocking(alone, sql) {
            self.without_lock_timeout(sql).await
        } else {
            message::send(context.client, sql).await.map(drop).map_err(Failure::from)
        };
        match ran {
            Ok(()) => {
                let checked = recover::check(context.client, alone).await;
                // From here on the next run finds out by the catalogue.
                checked.map_err(|failure| failure.keeping_row(index))?;
                self.save(index + 1, index + 1).await.map_err(|failure| failure.keeping_row(index))
            }
            Err(failure) => {
                recover::clean_up(context.client, alone).await;
                Err(failure)
            }
        }
    }

    /// A time-out would leave an INVALID index, and nobody queues up behind the wait.
    async fn without_lock_timeout(&self, sql: &str) -> Result<(), Failure> {
        let client = self.context.client;
        let before: String = ask::one(client, "SELECT pg_catalog.current_setting('lock_timeout')").await?;
        Executor::batch_execute(client, "SET lock_timeout = 0").await?;
        let ran = message::send(client, sql).await;
        let restore = format!("SELECT pg_catalog.set_config('lock_timeout', {}, false)", literal(&before));
        let restored = ask::one::<String>(client, &restore).await;
        ran?;
        restored?;
        Ok(())
    }

    /// Keeps the progress in a transaction of its own.
    async fn save(&self, statement: usize, attempted: usize) -> Result<(), Failure> {
        let progress = self.as_runner(&self.progress(statement, attempted));
        Transaction::record_alone(self.context.client, &progress, &self.context.fence).await
    }

    /// The history is written by the role that connected, whatever the file has set.
    fn as_runner(&self, record: &str) -> String {
        format!("{}{record}", self.context.session.identity_sql())
    }

    fn progress(&self, statement: usize, attempted: usize) -> String {
        let prefix = self.prefix(attempted);
        let reached = Reached { statement, attempted, prefix: Some(&prefix) };
        progress_sql(&self.context.settings.table, &self.step.key, reached)
    }

    fn prefix(&self, statements: usize) -> Checksum {
        self.step.script.loose_checksum_of_first(statements)
    }

    async fn record(
        &self,
        status: RecordStatus,
        action: LogAction,
        reached: Reached<'_>,
        error: Option<&str>,
    ) -> Result<(), Failure> {
        let context = self.context;
        let mut change = context.change(self.step, action, status);
        (change.reached, change.error) = (reached, error);
        change.at = (action == LogAction::Resumed).then_some(reached.statement + 1);
        change.took = Took::Known(context.began.elapsed());
        Transaction::record_alone(context.client, &self.as_runner(&change.sql()), &context.fence).await
    }

    fn sets_session(&self, statement: &Statement) -> bool {
        let text = self.step.script.text(statement);
        let words = text.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
        let mut words = words.map(str::to_ascii_uppercase);
        match words.next().as_deref() {
            Some("SET") => words.next().as_deref() != Some("LOCAL"),
            Some("RESET") => true,
            // As pg_dump writes it.
            Some("SELECT") => {
                matches!(words.next().as_deref(), Some("SET_CONFIG" | "PG_CATALOG.SET_CONFIG"))
            }
            _ => false,
        }
    }
}

/// The concurrent forms wait for the transactions of others with a lock that lets reading and writing go on. Not so DETACH
/// PARTITION, which in the end locks out everybody, and is finished later when it was broken off.
fn waits_without_blocking(alone: &Alone, sql: &str) -> bool {
    match alone {
        Alone::CreateIndex { .. } | Alone::DropIndex { .. } => true,
        Alone::Repeatable => sql.to_ascii_uppercase().contains("CONCURRENTLY"),
        _ => false,
    }
}
