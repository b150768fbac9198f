//! What an operator does with an open pool, and what the pool does by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use db_core::{Executor, Kind, Query};
use db_pool::{LaneSettings, Pool, Settings};
use db_testkit::Proxy;
use db_testkit::TestDatabase;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::support::{Recorder, client, database, eventually, pool, settings};

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'db'";

/// Tasks that use a pool until they are told to stop; each says how often, and any error fails the test.
struct Load {
    tasks: Vec<JoinHandle<usize>>,
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Load {
    fn on(pool: &Pool, tasks: usize) -> Self {
        let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let tasks = (0..tasks).map(|_| {
            let (pool, is_over, served) = (pool.clone(), Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                let mut turns = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let one: i32 = pool.one("SELECT 1", &[]).await.expect("no error to anybody");
                    served.fetch_add(1, Ordering::Relaxed);
                    turns += usize::try_from(one).expect("one");
                }
                turns
            })
        });
        Self { tasks: tasks.collect(), is_over, served }
    }

    /// Waits until it has been served that often from now on.
    async fn goes_on(&self, times: usize) {
        let until = self.served.load(Ordering::Relaxed) + times;
        eventually("the load is served", async || self.served.load(Ordering::Relaxed) >= until).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            assert!(task.await.expect("no panic") > 0, "everybody was served");
        }
    }
}

async fn recorded(database: &TestDatabase, change: impl FnOnce(&mut Settings)) -> (Pool, Recorder) {
    let recorder = Recorder::default();
    let mut settings = settings();
    change(&mut settings);
    let pool = Pool::open_observed(database.config(), settings, Arc::new(recorder.clone())).await;
    (pool.expect("a pool"), recorder)
}

/// D2: every connection is replaced while all are in use, and nobody sees it.
#[tokio::test]
async fn rotate_replaces_every_connection_without_an_error() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (4, 4)).await;
    let aside = client(database.url()).await;
    let pids = async || -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'db' ORDER BY pid";
        aside.query(sql, &[]).await.expect("look").iter().map(|row| row.get(0)).collect()
    };
    let before = pids().await;
    assert_eq!(before.len(), 4);
    let load = Load::on(&pool, 8);
    load.goes_on(50).await;
    pool.rotate();
    eventually("all are others", async || {
        let now = pids().await;
        !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
    })
    .await;
    load.goes_on(50).await;
    load.end().await;
    assert_eq!(pool.stats().closed.rotated, 4);
}

/// D2: idle connections are replaced at once, not when somebody needs them.
#[tokio::test]
async fn rotate_does_not_wait_for_a_user() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (4, 2)).await;
    pool.rotate();
    eventually("both are replaced", async || {
        let stats = pool.stats();
        (stats.closed.rotated, stats.total) == (2, 2)
    })
    .await;
}

/// Paused, a pool lets what runs finish and lets others wait in their order; resumed, it serves all of them.
#[tokio::test]
async fn pause_waits_for_what_runs_and_resume_serves_who_waits() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (2, 2);
        settings.acquire_timeout = Duration::from_secs(10);
    })
    .await;
    let held = pool.acquire().await.expect("a connection");
    let still = pool.pause(Duration::from_millis(50)).await.expect_err("one is in use");
    assert_eq!(still.in_use, 1);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.one::<i32>("SELECT 7", &[]).await }
    });
    eventually("somebody waits", async || pool.stats().waiting == 1).await;
    assert!(pool.stats().is_paused);
    drop(held);
    pool.pause(Duration::from_secs(5)).await.expect("nobody has one");
    assert_eq!((pool.stats().in_use, pool.stats().waiting), (0, 1));
    pool.resume();
    assert_eq!(waiting.await.expect("no panic").expect("served"), 7);
}

/// A place that was given to somebody who has not taken it yet is taken away again: nobody works on a paused pool.
#[tokio::test]
async fn nobody_gets_in_after_pause() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (1, 1)).await;
    let held = pool.acquire().await.expect("a connection");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(|conn| conn.process_id()) }
    });
    eventually("somebody waits", async || pool.stats().waiting == 1).await;
    drop(held);
    pool.pause(Duration::from_secs(5)).await.expect("nobody has one");
    tokio::task::yield_now().await;
    assert_eq!((pool.stats().in_use, waiting.is_finished()), (0, false));
    pool.resume();
    waiting.await.expect("no panic").expect("served");
}

/// An operator's thread need not be one of a runtime.
#[tokio::test]
async fn resize_works_outside_of_a_runtime() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (4, 4)).await;
    let resized = std::thread::spawn({
        let pool = pool.clone();
        move || pool.resize(1)
    });
    assert_eq!(resized.join().expect("no panic"), 1);
    assert_eq!(pool.stats().total, 1);
}

/// A pool serves callers of several runtimes, also when some of these end: nothing of a connection is theirs.
#[test]
fn a_runtime_of_a_caller_may_end() {
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (database, pool, aside) = own.block_on(async {
        let database = database().await;
        let pool = pool(&database, |settings| (settings.max, settings.min) = (1, 1)).await;
        let aside = client(database.url()).await;
        (database, pool, aside)
    });
    let other =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let guest = other();
    guest.block_on(async { pool.one::<i32>("SELECT 1", &[]).await }).expect("a value");
    drop(guest);
    own.block_on(async { pool.one::<i32>("SELECT 2", &[]).await }).expect("a value");

    // Ends while a statement is being prepared, which waits for the lock.
    own.block_on(async {
        pool.batch_execute("CREATE TABLE t (n int)").await.expect("set up");
        aside.batch_execute("BEGIN; LOCK TABLE t").await.expect("locked");
    });
    let guest = other();
    let waits = async { timeout(Duration::from_millis(200), pool.fetch("SELECT n FROM t", &[])).await };
    guest.block_on(waits).expect_err("it waits");
    guest.shutdown_background();
    own.block_on(async {
        aside.batch_execute("ROLLBACK").await.expect("unlocked");
        pool.fetch("SELECT n FROM t", &[]).await.expect("prepared anew");
        drop((pool, aside, database));
    });
}

/// Whoever waits longer than its time-out is told that the pool is paused.
#[tokio::test]
async fn a_time_out_says_that_the_pool_is_paused() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.acquire_timeout = Duration::from_secs(1)).await;
    pool.pause(Duration::from_secs(5)).await.expect("nobody has one");
    let error = pool.acquire().await.expect_err("paused");
    assert!(error.to_string().ends_with("; the pool is paused"), "{error}");
    pool.resume();
    pool.acquire().await.expect("again");
}

/// A1: the size changes under load; the server never sees more connections than allowed, and nobody sees an error.
#[tokio::test]
async fn resize_up_and_down_under_load() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (3, 1);
        settings.queue_limit = 1_000;
        settings.acquire_timeout = Duration::from_secs(10);
        // Each statement is to need a connection; resizing with lanes is tested with them.
        settings.lanes = LaneSettings::off();
    })
    .await;
    let aside = client(database.url()).await;
    let sessions = async || aside.query_one(SESSIONS, &[]).await.expect("look").get::<_, i64>(0);
    let load = Load::on(&pool, 20);
    eventually("three are open", async || pool.stats().total == 3).await;
    assert_eq!(pool.resize(8), 8);
    eventually("eight are open", async || pool.stats().total == 8).await;
    assert!(sessions().await <= 8);
    assert_eq!(pool.resize(2), 2);
    eventually("two are open", async || pool.stats().total == 2).await;
    eventually("two are on the server", async || sessions().await == 2).await;
    load.goes_on(100).await;
    assert!(pool.stats().in_use <= 2);
    load.end().await;
    assert!(pool.stats().closed.resized >= 6);
    assert_eq!(pool.resize(0), 1, "a pool of none would serve nobody");
    assert_eq!(pool.resize(1_000_000), pool.server().connection_limit, "the server has the last word");
}

/// What is detached lives on after the pool, which opens another in its place.
#[tokio::test]
async fn detach_takes_a_connection_out() {
    let database = database().await;
    let (pool, recorder) = recorded(&database, |settings| (settings.max, settings.min) = (1, 1)).await;
    let conn = pool.acquire().await.expect("a connection");
    let pid = conn.process_id();
    let detached = conn.detach();
    assert_ne!(pool.acquire().await.expect("another").process_id(), pid);
    assert!(recorder.has("closed Detached InUse"), "{:?}", recorder.events());
    let closing = Instant::now();
    pool.close(Duration::from_secs(20)).await.expect("close");
    assert!(closing.elapsed() < Duration::from_secs(10), "what is detached is not waited for");
    assert_eq!(detached.one::<i32>("SELECT pg_backend_pid()", &[]).await.expect("it lives"), pid);
}

/// A caller who does not give a connection back is named by the place where it was acquired, once.
#[tokio::test]
async fn a_leak_is_reported_with_its_place() {
    let database = database().await;
    let (pool, recorder) =
        recorded(&database, |settings| settings.leak_warning = Duration::from_millis(50)).await;
    let place = format!("leaked {}:{}", file!(), line!() + 1);
    let _held = pool.acquire().await.expect("a connection");
    let is_told = || recorder.events().iter().filter(|event| event.starts_with(&place)).count();
    eventually("it is told", async || is_told() == 1).await;
    // By the time that this one is told too, the first could have been told again.
    let second = format!("leaked {}:{}", file!(), line!() + 1);
    let _also_held = pool.acquire().await.expect("a connection");
    eventually("it is told", async || recorder.events().iter().any(|event| event.starts_with(&second))).await;
    assert_eq!(is_told(), 1, "{:?}", recorder.events());
}

/// What is idle is kept alive, and what is dead is found before anybody asks for it.
#[tokio::test]
async fn idle_connections_are_kept_alive() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let recorder = Recorder::default();
    let mut settings = settings();
    (settings.max, settings.min, settings.keep_alive) = (2, 1, Duration::from_millis(50));
    settings.check_timeout = Duration::from_millis(200);
    let pool = Pool::open_observed(proxy.config(), settings, Arc::new(recorder.clone())).await;
    let pool = pool.expect("a pool");
    let before = proxy.counts().requests;
    eventually("it is asked", async || proxy.counts().requests >= before + 3).await;
    assert_eq!(pool.stats().waited.count, 0, "nobody else asked");
    proxy.forget();
    eventually("the dead one is found", async || recorder.has("closed Broken Idle")).await;
    eventually("another is open", async || pool.stats().total == 1).await;
}

/// The minimum is open when the pool is.
#[tokio::test]
async fn the_minimum_is_warmed_up() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.min = 5).await;
    assert_eq!((pool.stats().total, pool.stats().idle), (5, 5));
}

/// B7, E3: who does not come back in time loses its connection, and the server works for it no longer.
#[tokio::test]
async fn close_ends_those_who_stay() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.statement_timeout = Duration::ZERO).await;
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.batch_execute("SELECT pg_sleep(60)").await }
    });
    eventually("it runs", async || pool.stats().in_use == 1).await;
    let error = pool.close(Duration::from_millis(100)).await.expect_err("somebody stays");
    assert_eq!(error.in_use, 1);
    let error = timeout(Duration::from_secs(5), running).await.expect("at once").expect("no panic");
    let error = error.expect_err("it was ended");
    assert!(matches!(error.kind(), Kind::Connection | Kind::Performance), "{error}");
    let aside = client(database.url()).await;
    eventually("nothing is left", async || {
        aside.query_one(SESSIONS, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;
}

/// B4: figures add up.
#[tokio::test]
async fn figures_add_up() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min, settings.max_uses) = (2, 1, 2)).await;
    for _ in 0..6 {
        pool.one::<i32>("SELECT 1", &[]).await.expect("a value");
    }
    eventually("the minimum is open", async || pool.stats().total == 1).await;
    let stats = pool.stats();
    assert_eq!((stats.closed.uses, stats.closed.total()), (3, 3));
    assert_eq!(stats.opened, 4);
    assert_eq!(stats.waited.count, 6);
    assert!(stats.waited.p50_us <= stats.waited.p99_us);
    assert_eq!(stats.waited.buckets.iter().map(|(_, count)| count).sum::<u64>(), 6);
    let json = serde_json::to_value(&stats).expect("JSON");
    assert_eq!((&json["closed"]["uses"], &json["is_paused"]), (&3.into(), &false.into()));
}

/// B1, B3, B4: two pools of different sizes beside each other; figures and events say which one it was, on which server, and
/// whether the connection was in use.
#[tokio::test]
async fn two_pools_are_told_apart() {
    #[derive(Default)]
    struct Ends(std::sync::Mutex<Vec<(String, String, db_core::ConnectionState)>>);
    impl db_core::Observer for Ends {
        fn closed(&self, event: &db_core::Closed<'_>) {
            let end = (event.pool.to_owned(), event.endpoint.to_owned(), event.state);
            self.0.lock().expect("no panic").push(end);
        }
    }
    let database = database().await;
    let ends = Arc::new(Ends::default());
    let open = async |name: &str, max, min| {
        let mut settings = settings();
        (settings.name, settings.max, settings.min) = (name.to_owned(), max, min);
        let observer: Arc<dyn db_core::Observer> = Arc::<Ends>::clone(&ends);
        Pool::open_observed(database.config(), settings, observer).await.expect("a pool")
    };
    let (primary, replica) = (open("primary", 30, 6).await, open("replica", 15, 3).await);
    for (pool, name, max, min) in [(&primary, "primary", 30, 6), (&replica, "replica", 15, 3)] {
        let stats = pool.stats();
        assert_eq!((stats.pool.as_str(), stats.max, stats.min, stats.total), (name, max, min, min));
    }
    let end = async |conn: &db_pool::Conn| {
        conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await.expect_err("it ends");
    };
    let conn = replica.acquire().await.expect("a connection");
    assert_eq!(replica.stats().utilization.round(), 7.0);
    end(&conn).await;
    drop(conn);
    let told = || ends.0.lock().expect("no panic").clone();
    eventually("it is told", async || !told().is_empty()).await;
    let expect = ("replica".to_owned(), primary.endpoint().to_owned(), db_core::ConnectionState::InUse);
    assert_eq!(told(), [expect]);
}

/// A10, C8: every statement is told with its time, slow ones as such, and without literals.
#[tokio::test]
async fn statements_are_told_with_their_time() {
    let database = database().await;
    let (pool, recorder) =
        recorded(&database, |settings| settings.slow_query = Duration::from_millis(100)).await;
    pool.one::<i32>("SELECT 1", &[]).await.expect("a value");
    let started = Instant::now();
    pool.batch_execute("SELECT pg_sleep(0.2), 'hunter2'").await.expect("slept");
    assert!(started.elapsed() >= Duration::from_millis(200));
    pool.batch_execute("SELECT nothing").await.expect_err("no such column");
    let told: Vec<_> = recorder.events().into_iter().filter(|event| event.starts_with("executed")).collect();
    let expect =
        ["executed SELECT ? ok", "executed slow SELECT pg_sleep(?), ? ok", "executed SELECT nothing failed"];
    assert_eq!(told, expect);
}
