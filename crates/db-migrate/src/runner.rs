//! Carries out the steps of a plan, one file after the other, and keeps record. What runs is decided by `plan`; how a file
//! runs is in `transaction` and `stepwise`.

use std::time::Instant;

use tokio_postgres::Client;

use crate::busy::Patience;
use crate::history::{self, Change, LogAction, Reached, RecordStatus, Took};
use crate::lock::Fence;
use crate::message;
use crate::session::{Limits, SessionState};
use crate::transaction::{Failure, FailureCause, Transaction};
use crate::watch::{Connector, Watch};
use crate::{
    Direction, Done, Error, Failed, Finished, LockKind, PlannedStep, Progress, Result, Settings, Started,
    ask, stepwise,
};

/// What every step needs to know of its run.
pub(crate) struct Context<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) fence: Fence,
    /// The server process that runs everything; none is 0, when each transaction may be in another.
    pub(crate) pid: i32,
    /// The run's first entry in the log.
    pub(crate) run: i64,
    /// When the step began.
    pub(crate) began: Instant,
    /// As it was before the run.
    pub(crate) session: SessionState,
}

pub(crate) struct Runner<'a> {
    context: Context<'a>,
    watch: Watch,
}

impl<'a> Runner<'a> {
    /// Gets ready: the history's tables exist, and its log knows of the run. The caller holds the lock.
    pub(crate) async fn begin(
        client: &'a Client,
        settings: &'a Settings,
        progress: &'a dyn Progress,
        fence: Fence,
        what: &str,
        connector: Option<Connector>,
    ) -> Result<Runner<'a>> {
        history::create(client, &settings.table).await?;
        let run = history::begin_run(client, &settings.table, what).await?;
        let failed = || Error::doing("read the session's settings");
        let session = SessionState::capture(client).await.map_err(failed())?;
        let database: String =
            ask::one(client, "SELECT pg_catalog.current_database()::text").await.map_err(failed())?;
        let pid = match fence {
            Fence::Process(pid) => pid,
            Fence::Lease { .. } => 0,
        };
        let context = Context { client, settings, progress, fence, pid, run, began: Instant::now(), session };
        Ok(Self { context, watch: Watch::new(connector, database) })
    }

    /// The run's first entry in the log.
    pub(crate) fn run(&self) -> i64 {
        self.context.run
    }

    pub(crate) async fn steps(&mut self, steps: &[PlannedStep<'_>]) -> Result<Vec<Done>> {
        if let LockKind::Lease { .. } = self.context.settings.lock
            && let Some(step) = steps.iter().find(|step| step.script.directives().no_transaction)
        {
            return Err(Error::NeedsSession { file: step.file.to_owned() });
        }
        let mut done = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let &PlannedStep { version, name, file, direction, .. } = step;
            let (position, total) = (index + 1, steps.len());
            self.context.progress.started(&Started { version, name, file, direction, position, total });
            done.push(self.step(step).await?);
        }
        Ok(done)
    }

    async fn step(&mut self, step: &PlannedStep<'_>) -> Result<Done> {
        self.context.began = Instant::now();
        let limits = Limits::new(step.script.directives(), self.context.settings, &self.context.session);
        let result = if step.script.directives().no_transaction {
            self.stepwise(step, &limits).await
        } else {
            self.in_transaction(step, &limits).await
        };
        let duration = self.context.began.elapsed();
        let &PlannedStep { version, name, file, direction, .. } = step;
        if let Err(failure) = result {
            let (completed, keeps_row) = (failure.completed, failure.keeps_row);
            let error = failure.into_error(step, self.watch.blockers());
            self.record_failure(step, completed, keeps_row, &error).await;
            self.context.progress.failed(&Failed { version, file, duration, error: &error });
            return Err(error);
        }
        let finished = Finished { version, name, file, duration };
        match direction {
            Direction::Up => self.context.progress.applied(&finished),
            Direction::Down => self.context.progress.rolled_back(&finished),
        }
        let (version, name, file) = (version.clone(), name.to_owned(), file.to_owned());
        Ok(Done { version, name, file, direction, duration })
    }

    async fn in_transaction(&mut self, step: &PlannedStep<'_>, limits: &Limits) -> Result<(), Failure> {
        let Self { context, watch } = self;
        let mut patience = context.patience(limits);
        loop {
            let Err(failure) = watch.during(context, context.attempt(step, limits)).await else {
                return Ok(());
            };
            if !(failure.is_busy() && patience.pause(context, step, watch.blockers()).await) {
                return Err(failure);
            }
        }
    }

    async fn stepwise(&mut self, step: &PlannedStep<'_>, limits: &Limits) -> Result<(), Failure> {
        let Self { context, watch } = self;
        let restoring = context.session.restoring(context.client);
        let result = stepwise::run(context, watch, step, limits).await;
        let restored = restoring.restore().await;
        result?;
        // The file is through, and its row says so.
        let count = step.script.statements().len();
        restored.map_err(|source| Failure::from(source).keeping_row(count))
    }

    /// The failure itself matters more than its record.
    async fn record_failure(&self, step: &PlannedStep<'_>, completed: usize, keeps_row: bool, error: &Error) {
        let cause = error.database().map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("{error}{cause}");
        if let Err(failure) = self.context.record_failure(step, completed, keeps_row, &text).await {
            tracing::debug!(target: "db::migrate", ?failure, file = step.file, "failure not recorded");
        }
    }
}

impl Context<'_> {
    /// A change of the step's row that tells of no progress.
    pub(crate) fn change<'c>(
        &'c self,
        step: &'c PlannedStep<'_>,
        action: LogAction,
        status: RecordStatus,
    ) -> Change<'c> {
        Change {
            table: &self.settings.table,
            run: self.run,
            migration: step.migration,
            key: &step.key,
            direction: step.direction,
            is_new: false,
            action,
            status,
            reached: Reached::default(),
            took: Took::Transaction,
            at: None,
            error: None,
        }
    }

    pub(crate) fn patience(&self, limits: &Limits) -> Patience {
        Patience::new(self.settings.busy_wait, limits)
    }

    /// A file, the session's settings as they were, and its row: all in one transaction.
    async fn attempt(&self, step: &PlannedStep<'_>, limits: &Limits) -> Result<(), Failure> {
        let (action, status) = history::end(step.direction);
        let mut change = self.change(step, action, status);
        change.is_new = !step.is_recorded;
        let count = step.script.statements().len();
        change.reached = Reached { statement: count, attempted: count, prefix: None };
        let (transaction, own) = Transaction::begin_under(self.client, limits, &self.fence).await?;
        let session = own.as_ref().unwrap_or(&self.session);
        // The history is written by the role that connected.
        let record = format!("{}{}", session.restore_sql(), change.sql());
        match transaction.run(step.script, &record, &self.fence).await {
            Ok(()) => {
                let committed = transaction.commit().await;
                committed.map_err(|source| Failure::from(source).after(step.script))
            }
            Err(failure) => {
                transaction.rollback().await;
                Err(failure)
            }
        }
    }

    /// Changes the row only under the lock: when that was lost, the row is another runner's, who may have applied the file by
    /// now.
    async fn record_failure(
        &self,
        step: &PlannedStep<'_>,
        completed: usize,
        keeps_row: bool,
        text: &str,
    ) -> Result<(), Failure> {
        let is_stepwise = step.script.directives().no_transaction;
        let mut change = self.change(step, LogAction::Failed, RecordStatus::Failed);
        change.took = Took::Known(self.began.elapsed());
        change.at = (completed < step.script.statements().len()).then_some(completed + 1);
        change.error = Some(text);
        let prefix = step.script.loose_checksum_of_first(completed);
        if is_stepwise {
            change.reached = Reached { statement: completed, attempted: completed, prefix: Some(&prefix) };
        }
        let row = match step.direction {
            _ if keeps_row => None,
            // It stays as applied as it was.
            Direction::Down if !is_stepwise => None,
            Direction::Down if completed == 0 => {
                change.status = RecordStatus::Completed;
                Some(change.sql())
            }
            _ => Some(change.sql()),
        };
        if let Some(row) = row {
            match Transaction::record_alone(self.client, &row, &self.fence).await {
                Err(Failure { cause: FailureCause::Runner(_), .. }) => {}
                recorded => return recorded,
            }
        }
        Ok(message::send(self.client, &change.entry()).await.map(drop)?)
    }
}
