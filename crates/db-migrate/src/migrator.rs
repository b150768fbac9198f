//! What a caller asks for, over a connection of his. What runs is decided by `plan`, and carried out by `runner`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use crate::history::{self, as_millis};
use crate::lock::{Fence, Lock};
use crate::progress::Silent;
use crate::runner::Runner;
use crate::seed::run::seed;
use crate::status::status;
use crate::verify::roundtrip::roundtrip;
use crate::verify::{data, verify};
use crate::watch::Connector;
use crate::{
    Connect, DataCheck, DataReport, Direction, Error, Goal, HistoryTable, LogEntry, Migrations, Progress,
    Result, Roundtrip, RoundtripReport, SeedRun, Seeds, Settings, Status, Steps, Verification, Version, ask,
    plan,
};

/// Migrates a database, and tells where it stands.
///
/// The connection may come from anywhere, but it must reach the server without a pooler that changes the session
/// between transactions, and it must not be in a transaction.
///
/// # Cancel safety
/// Dropping a future of [`up`](Self::up), [`down`](Self::down), [`to`](Self::to), [`redo`](Self::redo) or [`reset`](Self::reset)
/// leaves each migration either applied or not; one without a transaction may stay half done, and the next run goes on
/// with it. A statement that runs on the server runs to its end, then a rollback, the settings of the session and the
/// release of the lock follow it on the connection. Close the connection to be rid of them at once; do not hand it to
/// somebody else before that statement has ended.
#[derive(Clone)]
pub struct Migrator {
    migrations: Migrations,
    settings: Settings,
    progress: Arc<dyn Progress>,
    connector: Option<Connector>,
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
        Self { migrations, settings: Settings::default(), progress: Arc::new(Silent), connector: None }
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

    /// Opens a second connection while a statement takes longer than a moment, to tell who blocks it and how far an index
    /// is. It should be of the same role, which may see its own sessions; others are seen with `pg_read_all_stats`.
    #[must_use]
    pub fn watcher(mut self, connect: impl Connect + 'static) -> Self {
        self.connector = Some(Connector::new(connect));
        self
    }

    pub(crate) fn table(&self) -> &HistoryTable {
        &self.settings.table
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
    pub async fn up(&self, client: &Client, steps: Steps) -> Result<Run> {
        self.run(client, &Goal::Up(steps)).await
    }

    /// Rolls back as many migrations, the last applied first.
    ///
    /// # Errors
    /// As [`Migrator::up`].
    pub async fn down(&self, client: &Client, count: usize) -> Result<Run> {
        self.run(client, &Goal::Down(count)).await
    }

    /// Rolls back everything. Whether that may be done here is for the caller to ask.
    ///
    /// # Errors
    /// As [`Migrator::up`].
    pub async fn reset(&self, client: &Client) -> Result<Run> {
        self.run(client, &Goal::Reset).await
    }

    /// Rolls back what is newer than a version, then applies what is pending up to it.
    ///
    /// # Errors
    /// As [`Migrator::up`]; [`PlanError::UnknownVersion`](crate::PlanError::UnknownVersion).
    pub async fn to(&self, client: &Client, version: &Version) -> Result<Run> {
        self.run(client, &Goal::To(version.clone())).await
    }

    /// Rolls back as many migrations and applies them again: how a migration that is being written is tried out.
    ///
    /// # Errors
    /// As [`Migrator::up`].
    pub async fn redo(&self, client: &Client, count: usize) -> Result<Run> {
        self.run(client, &Goal::Redo(count)).await
    }

    /// Tells what a run would do now. Writes nothing and takes no lock.
    ///
    /// # Errors
    /// [`Error::Plan`] as the run would; [`Error::Database`] when the history cannot be read.
    pub async fn plan(&self, client: &Client, goal: &Goal) -> Result<crate::Plan<'_>> {
        let records = history::load(client, &self.settings.table).await?;
        Ok(plan(&records, &self.migrations, goal, &self.settings)?)
    }

    /// Tells where each migration stands. Writes nothing and takes no lock; works before the first run.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::History`] when the history cannot be read.
    pub async fn status(&self, client: &Client) -> Result<Status> {
        let records = history::load(client, &self.settings.table).await?;
        Ok(status(&records, &self.migrations))
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
    /// creates, and partitions are not drift. Line ends within functions do not count. Not compared are owners, privileges,
    /// comments, storage parameters, operators, casts, collations, text search, and what belongs to the whole database or
    /// server.
    ///
    /// # Errors
    /// [`Error::MayNotCreateDatabase`] without the privilege; [`Error::Failed`] when a migration does not run in an empty
    /// database. Drift is a result, not an error.
    ///
    /// # Cancel safety
    /// Dropping the future sends the removal of the scratch database behind whatever runs. What a crash leaves behind
    /// is removed by a later verification, after an hour.
    pub async fn verify(&self, client: &Client, connect: &impl Connect) -> Result<Verification> {
        verify(client, connect, &self.migrations, &self.settings).await
    }

    /// Takes each migration up, down and up again in a scratch database, which `connect` reaches, and compares the schemas in
    /// between. All files are replayed, applied or not; the database itself and its history are not looked at.
    ///
    /// What [`Migrator::verify`] does not compare is not compared here either. Extensions and partitions are.
    ///
    /// # Errors
    /// [`Error::MayNotCreateDatabase`] without the privilege. A file that fails is a result, not an error.
    ///
    /// # Cancel safety
    /// As [`Migrator::verify`].
    pub async fn roundtrip(
        &self,
        client: &Client,
        connect: &impl Connect,
        mode: Roundtrip,
    ) -> Result<RoundtripReport> {
        roundtrip(client, connect, &self.migrations, &self.settings, mode).await
    }

    /// Looks for rows, sequences and indexes that are not what the schema promises. Reads only, in one transaction and within
    /// the limits of the session; neither files nor history are needed. What the role may not read is told as unchecked.
    ///
    /// # Errors
    /// [`Error::Database`] when the server was not there. What is found is a result, not an error.
    ///
    /// # Cancel safety
    /// Dropping the future sends a ROLLBACK behind whatever runs.
    pub async fn check_data(&self, client: &Client, mode: DataCheck) -> Result<DataReport> {
        data::check(client, mode).await
    }

    /// Runs seeds under the migration lock, each file in one transaction. Every file runs twice, the second time behind a
    /// savepoint that is rolled back: if that inserts or deletes rows, nothing of the file stays.
    ///
    /// Attempts count: an INSERT that fails within `EXCEPTION WHEN unique_violation` is an insert. What a rollback does not
    /// take back, such as the values of sequences, is used up twice.
    ///
    /// # Errors
    /// [`Error::Seed`] when a migration is pending, and for the first file that is not idempotent; [`Error::Failed`] for the
    /// first that fails. Those before it stay.
    ///
    /// # Cancel safety
    /// As [`Migrator::up`].
    pub async fn seed(&self, client: &Client, seeds: &Seeds) -> Result<SeedRun> {
        let began = Instant::now();
        let done = self
            .locked(client, async |fence| {
                seed(client, &fence, seeds, &self.migrations, &self.settings, &*self.progress).await
            })
            .await?;
        Ok(SeedRun { environment: seeds.environment().to_owned(), done, duration: began.elapsed() })
    }

    async fn run(&self, client: &Client, goal: &Goal) -> Result<Run> {
        let began = Instant::now();
        let what = goal.to_string();
        let done = self
            .locked(client, async |fence| {
                let records = history::load(client, &self.settings.table).await?;
                let steps = plan(&records, &self.migrations, goal, &self.settings)?.steps;
                if steps.is_empty() {
                    return Ok(Vec::new());
                }
                self.recorded(client, fence, &what, async |runner| runner.steps(&steps).await).await
            })
            .await?;
        Ok(Run { done, duration: began.elapsed() })
    }

    /// Does something while no other runner does, on a server that can be written.
    pub(crate) async fn locked<T>(
        &self,
        client: &Client,
        work: impl AsyncFnOnce(Fence) -> Result<T>,
    ) -> Result<T> {
        refuse_read_only(client).await?;
        let lock = Lock::acquire(client, &self.settings, &*self.progress).await?;
        let result = work(lock.fence()).await;
        lock.release(result).await
    }

    /// Does something that the log tells of, from its beginning to its end.
    pub(crate) async fn recorded<T>(
        &self,
        client: &Client,
        fence: Fence,
        what: &str,
        work: impl AsyncFnOnce(&mut Runner<'_>) -> Result<T>,
    ) -> Result<T> {
        let (began, table) = (Instant::now(), &self.settings.table);
        let (settings, progress) = (&self.settings, &*self.progress);
        let mut runner =
            Runner::begin(client, settings, progress, fence, what, self.connector.clone()).await?;
        let result = work(&mut runner).await;
        let error = result.as_ref().err().map(ToString::to_string);
        let ended =
            history::end_run(client, table, runner.run(), what, began.elapsed(), error.as_deref()).await;
        match (result, ended) {
            (Ok(value), Ok(())) => Ok(value),
            (Ok(_), Err(source)) => Err(Error::doing("record the end of the run")(source)),
            (Err(error), _) => Err(error),
        }
    }
}

/// A standby refuses every write, and a server that is read only by default is so on purpose.
async fn refuse_read_only(client: &Client) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_is_in_recovery(),
                      pg_catalog.current_setting('default_transaction_read_only')::boolean";
    let answer = ask::one(client, sql).await;
    let (is_standby, is_read_only): (bool, bool) =
        answer.map_err(Error::doing("ask whether the server can be written"))?;
    if is_standby || is_read_only { Err(Error::ReadOnly { is_standby }) } else { Ok(()) }
}

impl std::fmt::Debug for Migrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migrator")
            .field("migrations", &self.migrations.len())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
