//! One call in progress: which attempt it is at, and what follows a failed one. Does not sleep and runs nothing.

use std::fmt;

use db_core::{Action, GaveUp, GaveUpReason, Retried};
use tokio::time::Instant;

use crate::Retry;
use crate::decide::{Decision, Failure, Used, decide};
use crate::delays::Delays;

/// One attempt, as what is tried may want to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// What the failure before asks for: to prepare the statement again, for example. `None` at first.
    pub action: Option<Action>,
    /// When it will be cut off.
    pub deadline: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Call<'a> {
    retry: &'a Retry,
    delays: Delays,
    used: Used,
    pub(crate) attempts: u32,
    action: Option<Action>,
}

impl<'a> Call<'a> {
    pub(crate) fn begin(retry: &'a Retry) -> Self {
        if let Some(budget) = &retry.budget {
            budget.call();
        }
        let delays = Delays::new(&retry.policy);
        Self { retry, delays, used: Used::default(), attempts: 0, action: None }
    }

    pub(crate) fn is_too_late(&self) -> bool {
        self.retry.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(crate) fn next_attempt(&mut self) -> Attempt {
        self.attempts += 1;
        Attempt { number: self.attempts, action: self.action, deadline: self.retry.deadline }
    }

    /// When the next attempt begins, or why there is none. Observers are told of either.
    pub(crate) fn after(
        &mut self,
        failure: &Failure,
        error: &dyn fmt::Display,
    ) -> Result<Instant, GaveUpReason> {
        let planned = self.plan(failure);
        match planned {
            Ok(begin) => self.tell_retried(begin, error),
            // An error that no retry would have helped is its caller's, and no event.
            Err(GaveUpReason::NotRetryable) if self.attempts <= 1 => {}
            Err(reason) => self.tell_gave_up(reason, error),
        }
        planned
    }

    fn plan(&mut self, failure: &Failure) -> Result<Instant, GaveUpReason> {
        let action = match decide(&self.retry.policy, self.retry.work, failure, &mut self.used) {
            Decision::Stop(reason) => return Err(reason),
            Decision::Again(action) => action,
        };
        let begin = match action {
            // What failed was not the server: it need not be spared.
            Action::RefreshCredentials | Action::Reprepare => Instant::now(),
            _ => {
                let pause = self.delays.next(action == Action::RetrySlowly, fastrand::f64());
                Instant::now().checked_add(pause).ok_or(GaveUpReason::Deadline)?
            }
        };
        let Retry { deadline, begin_before, .. } = self.retry;
        if deadline.iter().chain(begin_before).any(|last| begin >= *last) {
            return Err(GaveUpReason::Deadline);
        }
        // Last, so that nothing is spent on a retry that does not come.
        if self.retry.budget.as_ref().is_some_and(|budget| !budget.try_retry()) {
            return Err(GaveUpReason::Budget);
        }
        self.action = Some(action);
        Ok(begin)
    }

    fn tell_retried(&self, begin: Instant, error: &dyn fmt::Display) {
        let Some(observer) = &self.retry.observer else { return };
        let delay = begin.saturating_duration_since(Instant::now());
        let Retry { endpoint, operation, .. } = self.retry;
        observer.retried(&Retried::new(endpoint, operation, self.attempts, delay, format_args!("{error}")));
    }

    pub(crate) fn tell_gave_up(&self, reason: GaveUpReason, error: &dyn fmt::Display) {
        let Some(observer) = &self.retry.observer else { return };
        let Retry { endpoint, operation, .. } = self.retry;
        observer.gave_up(&GaveUp::new(endpoint, operation, self.attempts, reason, format_args!("{error}")));
    }
}
