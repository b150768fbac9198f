//! The loop on a clock that stands still until it is waited for.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_core::{Action, GaveUp, Observer, Outcome, Retried, ServerError, Severity, SqlState};
use tokio::time::{Instant, sleep};

use super::*;
use crate::{Breaker, BreakerSettings, Budget, BudgetSettings, Jitter};

fn refused() -> Error {
    Error::new(Signal::new(Cause::Unreachable, Phase::Connect), "connection refused")
}

fn lost() -> Error {
    Error::new(Signal::new(Cause::Lost, Phase::Execute), "connection reset")
}

fn server(code: &str) -> Error {
    let code = SqlState::new(code).expect(code);
    Error::server_error(ServerError::new(code, Severity::Error, "no"), Phase::Execute)
}

fn exactly() -> Retry {
    Retry::new(Policy { jitter: Jitter::None, ..Policy::default() })
}

/// Writes down what it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, event: String) {
        self.0.lock().expect("no panic").push(event);
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Observer for Recorder {
    fn retried(&self, event: &Retried<'_>) {
        let Retried { endpoint, operation, attempt, delay, error, .. } = event;
        self.note(format!("{endpoint} {operation}: attempt {attempt} failed, {delay:?}: {error}"));
    }

    fn gave_up(&self, event: &GaveUp<'_>) {
        let GaveUp { endpoint, operation, attempts, reason, error, .. } = event;
        self.note(format!("{endpoint} {operation}: gave up after {attempts}, {reason:?}: {error}"));
    }
}

/// Runs an operation that always fails with `error`: when each attempt began, in milliseconds, and what came of it.
async fn attempts(retry: &Retry, error: impl Fn() -> Error) -> (Vec<u128>, Error) {
    let begin = Instant::now();
    let seen = RefCell::new(Vec::new());
    let result = retry.run(|| {
        seen.borrow_mut().push(begin.elapsed().as_millis());
        let error = error();
        async move { Err::<(), _>(error) }
    });
    let error = result.await.expect_err("it always fails");
    (seen.into_inner(), error)
}

/// B5: three retries after 100, 200 and 400 ms, of connection failures only.
#[tokio::test(start_paused = true)]
async fn connection_failures_are_retried_three_times() {
    let retry = Retry::new(Policy::connection_failures()).read();
    let (seen, error) = attempts(&retry, refused).await;
    assert_eq!(seen, [0, 100, 300, 700]);
    assert_eq!(error.to_string(), "after 4 attempts: connection refused");
    assert_eq!(attempts(&retry, || server("42601")).await.0, [0]);
    assert_eq!(attempts(&retry, || server("40001")).await.0, [0]);
}

/// D7: from 1 s.
#[tokio::test(start_paused = true)]
async fn patient_retries() {
    let retry = Retry::new(Policy { jitter: Jitter::None, ..Policy::patient() });
    assert_eq!(attempts(&retry, refused).await.0, [0, 1_000, 3_000, 7_000]);
}

/// E5: other codes go to the caller at once.
#[tokio::test(start_paused = true)]
async fn an_unavailable_server_is_retried() {
    let retry = Retry::new(Policy { jitter: Jitter::None, ..Policy::unavailable_server() });
    assert_eq!(attempts(&retry, || server("57P01")).await.0, [0, 100, 300, 700]);
    assert_eq!(attempts(&retry, || server("40001")).await.0, [0]);
    let jittered = Retry::new(Policy::unavailable_server());
    let (seen, _) = attempts(&jittered, || server("57P01")).await;
    assert!(seen.len() == 4 && seen[3] <= 700, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_in_doubt_is_not_run_again() {
    let (seen, error) = attempts(&exactly(), lost).await;
    assert_eq!((seen, error.outcome()), (vec![0], Outcome::Unknown));
    assert_eq!(attempts(&exactly().transaction(), lost).await.0, [0]);
    assert_eq!(attempts(&exactly().read(), lost).await.0, [0, 100, 300, 700]);
    assert_eq!(attempts(&exactly().idempotent_write(), lost).await.0, [0, 100, 300, 700]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_run_again_five_times() {
    let (seen, _) = attempts(&exactly().transaction(), || server("40001")).await;
    assert_eq!(seen, [0, 100, 300, 700, 1_500, 3_100]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_ends_after_the_deadline_is_not_begun() {
    let begin = Instant::now();
    let (seen, error) = attempts(&exactly().within(Duration::from_millis(600)), refused).await;
    assert_eq!((seen, begin.elapsed().as_millis()), (vec![0, 100, 300], 300));
    assert_eq!(error.to_string(), "no time for attempt 4: connection refused");
    // It would end at the very deadline.
    let begin = Instant::now();
    let (seen, _) = attempts(&exactly().within(Duration::from_millis(300)), refused).await;
    assert_eq!((seen, begin.elapsed().as_millis()), (vec![0, 100], 100));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_that_has_too_little_time_left() {
    let begin = Instant::now();
    let most = Duration::from_millis(600);
    let retry = exactly().within(most).begin_before(begin + Duration::from_millis(200));
    let (seen, error) = attempts(&retry, refused).await;
    assert_eq!((seen, begin.elapsed().as_millis()), (vec![0, 100], 100));
    assert_eq!(error.to_string(), "no time for attempt 3: connection refused");
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_the_deadline() {
    let (seen, error) = attempts(&exactly().until(Instant::now()), refused).await;
    assert_eq!((seen, error.outcome()), (vec![], Outcome::NotExecuted));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_cut_off_at_the_deadline() {
    let check = async |retry: Retry, outcome| {
        let begin = Instant::now();
        let retry = retry.within(Duration::from_millis(150));
        let result = retry.run_attempts(|attempt| async move {
            if attempt.number == 1 {
                return Err(refused());
            }
            sleep(Duration::from_secs(60)).await;
            Ok(())
        });
        let error = result.await.expect_err("cut off");
        assert_eq!((begin.elapsed().as_millis(), error.outcome()), (150, outcome));
        assert_eq!(error.to_string(), "the deadline passed during attempt 2");
        assert_eq!(
            std::error::Error::source(&error).expect("the one before").to_string(),
            "connection refused"
        );
    };
    check(exactly(), Outcome::Unknown).await;
    check(exactly().transaction(), Outcome::Unknown).await;
    check(exactly().read(), Outcome::NotExecuted).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_knows_what_the_failure_before_asks_for() {
    let seen = RefCell::new(Vec::new());
    let begin = Instant::now();
    let retry = exactly();
    let result = retry.run_attempts(|attempt| {
        seen.borrow_mut().push((attempt.number, attempt.action));
        let stale = attempt.number == 1;
        async move { if stale { Err(server("26000")) } else { Ok(()) } }
    });
    result.await.expect("the second succeeds");
    assert_eq!(seen.into_inner(), [(1, None), (2, Some(Action::Reprepare))]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// A14: retries of all callers together are bounded.
#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_retries() {
    let settings = BudgetSettings { floor_per_second: 2, ..BudgetSettings::default() };
    let retry = exactly().budget(Arc::new(Budget::new(settings)));
    let quickly = retry.policy(Policy { initial_delay: Duration::ZERO, ..Policy::default() });
    assert_eq!(attempts(&quickly, refused).await.0.len(), 3);
    let (seen, error) = attempts(&quickly, refused).await;
    assert_eq!(seen.len(), 1, "clones share it");
    assert_eq!(error.to_string(), "not tried again, since too many calls are: connection refused");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_at_once() {
    let breaker = Arc::new(Breaker::new("db", BreakerSettings::default()));
    let retry = exactly().breaker(Arc::clone(&breaker));
    for _ in 0..5 {
        attempts(&retry, refused).await;
    }
    let begin = Instant::now();
    let (seen, error) = attempts(&retry, refused).await;
    assert_eq!((seen, begin.elapsed()), (vec![], Duration::ZERO));
    assert!(error.to_string().ends_with(": connection refused"), "{error}");
    // A cancelled probe leaves its turn to the next.
    sleep(Duration::from_secs(5)).await;
    let probe = retry.run(std::future::pending::<Result<()>>);
    assert!(tokio::time::timeout(Duration::from_secs(1), probe).await.is_err());
    retry.run(|| async { Ok(()) }).await.expect("the next is let through");
    retry.run(|| async { Ok(()) }).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn observers_are_told() {
    let check = async |retry: Retry, error: fn() -> Error, expect: &[&str]| {
        let recorder = Arc::new(Recorder::default());
        let observer: Arc<dyn Observer> = recorder.clone();
        attempts(&retry.endpoint("db").observer(observer).named("load"), error).await;
        assert_eq!(recorder.told(), expect);
    };
    let once = Retry::new(Policy { max_retries: 1, jitter: Jitter::None, ..Policy::default() });
    let again = "db load: attempt 1 failed, 100ms: connection refused";
    let exhausted = "db load: gave up after 2, Exhausted: connection refused";
    check(once.clone(), refused, &[again, exhausted]).await;
    let late = "db load: gave up after 1, Deadline: connection refused";
    check(once.within(Duration::from_millis(50)), refused, &[late]).await;
    check(once.clone(), lost, &["db load: gave up after 1, OutcomeUnknown: connection reset"]).await;
    check(once, || server("23505"), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_errors() {
    let run = async |retry: Retry, mut answers: Vec<&'static str>| {
        retry
            .run_when(
                |error: &&str| *error == "busy",
                || {
                    let answer = answers.remove(0);
                    async move {
                        if answer == "hang" {
                            sleep(Duration::from_secs(60)).await;
                        }
                        if answer == "ok" { Ok(()) } else { Err(answer) }
                    }
                },
            )
            .await
            .map_err(|failed| failed.to_string())
    };
    let soon = || exactly().within(Duration::from_millis(150));
    assert_eq!(run(exactly(), vec!["busy", "busy", "ok"]).await, Ok(()));
    assert_eq!(run(exactly(), vec!["busy", "wrong"]).await, Err("wrong".to_owned()));
    assert_eq!(run(exactly(), vec!["busy"; 4]).await, Err("busy".to_owned()));
    assert_eq!(run(soon(), vec!["busy", "busy"]).await, Err("busy".to_owned()));
    assert_eq!(run(soon(), vec!["hang"]).await, Err("the deadline passed".to_owned()));
    let after_busy = Err("the deadline passed; before that: busy".to_owned());
    assert_eq!(run(soon(), vec!["busy", "hang"]).await, after_busy);
}

#[tokio::test(start_paused = true)]
async fn a_bare_policy_runs_over_any_error() {
    let mut tries = 0;
    let policy = Policy::connection_failures();
    let result = policy.run_when(
        |error: &u32| *error < 3,
        || {
            tries += 1;
            let error = tries;
            async move { Err::<(), _>(error) }
        },
    );
    assert_eq!(result.await, Err(3));
}

/// Compiles only while the futures can be spawned.
#[tokio::test]
async fn retries_run_in_spawned_tasks() {
    let breaker = Arc::new(Breaker::new("db", BreakerSettings::default()));
    let retry = exactly().breaker(breaker).observer(Arc::new(db_core::Log));
    let own = tokio::spawn(async move { retry.read().run(|| async { Ok(1) }).await });
    let foreign = tokio::spawn(async {
        exactly().run_when(|_: &String| false, || async { Ok(2) }).await.map_err(|error| error.to_string())
    });
    assert_eq!(own.await.expect("no panic").expect("ok"), 1);
    assert_eq!(foreign.await.expect("no panic"), Ok(2));
}
