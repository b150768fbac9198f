//! A policy with what outlives a call: budget, breaker, observer, the name of the endpoint. The loop itself is in `run`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use db_core::{CommitResolved, Observer, Outcome, ResolvedBy};
use tokio::time::Instant;

use crate::{Breaker, Budget, Policy, Work};

/// Retries for one endpoint, to be kept and cloned: clones share budget and breaker.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use db_core::Log;
/// use db_retry::{Breaker, Policy, Retry};
///
/// # async fn load() -> db_core::Result<u32> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> db_core::Result<()> {
/// let breaker = Breaker::new("db:5432", Default::default()).observer(Arc::new(Log));
/// let retry = Retry::new(Policy::default())
///     .endpoint("db:5432")
///     .breaker(Arc::new(breaker))
///     .observer(Arc::new(Log));
///
/// let seven = retry.read().within(Duration::from_secs(2)).named("load").run(|| load()).await?;
/// # assert_eq!(seven, 7); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Retry {
    pub(crate) policy: Policy,
    pub(crate) work: Work,
    pub(crate) deadline: Option<Instant>,
    pub(crate) begin_before: Option<Instant>,
    pub(crate) operation: &'static str,
    pub(crate) endpoint: Arc<str>,
    pub(crate) budget: Option<Arc<Budget>>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Retry {
    /// Retries by `policy`, with a budget of their own, without a breaker, silent. What is tried counts as
    /// [`Work::Write`] until something else is said, since that is safe for anything.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { budget: Some(Arc::default()), ..Self::bare(policy) }
    }

    /// Without a budget: for a single call, which has nobody to share one with.
    pub(crate) fn bare(policy: Policy) -> Self {
        Self {
            policy,
            work: Work::Write,
            deadline: None,
            begin_before: None,
            operation: "",
            endpoint: Arc::from(""),
            budget: None,
            breaker: None,
            observer: None,
        }
    }

    /// What events call the server or pool.
    #[must_use]
    pub fn endpoint(mut self, name: impl Into<Arc<str>>) -> Self {
        self.endpoint = name.into();
        self
    }

    /// The budget to use, which other `Retry`s of the same endpoint may share.
    #[must_use]
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The breaker to ask before each attempt, for work that connects or takes a connection from a pool.
    #[must_use]
    pub fn breaker(mut self, breaker: Arc<Breaker>) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Whom to tell of retries, of giving up, and of resolved COMMITs.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The same with another policy.
    #[must_use]
    pub fn policy(&self, policy: Policy) -> Self {
        Self { policy, ..self.clone() }
    }

    /// The same for another kind of work.
    #[must_use]
    pub fn work(&self, work: Work) -> Self {
        Self { work, ..self.clone() }
    }

    /// The same for [`Work::Read`].
    #[must_use]
    pub fn read(&self) -> Self {
        self.work(Work::Read)
    }

    /// The same for [`Work::IdempotentWrite`].
    #[must_use]
    pub fn idempotent_write(&self) -> Self {
        self.work(Work::IdempotentWrite)
    }

    /// The same for [`Work::Transaction`].
    #[must_use]
    pub fn transaction(&self) -> Self {
        self.work(Work::Transaction)
    }

    /// The same, with one deadline for all attempts and pauses together.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// The same, with a moment from which on no further attempt begins, where one needs some time to end well before the
    /// deadline.
    #[must_use]
    pub fn begin_before(&self, moment: Instant) -> Self {
        Self { begin_before: Some(moment), ..self.clone() }
    }

    /// The same, with a deadline so far from now; without one if that is further than the clock goes.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(time), ..self.clone() }
    }

    /// The same, with a name for events.
    #[must_use]
    pub fn named(&self, operation: &'static str) -> Self {
        Self { operation, ..self.clone() }
    }

    /// Tells the observer what became of a COMMIT whose answer was lost.
    pub fn commit_resolved(&self, by: ResolvedBy, outcome: Outcome) {
        if let Some(observer) = &self.observer {
            observer.commit_resolved(&CommitResolved::new(&self.endpoint, by, outcome));
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("endpoint", &self.endpoint)
            .field("policy", &self.policy)
            .field("work", &self.work)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
