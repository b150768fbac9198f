//! The loop: attempt, pause, attempt. What follows a failure is decided in `call`; this awaits it.

use std::fmt;

use db_core::{Cause, Error, GaveUpReason, Phase, Result, Signal};
use tokio::time::{sleep_until, timeout_at};

use crate::call::{Attempt, Call};
use crate::decide::Failure;
use crate::{Policy, Retry, Work};

/// Why a call over somebody else's error type failed. Complete: either there is an error to show, or time ran out.
#[derive(Debug)]
pub enum Failed<E> {
    /// The last attempt failed with this, and there is no further one.
    Error(E),
    /// The deadline passed during an attempt, which was cut off, or before the first.
    Deadline {
        /// The error of the attempt before.
        last: Option<E>,
    },
}

impl Policy {
    /// Runs `operation` until it succeeds or may not be tried again. It counts as [`Work::Write`], which is safe for
    /// anything; for reads, deadlines and all else there is [`Retry`].
    ///
    /// ```
    /// # async fn count() -> db_core::Result<i64> { Ok(3) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let users = db_retry::Policy::default().run(|| async { count().await }).await;
    /// # assert_eq!(users.ok(), Some(3)); }
    /// ```
    ///
    /// # Errors
    /// The last attempt's.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way; nothing else is left of it.
    pub async fn run<T, F, Fut>(self, operation: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        Retry::bare(self).run(operation).await
    }

    /// Runs `operation` until it succeeds or fails with an error of which `when` does not say that it may be tried again.
    /// For any error type. The scope of the policy does not apply: `when` is the scope.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let mut answers = [Err("busy"), Ok(3)].into_iter();
    /// let policy = db_retry::Policy::default();
    /// let seen = policy.run_when(|error| *error == "busy", || std::future::ready(answers.next().unwrap())).await;
    /// assert_eq!(seen, Ok(3));
    /// # }
    /// ```
    ///
    /// # Errors
    /// The last attempt's.
    ///
    /// # Cancel safety
    /// As [`Policy::run`].
    pub async fn run_when<T, E, W, F, Fut>(self, mut when: W, mut operation: F) -> Result<T, E>
    where
        W: FnMut(&E) -> bool,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let retry = Retry::bare(self);
        let mut call = Call::begin(&retry);
        loop {
            call.next_attempt();
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // Nobody listens to a bare policy.
            match call.after(&Failure::foreign(when(&error)), &"") {
                Ok(begin) => sleep_until(begin).await,
                Err(_) => return Err(error),
            }
        }
    }
}

impl Retry {
    /// Runs `operation` until it succeeds, may not be tried again, or has no time, attempt or budget left.
    ///
    /// # Errors
    /// - The last attempt's; its text says when it is one of several.
    /// - When the breaker is open: its refusal, at once.
    /// - When the deadline cuts an attempt off: an error with [`Outcome::Unknown`](db_core::Outcome::Unknown) unless it
    ///   was a read; the error of the attempt before is its source.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way; nothing else is left of it. The breaker lets another try.
    pub async fn run<T, F, Fut>(&self, mut operation: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.run_attempts(|_| operation()).await
    }

    /// As [`Retry::run`], for an operation that wants to know which attempt it is, what the failure before asks for, and
    /// until when it may take.
    ///
    /// # Errors
    /// As [`Retry::run`].
    ///
    /// # Cancel safety
    /// As [`Retry::run`].
    pub async fn run_attempts<T, F, Fut>(&self, mut operation: F) -> Result<T>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut call = Call::begin(self);
        let mut last = None;
        loop {
            if call.is_too_late() {
                return Err(self.too_late(&call, last));
            }
            let permit = match self.breaker.as_ref().map(|breaker| breaker.admit()).transpose() {
                Ok(permit) => permit,
                Err(refusal) => {
                    call.tell_gave_up(GaveUpReason::CircuitOpen, &refusal);
                    return Err(refusal);
                }
            };
            let attempt = call.next_attempt();
            let Some(result) = self.bounded(operation(attempt)).await else {
                return Err(self.cut_off(&call, last));
            };
            if let Some(permit) = permit {
                permit.settle(result.as_ref().err());
            }
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match call.after(&Failure::from(&error), &error) {
                Ok(begin) => sleep_until(begin).await,
                Err(reason) => return Err(with_reason(error, reason, call.attempts)),
            }
            last = Some(error);
        }
    }

    /// As [`Policy::run_when`], with deadline, budget and observer. The breaker is not asked: a foreign error does not say
    /// whether it is about connecting.
    ///
    /// # Errors
    /// The last attempt's, or that the deadline passed.
    ///
    /// # Cancel safety
    /// As [`Retry::run`].
    pub async fn run_when<T, E, W, F, Fut>(&self, mut when: W, mut operation: F) -> Result<T, Failed<E>>
    where
        E: fmt::Display,
        W: FnMut(&E) -> bool,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut call = Call::begin(self);
        let mut last = None;
        loop {
            if !call.is_too_late() {
                call.next_attempt();
                match self.bounded(operation()).await {
                    Some(Ok(value)) => return Ok(value),
                    Some(Err(error)) => match call.after(&Failure::foreign(when(&error)), &error) {
                        Ok(begin) => {
                            sleep_until(begin).await;
                            last = Some(error);
                            continue;
                        }
                        Err(_) => return Err(Failed::Error(error)),
                    },
                    None => {}
                }
            }
            let failed = Failed::Deadline { last };
            call.tell_gave_up(GaveUpReason::Deadline, &failed);
            return Err(failed);
        }
    }

    /// `None` if the deadline came first. What is complete at the deadline is complete.
    async fn bounded<R>(&self, attempt: impl Future<Output = R>) -> Option<R> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, attempt).await.ok(),
            None => Some(attempt.await),
        }
    }

    /// The pause ended late, or there was no time from the beginning: no attempt is begun.
    fn too_late(&self, call: &Call<'_>, last: Option<Error>) -> Error {
        let error = match last {
            Some(last) => with_reason(last, GaveUpReason::Deadline, call.attempts),
            None => Error::new(
                Signal::new(Cause::Unsent, Phase::Execute),
                "the deadline had passed before the first attempt",
            ),
        };
        call.tell_gave_up(GaveUpReason::Deadline, &error);
        error
    }

    fn cut_off(&self, call: &Call<'_>, last: Option<Error>) -> Error {
        let text = match call.attempts {
            1 => "the deadline passed while it ran".to_owned(),
            number => format!("the deadline passed during attempt {number}"),
        };
        let mut error = Error::new(Signal::new(Cause::Lost, Phase::Execute), text);
        if self.work == Work::Read {
            error = error.of_read();
        }
        if let Some(last) = last {
            error = error.with_source(last);
        }
        call.tell_gave_up(GaveUpReason::Deadline, &error);
        error
    }
}

/// Says why this error is the last.
fn with_reason(error: Error, reason: GaveUpReason, attempts: u32) -> Error {
    match reason {
        GaveUpReason::Exhausted if attempts > 1 => error.context(format_args!("after {attempts} attempts")),
        GaveUpReason::Deadline => error.context(format_args!("no time for attempt {}", attempts + 1)),
        GaveUpReason::Budget => error.context("not tried again, since too many calls are"),
        _ => error,
    }
}

impl<E> Failed<E> {
    /// The last error that an attempt failed with, if any did.
    pub fn into_error(self) -> Option<E> {
        match self {
            Self::Error(error) => Some(error),
            Self::Deadline { last } => last,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Deadline { last: None } => f.write_str("the deadline passed"),
            Self::Deadline { last: Some(error) } => write!(f, "the deadline passed; before that: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failed<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is shown as ours: what lies beneath it is next.
            Self::Error(error) => error.source(),
            Self::Deadline { last } => last.as_ref().and_then(std::error::Error::source),
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
