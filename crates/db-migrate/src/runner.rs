//! Carries out the steps of a plan, one file after the other, and keeps record. What runs is decided by `plan`; how a file
//! runs is in `transaction` and `stepwise`.

use std::time::Instant;

use tokio_postgres::Client;

use crate::busy::Patience;
use crate::history::{self, Change, LogAction, PreparedRecord, Reached, RecordStatus, Took};
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
    /// How files are recorded that run in a transaction for the first time, if there are several.
    record: Option<PreparedRecord<'a>>,
    /// The next file's transaction, which was opened with the COMMIT before it.
    opened: Option<Transaction<'a>>,
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
        Ok(Self { context, watch: Watch::new(connector, database), record: None, opened: None })
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
        let mut new = steps.iter().filter(|step| self.context.can_prepare(step));
        if let (Some(first), Some(_)) = (new.next(), new.next()) {
            self.record = PreparedRecord::prepare(self.context.client, &self.context.end_of(first)).await;
        }
        let mut done = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let &PlannedStep { version, name, file, direction, .. } = step;
            let (position, total) = (index + 1, steps.len());
            self.context.progress.started(&Started { version, name, file, direction, position, total });
            done.push(self.step(step, steps.get(index + 1)).await?);
        }
        Ok(done)
    }

    async fn step(&mut self, step: &PlannedStep<'_>, next: Option<&PlannedStep<'_>>) -> Result<Done> {
        self.context.began = Instant::now();
        let limits = self.context.limits(step);
        let result = if step.script.directives().no_transaction {
            self.stepwise(step, &limits).await
        } else {
            let next = next.filter(|next| self.context.is_whole_in_session(next));
            let next = next.map(|next| self.context.limits(next));
            self.in_transaction(step, &limits, next.as_ref()).await
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

    async fn in_transaction(
        &mut self,
        step: &PlannedStep<'_>,
        limits: &Limits,
        next: Option<&Limits>,
    ) -> Result<(), Failure> {
        let Self { context, watch, record, opened } = self;
        let mut patience = context.patience(limits);
        loop {
            let prepared = record.as_ref().filter(|_| context.can_prepare(step));
            let attempt = context.attempt(step, limits, prepared, opened.take(), next);
            let failure = match watch.during(context, attempt).await {
                Ok(transaction) => {
                    *opened = transaction;
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if prepared.is_some() && failure.is_unknown_record(step.script) {
                *record = None;
                continue;
            }
            if !(failure.is_busy() && patience.pause(context, step, watch.blockers()).await) {
                return Err(failure);
            }
        }
    }

    async fn stepwise(&mut self, step: &PlannedStep<'_>, limits: &Limits) -> Result<(), Failure> {
        let Self { context, watch, .. } = self;
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

impl<'a> Context<'a> {
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

    fn limits(&self, step: &PlannedStep<'_>) -> Limits {
        Limits::new(step.script.directives(), self.settings, &self.session)
    }

    /// Whether the step is one transaction, in the session that all steps run in.
    fn is_whole_in_session(&self, step: &PlannedStep<'_>) -> bool {
        matches!(self.fence, Fence::Process(_)) && !step.script.directives().no_transaction
    }

    /// Whether the record of the step may be a prepared statement: there is no row to look for.
    fn can_prepare(&self, step: &PlannedStep<'_>) -> bool {
        self.is_whole_in_session(step) && step.direction == Direction::Up && !step.is_recorded
    }

    /// What the row says when the step is through.
    fn end_of<'c>(&'c self, step: &'c PlannedStep<'_>) -> Change<'c> {
        let (action, status) = history::end(step.direction);
        let count = step.script.statements().len();
        let reached = Reached { statement: count, attempted: count, prefix: None };
        Change { is_new: !step.is_recorded, reached, ..self.change(step, action, status) }
    }

    /// A file, the session's settings as they were, and its row: all in one transaction, which may be open already. It gives
    /// the one for the next file.
    async fn attempt(
        &self,
        step: &PlannedStep<'_>,
        limits: &Limits,
        prepared: Option<&PreparedRecord<'_>>,
        opened: Option<Transaction<'a>>,
        next: Option<&Limits>,
    ) -> Result<Option<Transaction<'a>>, Failure> {
        let change = self.end_of(step);
        let change = prepared.map_or_else(|| change.sql(), |prepared| prepared.sql(&change));
        let (transaction, own) = match opened {
            Some(transaction) => (transaction, None),
            None => Transaction::begin_under(self.client, limits, &self.fence).await?,
        };
        let session = own.as_ref().unwrap_or(&self.session);
        // The history is written by the role that connected.
        let record = format!("{}{change}", session.restore_sql());
        match transaction.run(step.script, &record, &self.fence).await {
            Ok(()) => {
                let committed = transaction.commit_and_begin(next).await;
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
