//! Rules at work on a paused clock: what is told, in which order, and what happens when a sink is slow, panics or is left.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use db_core::Status;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::*;
use crate::{Check, FnProbe, Monitor, Window};

/// Writes down what it is told, and takes as many messages as it is permitted.
struct Book {
    told: Mutex<Vec<Notice>>,
    permits: Semaphore,
}

impl Book {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { told: Mutex::default(), permits: Semaphore::new(permits) })
    }

    fn told(&self) -> Vec<(String, NoticeState)> {
        let told = self.told.lock().expect("lock");
        told.iter().map(|notice| (notice.alert.clone(), notice.state)).collect()
    }
}

#[async_trait]
impl AlertSink for Book {
    fn name(&self) -> &str {
        "book"
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered> {
        self.permits.acquire().await.expect("open").forget();
        self.told.lock().expect("lock").push(notice.clone());
        Ok(())
    }
}

/// A figure that the test sets, and a rule on it that fires above 0 at once.
fn switch(name: &str) -> (Arc<AtomicU32>, Rule) {
    let figure = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&figure);
    let measure = move || Some(f64::from(seen.load(Ordering::Relaxed)));
    let rule = Rule::above(name, 0.0, "", measure).fire_after(1).resolve_after(1).cool_down(Duration::ZERO);
    (figure, rule)
}

const EVERY: Duration = Duration::from_secs(1);

/// A little after the next look.
async fn next_look() {
    sleep(EVERY).await;
}

/// E10, D3: each firing is told once, and its end.
#[tokio::test(start_paused = true)]
async fn a_firing_and_its_end_are_told() {
    let (book, (figure, rule)) = (Book::new(9), switch("errors"));
    let alerts = Alerts::start("orders", vec![rule], EVERY, vec![Arc::clone(&book) as _]);
    sleep(EVERY / 2).await;
    assert_eq!((alerts.active().len(), alerts.snapshot()[0].state), (0, AlertState::Ok));
    figure.store(7, Ordering::Relaxed);
    next_look().await;
    assert_eq!(alerts.active()[0].value, Some(7.0));
    next_look().await;
    figure.store(0, Ordering::Relaxed);
    next_look().await;
    assert_eq!(alerts.active(), []);
    let expect = [NoticeState::Firing, NoticeState::Resolved].map(|state| ("errors".to_owned(), state));
    assert_eq!(book.told(), expect);
    let told = book.told.lock().expect("lock");
    assert_ne!(told[0].id, told[1].id);
    assert_eq!((told[0].value, &*told[0].service, &*told[0].text), (7.0, "orders", "errors is above 0"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_hinders_neither_rules_nor_other_sinks() {
    let (slow, quick) = (Book::new(0), Book::new(9));
    let (figure, rule) = switch("errors");
    let sinks: Vec<Arc<dyn AlertSink>> = vec![Arc::clone(&slow) as _, Arc::clone(&quick) as _];
    let alerts = Alerts::start("orders", vec![rule], EVERY, sinks);
    sleep(EVERY / 2).await;
    for value in [1, 0, 1] {
        figure.store(value, Ordering::Relaxed);
        next_look().await;
    }
    assert_eq!((quick.told().len(), slow.told().len(), alerts.active().len()), (3, 0, 1));
    slow.permits.add_permits(9);
    sleep(EVERY / 10).await;
    assert_eq!(slow.told(), quick.told());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_messages_are_dropped_and_the_newest_kept() {
    let (book, (figure, rule)) = (Book::new(0), switch("errors"));
    let alerts = Alerts::start("orders", vec![rule], EVERY, vec![Arc::clone(&book) as _]);
    sleep(EVERY / 2).await;
    for round in 0..250 {
        figure.store(if round % 2 == 0 { round + 1 } else { 0 }, Ordering::Relaxed);
        next_look().await;
    }
    book.permits.add_permits(1_000);
    assert_eq!(alerts.close(EVERY).await, 0);
    let told = book.told.lock().expect("lock");
    // One was on its way already.
    let values: Vec<_> = told.iter().map(|notice| notice.value).filter(|value| *value > 0.0).collect();
    assert_eq!((told.len(), values[0], values[1], values[50]), (101, 1.0, 151.0, 249.0));
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_waits_within_the_limit() {
    let check = async |permits, expect: usize| {
        let (book, (figure, rule)) = (Book::new(permits), switch("errors"));
        figure.store(1, Ordering::Relaxed);
        let (_, other) = switch("other");
        let rules = vec![rule.clone(), rule, other];
        let alerts = Alerts::start("orders", rules, EVERY, vec![Arc::clone(&book) as _]);
        sleep(EVERY / 2).await;
        let started = Instant::now();
        assert_eq!(alerts.close(EVERY * 5).await, expect, "{permits} permits");
        let waited = if expect == 0 { Duration::ZERO } else { EVERY * 5 };
        assert!(started.elapsed() <= waited + Duration::from_millis(10), "{:?}", started.elapsed());
        // Nothing is told afterwards.
        book.permits.add_permits(9);
        figure.store(0, Ordering::Relaxed);
        sleep(EVERY * 5).await;
        assert_eq!(book.told().len(), 2 - expect);
    };
    check(2, 0).await;
    check(1, 1).await;
    check(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_stops_rules_and_sinks() {
    let (book, (figure, rule)) = (Book::new(0), switch("errors"));
    let looks = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&looks);
    let counts = Rule::above("counts", 0.0, "", move || {
        seen.fetch_add(1, Ordering::Relaxed);
        None::<f64>
    });
    figure.store(1, Ordering::Relaxed);
    let alerts = Alerts::start("orders", vec![counts, rule], EVERY, vec![Arc::clone(&book) as _]);
    sleep(EVERY * 3 / 2).await;
    assert_eq!(looks.load(Ordering::Relaxed), 2);
    drop(alerts);
    book.permits.add_permits(9);
    sleep(EVERY * 9).await;
    assert_eq!((looks.load(Ordering::Relaxed), book.told().len()), (2, 0));
    assert_eq!(Arc::strong_count(&looks), 1, "nothing holds the rules any more");
}

/// A sink that panics for the first message.
#[derive(Default)]
struct Shaky(AtomicBool, AtomicU32);

#[async_trait]
impl AlertSink for Shaky {
    fn name(&self) -> &str {
        "shaky"
    }

    async fn deliver(&self, _: &Notice) -> Result<(), Undelivered> {
        assert!(self.0.swap(true, Ordering::Relaxed), "the first message panics");
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn panics_of_measures_and_sinks_end_nothing() {
    let (sink, (figure, rule)) = (Arc::new(Shaky::default()), switch("errors"));
    let panics = Rule::above("panics", 0.0, "", || -> Option<f64> { panic!("a measure panics") });
    let alerts = Alerts::start("orders", vec![panics, rule], EVERY, vec![Arc::clone(&sink) as _]);
    sleep(EVERY / 2).await;
    for value in [1, 0, 1] {
        figure.store(value, Ordering::Relaxed);
        next_look().await;
    }
    assert_eq!(alerts.close(EVERY).await, 0);
    assert_eq!(sink.1.load(Ordering::Relaxed), 2);
    assert_eq!(alerts.snapshot()[0].value, None);
}

/// D3: the rule on components names those that are unhealthy.
#[tokio::test(start_paused = true)]
async fn an_unhealthy_component_is_named() {
    let status = Arc::new(Mutex::new(Status::Healthy));
    let seen = Arc::clone(&status);
    let probe = FnProbe::new("cache", move || match *seen.lock().expect("lock") {
        Status::Healthy => db_core::Finding::healthy(),
        _ => db_core::Finding::unhealthy("gone"),
    });
    let monitor = Monitor::start(vec![Check::new(probe).interval(EVERY).fail_after(1).recover_after(1)]);
    monitor.first_looks().await;
    let book = Book::new(9);
    let rule = rules::component_unhealthy(move || Some(monitor.snapshot()));
    let _alerts = Alerts::start("orders", vec![rule], EVERY / 10, vec![Arc::clone(&book) as _]);
    for next in [Status::Unhealthy, Status::Healthy] {
        *status.lock().expect("lock") = next;
        sleep(EVERY * 2).await;
    }
    let told = book.told.lock().expect("lock");
    let texts: Vec<_> = told.iter().map(|notice| (notice.state, &*notice.text)).collect();
    let text = "a component is unhealthy: cache";
    assert_eq!(texts, [(NoticeState::Firing, text), (NoticeState::Resolved, text)]);
}

/// E10: thresholds as they were asked for.
#[test]
fn presets() {
    let window = Arc::new(Window::default());
    let check = |rule: Rule, well: f64, broken: f64| {
        assert!(!rule.is_broken_by(well) && rule.is_broken_by(broken), "{rule:?}");
    };
    check(rules::pool_utilization(|| None::<f64>), 80.0, 80.1);
    check(rules::average_latency(&window), 500.0, 500.1);
    check(rules::connect_failures(&window), 0.0, 1.0);
    check(rules::retries(&window), 10.0, 11.0);
    check(rules::error_rate(&window), 5.0, 5.1);
    check(rules::replica_lag(|| None::<f64>), 10.0, 10.1);
    check(rules::replica_lag(|| None::<f64>).threshold(60.0), 60.0, 60.1);
}
