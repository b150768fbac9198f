//! The breaker of an endpoint: the state machine of `circuit` behind a lock, with its clock, its observer and its error.
//!
//! It is about connecting only. A server that answers, with an error or not, can be connected to; what statements
//! do is not its concern.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_core::{
    Action, BreakerChanged, BreakerState, Cause, Error, Observer, Operation, Phase, Result, Signal,
};
use tokio::time::Instant;

use crate::circuit::{Admission, BreakerSettings, Circuit, Pause};

/// Stops connecting to an endpoint that cannot be connected to, so that callers are told at once and the server is left
/// alone. Put it behind an [`Arc`].
///
/// ```
/// use db_retry::Breaker;
///
/// # fn connect() -> db_core::Result<()> { Ok(()) }
/// # fn example(breaker: &Breaker) -> db_core::Result<()> {
/// let permit = breaker.admit()?;
/// let connected = connect();
/// permit.settle(connected.as_ref().err());
/// # connected
/// # }
/// ```
pub struct Breaker {
    endpoint: String,
    observer: Option<Arc<dyn Observer>>,
    inner: Mutex<Inner>,
}

struct Inner {
    circuit: Circuit,
    last_failure: Option<(Instant, Error)>,
}

/// Leave to make one attempt. Dropping it without a result, as a cancelled caller does, leaves its turn to the next.
#[derive(Debug)]
#[must_use = "an attempt whose result the breaker is not told does not count"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    admission: Option<Admission>,
}

impl Breaker {
    /// A closed breaker; `endpoint` is how events and errors call the server.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, settings: BreakerSettings) -> Self {
        let circuit = Circuit::new(settings, Instant::now());
        let inner = Mutex::new(Inner { circuit, last_failure: None });
        Self { endpoint: endpoint.into(), observer: None, inner }
    }

    /// Whom to tell when it opens and closes.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Whether connecting is tried now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).circuit.state()
    }

    /// Asks whether an attempt may be made.
    ///
    /// # Errors
    /// When it is open: nothing was executed, since when and for how long it is open, and the last failure to connect.
    pub fn admit(&self) -> Result<Permit<'_>> {
        let now = Instant::now();
        self.change(|inner| match inner.circuit.admit(now) {
            Admission::Refused(pause) => {
                Err(refusal(&self.endpoint, pause, inner.last_failure.as_ref(), now))
            }
            admission => Ok(Permit { breaker: self, admission: Some(admission) }),
        })
    }

    /// Closes it: somebody connected by other means, as a pool does that opens connections by itself.
    pub fn close(&self) {
        self.change(|inner| inner.circuit.close());
    }

    /// Changes the state, and tells of it once the lock is released.
    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.circuit.state();
        let result = change(&mut inner);
        let state = inner.circuit.state();
        if state == BreakerState::Closed && before != state {
            inner.last_failure = None;
        }
        let error = match &inner.last_failure {
            Some((_, error)) if before != state => Some(error.to_string()),
            _ => None,
        };
        drop(inner);
        if let (Some(observer), true) = (&self.observer, before != state) {
            match error {
                Some(error) => observer.breaker_changed(&BreakerChanged::new(
                    &self.endpoint,
                    state,
                    Some(format_args!("{error}")),
                )),
                None => observer.breaker_changed(&BreakerChanged::new(&self.endpoint, state, None)),
            }
        }
        result
    }
}

impl Permit<'_> {
    /// Tells how the attempt ended.
    ///
    /// A failure to connect that may pass counts against the endpoint. Everything after connecting, and a refusal that the
    /// server itself spoke (a wrong password, an unknown database), shows that it can be reached. Waiting in vain for
    /// a pooled connection shows nothing.
    pub fn settle(mut self, error: Option<&Error>) {
        let Some(admission) = self.admission.take() else { return };
        let now = Instant::now();
        match error {
            Some(error) if error.phase() == Phase::Acquire => {
                self.breaker.change(|inner| inner.circuit.abandoned(admission, now));
            }
            Some(error) if error.phase() == Phase::Connect && may_pass(error) => {
                self.breaker.change(|inner| {
                    inner.last_failure = Some((now, error.duplicate()));
                    inner.circuit.failed(admission, now, fastrand::f64());
                });
            }
            _ => self.breaker.change(|inner| inner.circuit.succeeded(admission, now)),
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.breaker.change(|inner| inner.circuit.abandoned(admission, Instant::now()));
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("endpoint", &self.endpoint)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error.advice().on(Operation::Read), Action::Retry | Action::RetrySlowly)
}

fn refusal(endpoint: &str, pause: Pause, last: Option<&(Instant, Error)>, now: Instant) -> Error {
    let since = now.saturating_duration_since(pause.since);
    let mut text = format!("{endpoint} could not be connected to for {:.1} s", since.as_secs_f64());
    match pause.until.saturating_duration_since(now) {
        Duration::ZERO => text.push_str(", another caller is trying"),
        left => text.push_str(&format!(", the next try is in {:.1} s", left.as_secs_f64())),
    }
    if let Some((at, error)) = last {
        let ago = now.saturating_duration_since(*at).as_secs_f64();
        text.push_str(&format!("; the last failed {ago:.1} s ago: {error}"));
    }
    Error::new(Signal::new(Cause::CircuitOpen, Phase::Connect), text)
}

#[cfg(test)]
mod tests {
    use std::sync::{OnceLock, Weak};

    use db_core::{Outcome, ServerError, Severity, SqlState};
    use tokio::time::advance;

    use super::*;

    fn refused() -> Error {
        Error::new(Signal::new(Cause::Unreachable, Phase::Connect), "connection refused")
    }

    fn wrong_password() -> Error {
        let server = ServerError::new(SqlState::INVALID_PASSWORD, Severity::Fatal, "no");
        Error::server_error(server, Phase::Connect)
    }

    fn lost() -> Error {
        Error::new(Signal::new(Cause::Lost, Phase::Execute), "connection reset")
    }

    fn busy() -> Error {
        Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), "timed out")
    }

    fn breaker() -> Breaker {
        Breaker::new("db:5432", BreakerSettings::default())
    }

    fn settle(breaker: &Breaker, times: u32, error: Option<&Error>) {
        (0..times).for_each(|_| breaker.admit().expect("closed").settle(error));
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_to_connect_open_it() {
        let check = |error: Option<Error>, expect| {
            let breaker = breaker();
            settle(&breaker, 20, error.as_ref());
            assert_eq!(breaker.state(), expect, "{error:?}");
        };
        check(Some(refused()), BreakerState::Open);
        check(Some(lost()), BreakerState::Closed);
        check(Some(wrong_password()), BreakerState::Closed);
        check(Some(busy()), BreakerState::Closed);
        check(None, BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn its_refusal_says_what_happened_and_for_how_long() {
        let breaker = breaker();
        settle(&breaker, 20, Some(&refused()));
        advance(Duration::from_secs(1)).await;
        let error = breaker.admit().expect_err("open");
        assert_eq!((error.phase(), error.outcome()), (Phase::Connect, Outcome::NotExecuted));
        let text = error.to_string();
        assert!(
            text.starts_with("db:5432 could not be connected to for 1.0 s, the next try is in "),
            "{text}"
        );
        assert!(text.ends_with("; the last failed 1.0 s ago: connection refused"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_vanishes_does_not_block_it() {
        let breaker = breaker();
        settle(&breaker, 20, Some(&refused()));
        advance(Duration::from_secs(5)).await;
        let probe = breaker.admit().expect("the probe");
        assert!(breaker.admit().is_err(), "one probe only");
        drop(probe);
        breaker.admit().expect("the next probe").settle(None);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_connected_closes_it() {
        let breaker = breaker();
        settle(&breaker, 20, Some(&refused()));
        breaker.close();
        settle(&breaker, 19, Some(&refused()));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    /// Its observer may ask it: it is told outside the lock.
    #[tokio::test(start_paused = true)]
    async fn changes_are_told_outside_the_lock() {
        #[derive(Default)]
        struct Asks(Mutex<Vec<String>>, OnceLock<Weak<Breaker>>);
        impl Observer for Asks {
            fn breaker_changed(&self, event: &BreakerChanged<'_>) {
                let breaker = self.1.get().and_then(Weak::upgrade).expect("it is there");
                assert!(breaker.inner.try_lock().is_ok(), "it is locked");
                let BreakerChanged { endpoint, state, error, .. } = event;
                let error = error.map(|error| error.to_string());
                self.0.lock().expect("no panic").push(format!("{endpoint} {state:?} {error:?}"));
            }
        }
        let told = Arc::new(Asks::default());
        let observer: Arc<dyn Observer> = told.clone();
        let breaker = Arc::new(breaker().observer(observer));
        told.1.set(Arc::downgrade(&breaker)).expect("once");
        settle(&breaker, 20, Some(&refused()));
        advance(Duration::from_secs(5)).await;
        breaker.admit().expect("the probe").settle(None);
        let refused = "Some(\"connection refused\")";
        let expect = [
            format!("db:5432 Open {refused}"),
            format!("db:5432 HalfOpen {refused}"),
            "db:5432 Closed None".to_owned(),
        ];
        assert_eq!(*told.0.lock().expect("no panic"), expect);
    }
}
