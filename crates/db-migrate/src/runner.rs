//! Carries out a plan over a borrowed connection. What runs is decided by `plan`; how a file runs is in `transaction`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use crate::history::{self, as_millis};
use crate::lock::Lock;
use crate::progress::Silent;
use crate::status::status;
use crate::transaction::{Failure, Transactions};
use crate::verify::verify;
use crate::{
    Connect, Direction, Error, Failed, Finished, Goal, LogEntry, Migrations, PlannedStep, Progress, Record,
    Result, Settings, Started, Status, Steps, Verification, Version, plan,
};

/// Migrates a database, and tells where it stands.
///
/// The connection may come from anywhere, but it must reach the server without a pooler that changes the session
/// between transactions, and it must not be in a transaction.
///
/// # Cancel safety
/// Dropping a future of [`up`](Self::up), [`down`](Self::down) or [`reset`](Self::reset) leaves each migration either
/// applied or not. A statement that runs on the server runs to its end, then a rollback and the release of the lock
/// follow it on the connection. Close the connection to be rid of them at once; do not hand it to somebody else before
/// that statement has ended.
#[derive(Clone)]
pub struct Migrator {
    migrations: Migrations,
    settings: Settings,
    progress: Arc<dyn Progress>,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Run {
    /// The files that ran, in this order; empty when there was nothing to do.
    pub done: Vec<Done>,
    /// The whole run with its wait for the lock; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// One file that ran and was committed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// The migration's version.
    pub version: Version,
    /// The migration's name.
    pub name: String,
    /// The file.
    pub file: String,
    /// Where it went.
    pub direction: Direction,
    /// From BEGIN to the answer to COMMIT; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

impl Migrator {
    /// A migrator with default [`Settings`] that tells nobody of its progress.
    #[must_use]
    pub fn new(migrations: Migrations) -> Self {
        Self { migrations, settings: Settings::default(), progress: Arc::new(Silent) }
    }

    /// Replaces the settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Tells somebody what happens.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The migrations.
    #[must_use]
    pub fn migrations(&self) -> &Migrations {
        &self.migrations
    }

    /// Applies pending migrations.
    ///
    /// # Errors
    /// [`Error::Plan`] and [`Error::Locked`] before anything ran; [`Error::Failed`] for the first migration that fails,
    /// while those before it stay.
    pub async fn up(&self, client: &mut Client, steps: Steps) -> Result<Run> {
        self.run(client, Goal::Up(steps)).await
    }

    /// Rolls back as many migrations, the last applied first.
    ///
    /// # Errors
    /// As [`Migrator::up`].
    pub async fn down(&self, client: &mut Client, count: usize) -> Result<Run> {
        self.run(client, Goal::Down(count)).await
    }

    /// Rolls back everything. Whether that may be done here is for the caller to ask.
    ///
    /// # Errors
    /// As [`Migrator::up`].
    pub async fn reset(&self, client: &mut Client) -> Result<Run> {
        self.run(client, Goal::Reset).await
    }

    /// Tells what a run would do now. Writes nothing and takes no lock.
    ///
    /// # Errors
    /// [`Error::Plan`] as the run would; [`Error::Database`] when the history cannot be read.
    pub async fn plan(&self, client: &Client, goal: Goal) -> Result<crate::Plan<'_>> {
        let records = history::load(client, &self.settings.table).await?;
        Ok(plan(&records, &self.migrations, goal)?)
    }

    /// Tells where each migration stands. Writes nothing and takes no lock; works before the first run.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::History`] when the history cannot be read.
    pub async fn status(&self, client: &Client) -> Result<Status> {
        let records = history::load(client, &self.settings.table).await?;
        let log = history::log(client, &self.settings.table).await?;
        Ok(status(&records, &log, &self.migrations))
    }

    /// Everything that ever happened, oldest first. Writes nothing.
    ///
    /// # Errors
    /// As [`Migrator::status`].
    pub async fn history(&self, client: &Client) -> Result<Vec<LogEntry>> {
        history::log(client, &self.settings.table).await
    }

    /// Compares the schema with a replay of the applied migrations in a scratch database, which `connect` reaches.
    ///
    /// The database itself is only read. Migrations that change what all databases of a server share, such as roles, do so
    /// again in the replay. Objects in schemas that no migration touches, extensions that no migration
    /// creates, and partitions are not drift.
    ///
    /// # Errors
    /// [`Error::MayNotCreateDatabase`] without the privilege; [`Error::Failed`] when a migration does not run in an empty
    /// database. Drift is a result, not an error.
    ///
    /// # Cancel safety
    /// Dropping the future sends the removal of the scratch database behind whatever runs. What a crash leaves behind
    /// is removed by a later verification, after an hour.
    pub async fn verify(&self, client: &mut Client, connect: &impl Connect) -> Result<Verification> {
        verify(client, connect, &self.migrations, &self.settings).await
    }

    async fn run(&self, client: &mut Client, goal: Goal) -> Result<Run> {
        let client = &*client;
        let began = Instant::now();
        let lock = Lock::acquire(client, &self.settings, &*self.progress).await?;
        let result = self.run_locked(client, goal).await;
        let done = lock.release(result).await?;
        Ok(Run { done, duration: began.elapsed() })
    }

    async fn run_locked(&self, client: &Client, goal: Goal) -> Result<Vec<Done>> {
        let table = &self.settings.table;
        let records = history::load(client, table).await?;
        let steps = plan(&records, &self.migrations, goal)?.steps;
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        history::create(client, table).await?;
        let mut work =
            Transactions::new(client).await.map_err(Error::doing("read the session's settings"))?;
        let mut done = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let &PlannedStep { version, name, file, direction, .. } = step;
            let (position, total) = (index + 1, steps.len());
            self.progress.started(&Started { version, name, file, direction, position, total });
            done.push(self.step(client, &mut work, step, &records).await?);
        }
        Ok(done)
    }

    async fn step(
        &self,
        client: &Client,
        work: &mut Transactions<'_>,
        step: &PlannedStep<'_>,
        records: &[Record],
    ) -> Result<Done> {
        let began = Instant::now();
        let &PlannedStep { version, name, file, direction, .. } = step;
        let result = self.attempt(client, work, step, records).await;
        let duration = began.elapsed();
        if let Err(failure) = result {
            work.rollback().await;
            let error = failure.into_error(step);
            self.log_failure(client, step, duration, &error).await;
            self.progress.failed(&Failed { version, file, duration, error: &error });
            return Err(error);
        }
        let finished = Finished { version, name, file, duration };
        match direction {
            Direction::Up => self.progress.applied(&finished),
            Direction::Down => self.progress.rolled_back(&finished),
        }
        Ok(Done {
            version: version.clone(),
            name: name.to_owned(),
            file: file.to_owned(),
            direction,
            duration,
        })
    }

    async fn attempt(
        &self,
        client: &Client,
        work: &mut Transactions<'_>,
        step: &PlannedStep<'_>,
        records: &[Record],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        work.run(step.script, &self.settings).await?;
        // A file renamed from 1 to 001 keeps its row.
        let recorded = records.iter().find(|record| record.version == *step.version);
        let key = recorded.map_or(step.version, |record| &record.version);
        history::record(client, &self.settings.table, step, key, began.elapsed()).await?;
        Ok(work.commit().await?)
    }

    /// The failure itself matters more than its entry in the log.
    async fn log_failure(&self, client: &Client, step: &PlannedStep<'_>, duration: Duration, error: &Error) {
        let cause = error.database().map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("{error}{cause}");
        let logged = history::record_failure(client, &self.settings.table, step, duration, &text).await;
        if let Err(error) = logged {
            tracing::debug!(target: "db::migrate", %error, file = step.file, "failure not logged in the database");
        }
    }
}

impl std::fmt::Debug for Migrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migrator")
            .field("migrations", &self.migrations.len())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
