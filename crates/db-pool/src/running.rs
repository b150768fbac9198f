//! Operations under way: counted until their end was seen, and bounded in time.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use db_core::{Cause, Error, Phase, Result, Signal};
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Counts operations that were begun and whose end was not seen.
#[derive(Clone, Default)]
pub(crate) struct Unfinished(Arc<Counts>);

#[derive(Default)]
struct Counts {
    running: AtomicUsize,
    begun: AtomicUsize,
}

/// What there was at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    running: usize,
    begun: usize,
}

impl Unfinished {
    pub(crate) fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    pub(crate) fn any(&self) -> bool {
        self.0.running.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { running: self.0.running.load(Ordering::Relaxed), begun: self.0.begun.load(Ordering::Relaxed) }
    }

    /// Whether one operation began since then, while no other ran.
    pub(crate) fn is_only_one_since(&self, before: Seen) -> bool {
        before.running == 0 && self.seen().begun == before.begun + 1
    }
}

/// An operation under way. Merely dropping it leaves it counted: its end was not seen.
pub(crate) struct Running(Unfinished);

impl Running {
    pub(crate) fn end(self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a call may take; the server ends a statement a little earlier, and says so.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For each answer.
    limit: Option<Duration>,
    /// For all of them.
    deadline: Option<Instant>,
}

impl Patience {
    /// What a busy server may need to say that time is up.
    const LEAST_GRACE: Duration = Duration::from_millis(500);

    pub(crate) fn new(statement_timeout: Duration) -> Self {
        let is_off = statement_timeout.is_zero();
        let grace = (statement_timeout / 20).max(Self::LEAST_GRACE);
        Self { limit: (!is_off).then(|| statement_timeout.saturating_add(grace)), deadline: None }
    }

    /// The same, but no longer than until `deadline`.
    pub(crate) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// For how long an answer is waited for.
    pub(crate) fn limit(self) -> Option<Duration> {
        self.limit
    }

    /// What is left of it now.
    fn left(self) -> Option<Duration> {
        let until = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.limit.into_iter().chain(until).min()
    }

    /// What `operation` gives, or an error when it takes longer.
    pub(crate) async fn bound<T>(self, phase: Phase, operation: impl Future<Output = T>) -> Result<T> {
        let Some(limit) = self.left() else { return Ok(operation.await) };
        timeout(limit, operation).await.map_err(|_| silent(limit, phase))
    }
}

/// A timer that is used again and again. It stays registered between operations, so that each only moves its end.
#[derive(Default)]
pub(crate) struct Timer(Mutex<Option<Registered>>);

/// A timer belongs to the runtime on which it was made, and ends with it.
struct Registered {
    sleep: Pin<Box<Sleep>>,
    runtime: Id,
}

impl Timer {
    /// As [`Patience::bound`]. Of several operations at a time the first has this timer, and the others one of their own.
    pub(crate) async fn bound<T>(
        &self,
        patience: Patience,
        phase: Phase,
        operation: impl Future<Output = T>,
    ) -> Result<T> {
        let Some(limit) = patience.left() else { return Ok(operation.await) };
        let runtime = Handle::current().id();
        let mut timer = match self.slot().take() {
            Some(mut timer) if timer.runtime == runtime => {
                // The end only ever moves on, which is cheap.
                timer.sleep.as_mut().reset(Instant::now() + limit);
                timer
            }
            _ => Registered { sleep: Box::pin(sleep(limit)), runtime },
        };
        let mut operation = pin!(operation);
        let result = std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = operation.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            timer.sleep.as_mut().poll(cx).map(|()| Err(silent(limit, phase)))
        })
        .await;
        if result.is_ok() {
            *self.slot() = Some(timer);
        }
        result
    }

    fn slot(&self) -> MutexGuard<'_, Option<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn silent(limit: Duration, phase: Phase) -> Error {
    let message = format!("no answer within {:.1} s", limit.as_secs_f64());
    Error::new(Signal::new(Cause::Lost, phase), message)
}
