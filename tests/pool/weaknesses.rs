//! What is wrong with pools, by the example of bb8 0.9.1: each test fails when that is put in the place of ours
//! (`DB_TEST_POOL=bb8`). The doc line says how.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_testkit::Proxy;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::subject::{Subject, Wanted};
use crate::support::{client, database, eventually};

async fn open(config: tokio_postgres::Config, change: impl FnOnce(&mut Wanted)) -> Subject {
    let mut wanted = Wanted::default();
    change(&mut wanted);
    Subject::open(config, &wanted).await.expect("a pool")
}

/// A1, B9: bb8 lets newcomers overtake: while ten times as many checkouts as there are tasks are served, hundreds of 1,000
/// tasks on 50 connections get none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_starve() {
    const TASKS: usize = 1_000;
    let database = database().await;
    let subject = open(database.config(), |wanted| {
        wanted.max = 50;
        wanted.acquire_timeout = Duration::from_secs(60);
    })
    .await;
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (subject, served) = (subject.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let mut turns = 0;
                while served.load(Ordering::Relaxed) < 10 * TASKS {
                    let _lease = subject.acquire().await.expect("a connection");
                    sleep(Duration::from_millis(1)).await;
                    // Who comes after all that was not served in time.
                    turns += usize::from(served.fetch_add(1, Ordering::Relaxed) < 10 * TASKS);
                }
                turns
            })
        })
        .collect();
    let mut starved = 0;
    for task in tasks {
        starved += u32::from(task.await.expect("no panic") == 0);
    }
    assert_eq!(starved, 0, "tasks that were never served");
}

/// bb8 tries again until its time-out and says `TimedOut`.
#[tokio::test]
async fn errors_of_connecting_are_hidden() {
    let database = database().await;
    let mut config = database.config();
    config.dbname("missing");
    let error = Subject::open(config, &Wanted::default()).await.err().expect("no such database");
    assert!(error.contains("\"missing\" does not exist"), "{error}");
}

/// A server that takes the connection and says nothing: bb8 waits for it for ever, and with a pool of one nobody gets a
/// connection any more, also when the server is well again.
#[tokio::test]
async fn connecting_has_no_time_limit() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let subject = open(proxy.config(), |wanted| wanted.acquire_timeout = Duration::from_millis(500)).await;
    let lease = subject.acquire().await.expect("a connection");
    let pid = lease.process_id().await;
    let aside = client(database.url()).await;
    aside.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate");
    eventually("it is noticed", async || lease.batch_execute("SELECT 1").await.is_err()).await;
    proxy.stall();
    drop(lease);
    assert!(subject.acquire().await.is_err(), "the server says nothing");
    // What arrived meanwhile is lost, as when a machine is switched off.
    proxy.forget();
    proxy.heal();
    eventually("the pool works again", async || subject.acquire().await.is_ok()).await;
}

/// bb8 counts a connection whose opening panicked as pending for ever.
#[tokio::test]
async fn a_panic_while_connecting_loses_a_place() {
    let database = database().await;
    let wanted = Wanted { acquire_timeout: Duration::from_millis(500), ..Wanted::default() };
    let subject = Subject::open(database.config(), &wanted).await.expect("a pool");
    let lease = subject.acquire().await.expect("a connection");
    let pid = lease.process_id().await;
    let aside = client(database.url()).await;
    aside.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate");
    eventually("it is noticed", async || lease.batch_execute("SELECT 1").await.is_err()).await;
    wanted.panics.store(true, Ordering::SeqCst);
    drop(lease);
    assert!(subject.acquire().await.is_err(), "opening panics");
    eventually("the pool works again", async || subject.acquire().await.is_ok()).await;
}

/// When time runs out during a check, bb8 puts the connection back as a good one, and the next caller waits for it in vain.
#[tokio::test]
async fn a_connection_whose_check_hangs_is_kept() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let subject = open(proxy.config(), |wanted| wanted.acquire_timeout = Duration::from_millis(500)).await;
    let checked_by_now = Instant::now() + Duration::from_millis(600);
    drop(subject.acquire().await.expect("a connection"));
    sleep_until(checked_by_now).await;
    proxy.stall();
    assert!(subject.acquire().await.is_err(), "the server says nothing");
    eventually("the connection is closed", async || {
        proxy.counts().accepted > 1 || proxy.counts().connections == 0
    })
    .await;
}

/// bb8 asks the server at each checkout.
#[tokio::test]
async fn each_checkout_costs_a_round_trip() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let subject = open(proxy.config(), |_| {}).await;
    drop(subject.acquire().await.expect("a connection"));
    let before = proxy.counts().requests;
    for _ in 0..100 {
        drop(subject.acquire().await.expect("a connection"));
    }
    let asked = proxy.counts().requests - before;
    assert!(asked <= 5, "{asked} requests for 100 checkouts");
}

/// bb8 looks at lifetimes in its rounds only, and gives out what is too old between them.
#[tokio::test]
async fn connections_are_used_beyond_their_lifetime() {
    let database = database().await;
    let subject = open(database.config(), |wanted| wanted.max_lifetime = Duration::from_millis(200)).await;
    let opened = Instant::now();
    let first = subject.acquire().await.expect("a connection").process_id().await;
    // Give or take a tenth.
    sleep_until(opened + Duration::from_millis(230)).await;
    assert_ne!(subject.acquire().await.expect("a connection").process_id().await, first);
}

/// bb8 closes idle connections below its minimum too, and opens others for them, without end.
#[tokio::test]
async fn the_minimum_is_opened_and_closed_again_and_again() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let subject = open(proxy.config(), |wanted| {
        (wanted.max, wanted.min) = (4, 2);
        wanted.idle_timeout = Duration::from_millis(50);
    })
    .await;
    eventually("the minimum is open", async || proxy.counts().connections >= 2).await;
    // As many rounds as make any churn visible.
    sleep(Duration::from_secs(1)).await;
    assert!(proxy.counts().accepted <= 3, "{} connections were opened", proxy.counts().accepted);
    drop(subject);
}

/// bb8 gives the next user whatever transaction the last one left open.
#[tokio::test]
async fn a_transaction_goes_to_the_next_user() {
    let database = database().await;
    let subject = open(database.config(), |_| {}).await;
    let lease = subject.acquire().await.expect("a connection");
    lease.batch_execute("CREATE TABLE t (n int)").await.expect("set up");
    lease.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("begun");
    drop(lease);
    let lease = subject.acquire().await.expect("a connection");
    assert_eq!(lease.number("SELECT count(*)::int FROM t").await, 0);
}

/// bb8 gives the next user the settings of the last one, and the role.
#[tokio::test]
async fn settings_go_to_the_next_user() {
    let database = database().await;
    let subject = open(database.config(), |_| {}).await;
    let lease = subject.acquire().await.expect("a connection");
    lease.batch_execute("SET work_mem = '77MB'").await.expect("set");
    drop(lease);
    let lease = subject.acquire().await.expect("a connection");
    assert_eq!(lease.number("SELECT (current_setting('work_mem') = '77MB')::int").await, 0);
}

/// bb8 lets the next user wait for the end of what the last one gave up.
#[tokio::test]
async fn the_next_user_waits_for_what_was_given_up() {
    let database = database().await;
    let subject = open(database.config(), |wanted| wanted.acquire_timeout = Duration::from_secs(20)).await;
    let lease = subject.acquire().await.expect("a connection");
    let given_up = timeout(Duration::from_millis(100), lease.batch_execute("SELECT pg_sleep(60)")).await;
    assert!(given_up.is_err());
    drop(lease);
    let lease = subject.acquire().await.expect("a connection");
    let next = timeout(Duration::from_secs(5), lease.number("SELECT 7")).await;
    assert_eq!(next.expect("long before the minute is over"), 7);
}

/// bb8 counts gets that began and never notes those that were given up.
#[tokio::test]
async fn counts_of_waiting_callers_drift() {
    let database = database().await;
    let subject = open(database.config(), |_| {}).await;
    let lease = subject.acquire().await.expect("a connection");
    for _ in 0..10 {
        assert!(timeout(Duration::from_millis(5), subject.acquire()).await.is_err());
    }
    drop(lease);
    assert_eq!(subject.waiting(), 0);
}

/// bb8 spawns a task when a broken connection comes back, which panics where there is no runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_outside_of_a_runtime_panics() {
    let database = database().await;
    // No other is idle, so that a new one is needed at once.
    let subject = open(database.config(), |wanted| (wanted.max, wanted.min) = (1, 1)).await;
    let lease = subject.acquire().await.expect("a connection");
    let given_up = timeout(
        Duration::from_millis(50),
        lease.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())"),
    )
    .await;
    assert!(!matches!(given_up, Ok(Ok(()))));
    eventually("it is noticed", async || lease.batch_execute("SELECT 1").await.is_err()).await;
    std::thread::spawn(move || drop(lease)).join().expect("no panic");
    subject.acquire().await.expect("another connection");
}

/// B7, E3: bb8 has no way to close: it is dropped while connections are in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_cannot_be_drained() {
    let database = database().await;
    let subject = open(database.config(), |_| {}).await;
    let lease = subject.acquire().await.expect("a connection");
    let running = tokio::spawn(async move { lease.batch_execute("SELECT pg_sleep(0.5)").await });
    let aside = client(database.url()).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let asleep = format!("{sessions} AND wait_event = 'PgSleep'");
    eventually("it runs", async || aside.query_one(&asleep, &[]).await.expect("look").get::<_, i64>(0) == 1)
        .await;
    subject.close(Duration::from_secs(5)).await;
    assert!(running.is_finished(), "what ran was waited for");
    running.await.expect("no panic").expect("it finished");
}

/// bb8 opens as many connections at once as there are callers.
#[tokio::test]
async fn everybody_connects_at_once() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let subject = open(proxy.config(), |wanted| wanted.max = 20).await;
    let _first = subject.acquire().await.expect("a connection");
    proxy.stall();
    let waiting: Vec<_> = (0..19)
        .map(|_| {
            let subject = subject.clone();
            tokio::spawn(async move { subject.acquire().await.map(drop) })
        })
        .collect();
    eventually("connections are being opened", async || proxy.counts().accepted > 2).await;
    // Long enough for all of them, were there more.
    sleep(Duration::from_millis(300)).await;
    let at_once = proxy.counts().accepted - 1;
    waiting.iter().for_each(|task| task.abort());
    assert!(at_once <= 2, "{at_once} connections were opened at once");
}
