//! The window as an observer: which event moves which figure, and what an event costs.

use std::sync::Arc;

use db_core::{Cause, Error, GaveUpReason, Phase, ServerError, Severity, Signal, SqlState};

use super::*;

fn server_error(code: &str) -> Error {
    let state = SqlState::new(code).expect("a code");
    Error::server_error(ServerError::new(state, Severity::Error, "a message"), Phase::Execute)
}

fn executed<'a>(sql: &'a str, millis: u64, is_slow: bool, error: Option<&'a Error>) -> Executed<'a> {
    Executed::new("primary", "db.example:5432", sql, Duration::from_millis(millis), is_slow, None, error)
}

fn codes(window: &Window) -> Vec<(String, u64)> {
    window.errors().into_iter().map(|error| (error.code, error.count)).collect()
}

/// D3: what the caller's own statement did wrong is told apart from what the database did.
#[test]
fn a_fault_of_the_statement_is_no_error_of_the_database() {
    let check = |error: Error, errors: u64, code: &str| {
        let window = Window::default();
        window.executed(&executed("SELECT 1", 1, false, None));
        window.executed(&executed("SELECT 1", 1, false, Some(&error)));
        let figures = window.figures();
        let expect = (2, errors, errors as f64 * 50.0);
        assert_eq!((figures.operations, figures.errors, figures.error_rate), expect, "{code}");
        assert_eq!(codes(&window), [(code.to_owned(), 1)]);
    };
    check(server_error("23505"), 0, "23505");
    check(server_error("42601"), 0, "42601");
    check(server_error("42P01"), 1, "42P01");
    check(server_error("57014"), 1, "57014");
    check(server_error("40001"), 1, "40001");
    check(Error::new(Signal::new(Cause::Lost, Phase::Execute), "lost"), 1, "execute");
    check(Error::new(Signal::new(Cause::Lost, Phase::Commit), "lost"), 1, "commit");
}

/// B4, E2: failures to connect, callers without a connection and retries are figures of their own.
#[test]
fn which_event_moves_which_figure() {
    let window = Window::default();
    let busy = Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), "busy");
    let refused = Error::new(Signal::new(Cause::Unreachable, Phase::Connect), "refused");
    window.acquire_failed(&AcquireFailed::new("primary", &busy));
    window.connect_failed(&ConnectFailed::new("primary", "db:5432", &refused));
    window.connect_failed(&ConnectFailed::new("primary", "db:5432", &refused));
    let error = format_args!("refused");
    window.retried(&Retried::new("db:5432", "read", 1, Duration::ZERO, error));
    window.gave_up(&GaveUp::new("db:5432", "read", 3, GaveUpReason::Exhausted, error));
    let figures = window.figures();
    assert_eq!((figures.operations, figures.errors, figures.error_rate), (1, 1, 100.0));
    assert_eq!((figures.connect_failures, figures.retries, figures.gave_up), (2, 1, 1));
    assert_eq!(codes(&window), [("connect".to_owned(), 2), ("acquire".to_owned(), 1)]);
}

#[test]
fn slow_statements_are_kept_without_their_literals() {
    let window = Window::default();
    for number in 0..12 {
        let sql = format!("SELECT '{number}', pg_sleep(1) AS s{number}");
        window.executed(&executed(&sql, 1_000 + number, true, None));
    }
    window.executed(&executed("SELECT 'fast'", 1, false, None));
    let slow = window.slow();
    assert_eq!((slow.len(), window.figures().slow_statements), (10, 12));
    assert_eq!((slow[0].took_ms, &*slow[0].statement), (1_011.0, "SELECT ?, pg_sleep(?) AS s11"));
    assert_eq!((slow[9].took_ms, &*slow[9].statement), (1_002.0, "SELECT ?, pg_sleep(?) AS s2"));
}

#[test]
fn what_many_threads_count_adds_up() {
    let window = Arc::new(Window::default());
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let window = Arc::clone(&window);
            std::thread::spawn(move || {
                (0..1_000).for_each(|_| window.executed(&executed("SELECT 1", 1, false, None)));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(window.figures().operations, 16_000);
}

/// B9: an event costs little against what it reports. Measured as a ratio, since machines differ: ten readings of
/// the clock are some 250 ns, and a statement takes hundreds of times that.
#[test]
fn an_event_costs_less_than_a_few_readings_of_the_clock() {
    const EVENTS: u32 = 20_000;
    let window = Window::default();
    let event = executed("SELECT 1", 1, false, None);
    let best = |run: &dyn Fn()| {
        let time = || {
            let started = Instant::now();
            (0..EVENTS).for_each(|_| run());
            started.elapsed()
        };
        (0..9).map(|_| time()).min().expect("a time")
    };
    let clock = best(&|| {
        std::hint::black_box(Instant::now());
    });
    let counted = best(&|| window.executed(std::hint::black_box(&event)));
    let each = |time: Duration| time.as_nanos() / u128::from(EVENTS);
    assert!(counted < clock * 10, "an event {} ns, the clock {} ns", each(counted), each(clock));
}
