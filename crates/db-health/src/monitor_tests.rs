//! The monitor in time that is stood still: looks, ages, the whole lifecycle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result, Status};
use tokio::time::{sleep, timeout};

use super::*;
use crate::{Change, Changes, Check, FnProbe};

/// Looks well the first time, then never answers.
struct Hangs(AtomicU32);

#[async_trait]
impl Probe for Hangs {
    fn name(&self) -> &str {
        "hangs"
    }

    async fn check(&self) -> Result<Finding> {
        if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
        Ok(Finding::healthy())
    }
}

fn status(monitor: &Monitor) -> (Status, Option<&'static str>) {
    let snapshot = monitor.snapshot();
    (snapshot.components[0].status, snapshot.components[0].reason)
}

#[tokio::test(start_paused = true)]
async fn before_the_first_look_nothing_is_claimed() {
    let monitor = Monitor::start(vec![Check::new(Hangs(AtomicU32::new(1)))]);
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("starting")));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_becomes_unhealthy_by_its_time_limit() {
    let monitor = Monitor::start(vec![Check::new(Hangs(AtomicU32::new(0)))]);
    monitor.first_looks().await;
    assert_eq!(status(&monitor), (Status::Healthy, None));
    // Three looks, 2 s apart or as long as the limit of 1 s makes them.
    sleep(Duration::from_millis(7_100)).await;
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("timeout")));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_old_is_not_believed() {
    let check = Check::new(Hangs(AtomicU32::new(0))).interval(Duration::from_secs(10));
    let monitor = Monitor::start(vec![check]);
    monitor.first_looks().await;
    monitor.stop();
    sleep(Duration::from_secs(31)).await;
    assert_eq!(status(&monitor), (Status::Healthy, None));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("stale")));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_failure_and_is_asked_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let probe = FnProbe::new("panics", move || {
        assert_ne!(seen.fetch_add(1, Ordering::Relaxed), 0, "the first look panics");
        Finding::healthy()
    });
    let monitor = Monitor::start(vec![Check::new(probe)]);
    monitor.first_looks().await;
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("panicked")));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(status(&monitor), (Status::Healthy, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_critical_only_degrades_the_whole() {
    let probe = || FnProbe::new("replica", || Finding::unhealthy("lag"));
    let whole = async |check| {
        let monitor = Monitor::start(vec![check]);
        monitor.first_looks().await;
        monitor.snapshot().status()
    };
    assert_eq!(whole(Check::new(probe()).non_critical()).await, Status::Degraded);
    assert_eq!(whole(Check::new(probe())).await, Status::Unhealthy);
}

/// A probe that counts its looks, takes its time, and finds what it is told to.
struct Told {
    name: &'static str,
    looks: Arc<AtomicU32>,
    takes: Duration,
    is_well: Arc<AtomicBool>,
}

impl Told {
    fn new(name: &'static str) -> Self {
        Self { name, looks: Arc::default(), takes: Duration::ZERO, is_well: Arc::new(AtomicBool::new(true)) }
    }

    fn looks(&self) -> impl Fn() -> u32 + use<> {
        let looks = Arc::clone(&self.looks);
        move || looks.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Probe for Told {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> Result<Finding> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        sleep(self.takes).await;
        Ok(if self.is_well.load(Ordering::Relaxed) { Finding::healthy() } else { Finding::unhealthy("told") })
    }
}

/// The next change, within a day.
async fn next(changes: &mut Changes) -> Option<Change> {
    timeout(Duration::from_secs(86_400), changes.next()).await.expect("something changes")
}

/// D11: whoever asks for the health costs nobody a look.
#[tokio::test(start_paused = true)]
async fn a_thousand_snapshots_ask_nobody() {
    let probe = Told::new("postgres");
    let looks = probe.looks();
    let monitor = Monitor::start(vec![Check::new(probe)]);
    monitor.first_looks().await;
    for _ in 0..1_000 {
        assert!(monitor.snapshot().is_ready());
    }
    assert_eq!(looks(), 1);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(looks(), 6, "one each 2 s");
}

#[tokio::test(start_paused = true)]
async fn started_when_all_that_is_critical_has_been_well_once() {
    let (early, late, never) = (Told::new("early"), Told::new("late"), Told::new("never"));
    let (early_is_well, late_is_well) = (Arc::clone(&early.is_well), Arc::clone(&late.is_well));
    late_is_well.store(false, Ordering::Relaxed);
    never.is_well.store(false, Ordering::Relaxed);
    let beside = FnProbe::new("part of what is not critical", || Finding::unhealthy("told"));
    let monitor = Monitor::start(vec![
        Check::new(early),
        Check::new(late),
        Check::new(never).non_critical(),
        Check::new(beside).part_of("never"),
    ]);
    monitor.first_looks().await;
    let snapshot = monitor.snapshot();
    assert_eq!((snapshot.is_started(), snapshot.is_ready()), (false, false));
    assert_eq!(snapshot.reason(), Some("starting"));

    late_is_well.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(5)).await;
    let snapshot = monitor.snapshot();
    assert_eq!((snapshot.is_started(), snapshot.is_ready()), (true, true), "{snapshot:?}");

    // What was started stays so, whatever is down later.
    early_is_well.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(7)).await;
    let snapshot = monitor.snapshot();
    assert_eq!((snapshot.is_started(), snapshot.is_ready()), (true, false));
    assert_eq!(snapshot.reason(), Some("told"));
}

#[tokio::test(start_paused = true)]
async fn shutting_down_is_not_ready_and_goes_on_looking() {
    let probe = Told::new("postgres");
    let looks = probe.looks();
    let monitor = Monitor::start(vec![Check::new(probe)]);
    monitor.first_looks().await;
    monitor.shut_down();
    let snapshot = monitor.snapshot();
    assert!(!snapshot.is_ready() && snapshot.is_shutting_down() && snapshot.is_started());
    assert_eq!(snapshot.reason(), Some("shutting_down"));
    assert_eq!(snapshot.components[0].status, Status::Healthy);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(looks(), 6);
    assert_eq!(monitor.snapshot().components[0].status, Status::Healthy);
}

/// D3: run now, for however many ask: one look of each check at a time.
#[tokio::test(start_paused = true)]
async fn run_now_shares_a_look() {
    let mut probe = Told::new("postgres");
    probe.takes = Duration::from_millis(500);
    let (looks, is_well) = (probe.looks(), Arc::clone(&probe.is_well));
    let monitor = Monitor::start(vec![Check::new(probe).fail_after(1)]);
    // The first look is under way.
    let started = tokio::time::Instant::now();
    let (a, b) = tokio::join!(monitor.run_now(), monitor.run_now());
    assert!(a.is_ready() && b.is_ready());
    assert_eq!((looks(), started.elapsed().as_millis()), (1, 500));

    is_well.store(false, Ordering::Relaxed);
    let asks = (0..50).map(|_| monitor.run_now());
    let all = futures_util::future::join_all(asks).await;
    assert!(all.iter().all(|snapshot| !snapshot.is_ready()), "all of them have the new result");
    assert_eq!(looks(), 2);
}

#[tokio::test(start_paused = true)]
async fn run_now_that_is_given_up_leaves_no_trace() {
    let mut probe = Told::new("postgres");
    probe.takes = Duration::from_millis(500);
    let looks = probe.looks();
    let monitor = Monitor::start(vec![Check::new(probe)]);
    monitor.first_looks().await;
    timeout(Duration::from_millis(100), monitor.run_now()).await.expect_err("given up");
    assert_eq!(looks(), 2);
    assert!(monitor.run_now().await.is_ready());
    assert_eq!(looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_in_order() {
    let (server, replica) = (Told::new("postgres"), Told::new("replica"));
    let is_well = Arc::clone(&server.is_well);
    let monitor = Monitor::start(vec![Check::new(server), Check::new(replica).part_of("postgres")]);
    monitor.first_looks().await;
    let mut changes = monitor.changes();
    timeout(Duration::from_secs(60), changes.next()).await.expect_err("nothing changes");

    is_well.store(false, Ordering::Relaxed);
    let change = next(&mut changes).await.expect("a change");
    let (from, to) = (Some(Status::Healthy), Status::Unhealthy);
    assert_eq!((change.component.as_deref(), change.from, change.to), (Some("postgres"), from, to));
    assert_eq!(change.reason, Some("told"));
    let change = next(&mut changes).await.expect("the whole");
    assert_eq!((change.component, change.from, change.to), (None, from, to));

    monitor.stop();
    assert_eq!(next(&mut changes).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_and_an_age_are_changes() {
    let slow = || Check::new(Told::new("postgres")).interval(Duration::from_secs(3_600));
    let monitor = Monitor::start(vec![slow()]);
    monitor.first_looks().await;
    let mut changes = monitor.changes();
    monitor.shut_down();
    let change = next(&mut changes).await.expect("a change");
    assert_eq!((change.component, change.reason), (None, Some("shutting_down")));

    // A task that died makes no look; nothing but the clock tells.
    let monitor = Monitor::start(vec![slow()]);
    monitor.first_looks().await;
    let mut changes = monitor.changes();
    monitor.tasks[0].abort();
    let change = next(&mut changes).await.expect("a change");
    assert_eq!((change.component.as_deref(), change.reason), (Some("postgres"), Some("stale")));
}

#[tokio::test(start_paused = true)]
async fn first_looks_end_with_the_monitor() {
    let monitor = Monitor::start(vec![Check::new(Hangs(AtomicU32::new(1)))]);
    monitor.stop();
    monitor.first_looks().await;
    assert!(!monitor.snapshot().is_started());
}

#[tokio::test(start_paused = true)]
async fn while_it_recovers_it_says_so() {
    let probe = Told::new("postgres");
    let is_well = Arc::clone(&probe.is_well);
    is_well.store(false, Ordering::Relaxed);
    let monitor = Monitor::start(vec![Check::new(probe)]);
    monitor.first_looks().await;
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("told")));
    is_well.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(2_100)).await;
    assert_eq!(status(&monitor), (Status::Unhealthy, Some("recovering")));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(status(&monitor), (Status::Healthy, None));
}
