//! Whether a failed attempt is followed by another: the one function that decides it. Pure: no clock, no chance, no
//! budget. It narrows the classification's advice and never widens it.

use db_core::{Action, Advice, Error, GaveUpReason, Kind, Operation, Outcome, Phase, Signal, SqlState};

use crate::{Policy, Scope};

/// What is being tried again, as only its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// A statement that changes nothing.
    Read,
    /// A write that may safely happen twice.
    IdempotentWrite,
    /// Any other single write.
    Write,
    /// A whole transaction, from BEGIN to COMMIT, on a connection of its own each time.
    Transaction,
}

/// What is known about a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    phase: Phase,
    outcome: Outcome,
    advice: Advice,
    sqlstate: Option<SqlState>,
}

/// What a call has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Retries, without those after lost races.
    pub(crate) retries: u32,
    /// Retries after lost races.
    pub(crate) lost_races: u32,
    /// Credentials were asked for anew.
    pub(crate) refreshed: bool,
    /// The statement was prepared anew.
    pub(crate) reprepared: bool,
    /// The primary was looked for.
    pub(crate) rediscovered: bool,
}

/// Whether there is another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is, to be prepared by this action.
    Again(Action),
    /// There is none.
    Stop(GaveUpReason),
}

impl Failure {
    /// An error of somebody else, of which is known only whether it may be retried.
    pub(crate) fn foreign(is_retryable: bool) -> Self {
        use db_core::Cause;
        let cause = if is_retryable { Cause::Unsent } else { Cause::Misuse };
        let class = Signal::new(cause, Phase::Execute).classify();
        Self {
            kind: class.kind,
            phase: Phase::Execute,
            outcome: class.outcome,
            advice: class.advice,
            sqlstate: None,
        }
    }

    /// The advice that applies to `work`. A transaction has two: until its COMMIT is sent that of any write, since it runs
    /// nothing that the server would keep, and then that of the COMMIT.
    fn action(&self, work: Work) -> Action {
        self.advice.on(match work {
            Work::Read => Operation::Read,
            Work::IdempotentWrite => Operation::IdempotentWrite,
            Work::Transaction if self.phase == Phase::Commit => Operation::Commit,
            Work::Write | Work::Transaction => Operation::Write,
        })
    }

    /// Whether another attempt might apply a write twice.
    fn is_in_doubt(&self, work: Work) -> bool {
        match work {
            Work::Read | Work::IdempotentWrite => false,
            Work::Write | Work::Transaction => self.outcome == Outcome::Unknown,
        }
    }

    fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Connection => self.kind == Kind::Connection,
            Scope::Codes(codes) => match self.sqlstate {
                Some(code) => codes.contains(&code),
                None => self.kind == Kind::Connection,
            },
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            phase: error.phase(),
            outcome: error.outcome(),
            advice: error.advice(),
            sqlstate: error.sqlstate(),
        }
    }
}

/// Decides, and notes in `used` what another attempt costs.
pub(crate) fn decide(policy: &Policy, work: Work, failure: &Failure, used: &mut Used) -> Decision {
    let action = failure.action(work);
    if failure.is_in_doubt(work) {
        return Decision::Stop(GaveUpReason::OutcomeUnknown);
    }
    let is_connecting = matches!(failure.phase, Phase::Acquire | Phase::Connect);
    let is_left_to_the_pool = is_connecting && !policy.retries_connecting;
    if failure.outcome == Outcome::Executed || !failure.is_in(policy.scope) || is_left_to_the_pool {
        return Decision::Stop(GaveUpReason::NotRetryable);
    }
    let may_pass = match action {
        Action::Retry | Action::RetrySlowly | Action::RetryTransaction => true,
        // What did not help once does not help twice.
        Action::RefreshCredentials => !std::mem::replace(&mut used.refreshed, true),
        Action::Reprepare => !std::mem::replace(&mut used.reprepared, true),
        Action::Rediscover => !std::mem::replace(&mut used.rediscovered, true),
        // `Never`, `Resolve`, and advice that this version does not know.
        _ => false,
    };
    if !may_pass {
        return Decision::Stop(GaveUpReason::NotRetryable);
    }
    let is_lost_race = action == Action::RetryTransaction && failure.kind == Kind::Performance;
    let (count, most) = if is_lost_race {
        (&mut used.lost_races, policy.max_serialization_retries)
    } else {
        (&mut used.retries, policy.max_retries)
    };
    if *count >= most {
        return Decision::Stop(GaveUpReason::Exhausted);
    }
    *count += 1;
    Decision::Again(action)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
