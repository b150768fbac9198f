//! The pool: fair, bounded, honest about what is wrong, and clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_core::{Action, Executor, Kind, Outcome, Phase, Query, SqlState};
use db_pool::{Pool, Settings};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Config;

use crate::support::{Recorder, client, database, eventually, pool, settings};

/// A1: on plain bb8 0.9.1, 931 of 1,000 such tasks never get a connection.
#[tokio::test]
async fn serves_everybody_in_turn() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        settings.max = 5;
        settings.queue_limit = 1_000;
        settings.acquire_timeout = Duration::from_secs(30);
    })
    .await;
    let end = Instant::now() + Duration::from_secs(2);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut turns = 0_u32;
                while Instant::now() < end {
                    let _conn = pool.acquire().await.expect("a connection");
                    sleep(Duration::from_millis(1)).await;
                    turns += 1;
                }
                turns
            })
        })
        .collect();
    let mut turns = Vec::new();
    for task in tasks {
        turns.push(task.await.expect("no panic"));
    }
    let (least, most) = (turns.iter().min().expect("tasks"), turns.iter().max().expect("tasks"));
    assert!(*least > 0 && most - least <= most.div_ceil(2), "turns between {least} and {most}");
}

/// A1: never more connections on the server than the maximum.
#[tokio::test]
async fn never_opens_more_than_the_maximum() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.max = 4).await;
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let (pool, most, now) = (pool.clone(), Arc::clone(&most), Arc::clone(&now));
            tokio::spawn(async move {
                let conn = pool.acquire().await.expect("a connection");
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                conn.batch_execute("SELECT pg_sleep(0.01)").await.expect("sleep");
                now.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
    let aside = client(database.url()).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'db'";
    let sessions: i64 = aside.query_one(count, &[]).await.expect("count").get(0);
    assert_eq!((sessions, pool.stats().total), (4, 4));
}

/// A1, E1: the acquire time-out, with its numbers.
#[tokio::test]
async fn says_what_was_in_use_when_time_ran_out() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (1, 1);
        // The pool itself must be open within it.
        settings.acquire_timeout = Duration::from_secs(1);
    })
    .await;
    let _held = pool.acquire().await.expect("the only connection");
    let error = pool.acquire().await.expect_err("none is left");
    let text = error.to_string();
    assert!(text.starts_with("timed out waiting for a connection (1."), "{text}");
    assert!(text.ends_with(" s, 1 of 1 in use, 0 waiting)"), "{text}");
    let wait = error.wait().expect("numbers");
    assert_eq!((wait.in_use, wait.max, error.phase()), (1, 1, Phase::Acquire));
    assert_eq!((error.kind(), error.outcome()), (Kind::Performance, Outcome::NotExecuted));
}

#[tokio::test]
async fn refuses_more_waiters_than_the_queue_holds() {
    let database = database().await;
    let pool =
        pool(&database, |settings| (settings.max, settings.min, settings.queue_limit) = (1, 1, 2)).await;
    let held = pool.acquire().await.expect("the only connection");
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.acquire().await.map(drop) }
            })
        })
        .collect();
    eventually("two callers wait", async || pool.stats().waiting == 2).await;
    let error = pool.acquire().await.expect_err("the queue is full");
    assert_eq!(error.to_string(), "too many callers wait for a connection already (2)");
    drop(held);
    for task in waiting {
        task.await.expect("no panic").expect("their turn");
    }
    assert_eq!(pool.stats().waiting, 0);
}

/// Each is reported as itself and at once; plain bb8 says `TimedOut` after its time-out.
#[tokio::test]
async fn reports_what_is_wrong_with_the_server_as_itself() {
    let database = database().await;
    let check = async |change: fn(&mut tokio_postgres::Config), code: Option<&str>, expect: &str| {
        let mut target = database.config();
        change(&mut target);
        let started = Instant::now();
        let error = Pool::open(target, Settings::default()).await.expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(error.sqlstate(), code.and_then(SqlState::new), "{error}");
        assert_eq!((error.kind(), error.outcome()), (Kind::Connection, Outcome::NotExecuted));
        assert!(started.elapsed() < Duration::from_secs(1), "{error} took {:?}", started.elapsed());
        let all = format!("{error} {error:?}");
        assert!(!all.contains("hunter2"), "{all}");
        error
    };
    let error = check(
        |target| {
            target.password("hunter2");
        },
        Some("28P01"),
        "password authentication failed",
    )
    .await;
    assert_eq!(error.advice().read, Action::RefreshCredentials);
    check(
        |target| {
            target.user("nobody_here");
        },
        Some("28P01"),
        "password authentication failed",
    )
    .await;
    check(
        |target| {
            target.dbname("missing");
        },
        Some("3D000"),
        "database \"missing\" does not exist",
    )
    .await;
}

/// A refused connection is tried again a few times, then reported as itself.
#[tokio::test]
async fn gives_up_on_a_server_that_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let target: Config = format!("postgres://a:hunter2@127.0.0.1:{port}/d").parse().expect("a URL");
    let started = Instant::now();
    let error = Pool::open(target, Settings::default()).await.expect_err("refused");
    let expect = format!("could not connect to 127.0.0.1:{port}: Connection refused");
    assert!(error.to_string().starts_with(&expect), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// One silent server must not kill the pool: plain bb8 with a pool of 1 is dead for good.
#[tokio::test]
async fn gives_up_on_a_server_that_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target: Config = format!("postgres://a:b@127.0.0.1:{port}/d").parse().expect("a URL");
    let mut settings = settings();
    settings.connect_timeout = Duration::from_millis(100);
    settings.acquire_timeout = Duration::from_millis(300);
    let error = Pool::open(target, settings).await.expect_err("silent");
    assert!(error.to_string().ends_with("no answer within 100ms"), "{error}");
}

/// A caller that waits learns at once that the password was changed.
#[tokio::test]
async fn tells_those_who_wait_what_is_wrong() {
    let database = database().await;
    let role = format!("role_{}", database.name());
    let admin = client(database.url()).await;
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'one'")).await.expect("a role");
    let mut target = database.config();
    target.user(&role).password("one");
    let mut settings = settings();
    (settings.max, settings.min) = (5, 1);
    let pool = Pool::open(target, settings).await.expect("a pool");
    let held = pool.acquire().await.expect("the open connection");
    admin.batch_execute(&format!("ALTER ROLE {role} PASSWORD 'two'")).await.expect("a new password");
    let started = Instant::now();
    let error = pool.acquire().await.expect_err("the password is wrong now");
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_PASSWORD));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    drop(held);
    pool.one::<i32>("SELECT 1", &[]).await.expect("the connection that was open before");
    pool.close(Duration::from_secs(5)).await.expect("close");
    admin.batch_execute(&format!("DROP ROLE {role}")).await.expect("drop");
}

/// A10 in the making: the server ends a statement that takes too long.
#[tokio::test]
async fn sets_the_time_limits_of_its_sessions() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.statement_timeout = Duration::from_millis(50)).await;
    let error = pool.batch_execute("SELECT pg_sleep(10)").await.expect_err("too long");
    assert_eq!((error.sqlstate(), error.kind()), (Some(SqlState::QUERY_CANCELED), Kind::Performance));
    let idle: String = pool.one("SHOW idle_in_transaction_session_timeout", &[]).await.expect("setting");
    let name: String = pool.one("SHOW application_name", &[]).await.expect("setting");
    assert_eq!((idle.as_str(), name.as_str()), ("30s", "db"));
}

/// The next user must not wait for, or read, what the last one left.
#[tokio::test]
async fn does_not_hand_on_what_was_abandoned() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.min) = (1, 1);
        settings.statement_timeout = Duration::ZERO;
    })
    .await;
    for _ in 0..5 {
        let abandoned = pool.batch_execute("SELECT pg_sleep(60)");
        assert!(timeout(Duration::from_millis(50), abandoned).await.is_err());
        let started = Instant::now();
        assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("the next user"), 7);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    let aside = client(database.url()).await;
    eventually("no abandoned statement runs", async || {
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%sleep(60)%'
                    AND state = 'active' AND pid <> pg_backend_pid()";
        aside.query_one(busy, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;
}

/// On plain bb8-postgres the next user finds itself in the transaction.
#[tokio::test]
async fn rolls_back_what_was_begun_by_hand() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (1, 1)).await;
    pool.batch_execute("CREATE TABLE t (n int)").await.expect("set up");
    for begin in ["BEGIN", "/* hidden */ begin", "START TRANSACTION"] {
        let conn = pool.acquire().await.expect("a connection");
        conn.execute(begin, &[]).await.expect("begin");
        conn.execute("INSERT INTO t VALUES (1)", &[]).await.expect("insert");
        drop(conn);
        assert_eq!(
            pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("the next user"),
            0,
            "{begin}"
        );
    }
    pool.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("a batch");
    assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("the next user"), 0);
    assert_eq!(pool.stats().total, 1, "the connection stays");
}

#[tokio::test]
async fn a_stream_that_is_half_read_is_not_handed_on() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (1, 1)).await;
    let mut stream = pool.stream::<i32>("SELECT generate_series(1, 1000000)", &[]).await.expect("a stream");
    futures_util::TryStreamExt::try_next(&mut stream).await.expect("no error").expect("a row");
    drop(stream);
    assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("the next user"), 7);
}

/// E1, A1: idle connections go, the minimum stays, and a used-up one is replaced.
#[tokio::test]
async fn keeps_the_minimum_and_closes_the_rest() {
    let database = database().await;
    let recorder = Recorder::default();
    let mut settings = settings();
    (settings.max, settings.min) = (5, 2);
    settings.idle_timeout = Duration::from_millis(100);
    settings.max_uses = 3;
    let pool =
        Pool::open_observed(database.config(), settings, Arc::new(recorder.clone())).await.expect("a pool");
    eventually("the minimum is open", async || pool.stats().total == 2).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.acquire().await.expect("a connection"));
    }
    assert_eq!((pool.stats().total, pool.stats().in_use), (5, 5));
    // E2: more than 80 % in use is told.
    assert!(recorder.has("high use 5 of 5"), "{:?}", recorder.events());
    drop(held);
    eventually("the rest is closed", async || pool.stats().total == 2).await;
    assert!(recorder.has("closed Idle Idle"), "{:?}", recorder.events());
    for _ in 0..20 {
        pool.one::<i32>("SELECT 1", &[]).await.expect("a value");
    }
    assert!(recorder.has("closed Uses Idle"), "{:?}", recorder.events());
    eventually("the minimum is open again", async || pool.stats().total == 2).await;
}

/// A11, E2: a connection that the server ended is noticed, told, and replaced without an error to anybody.
#[tokio::test]
async fn replaces_connections_that_the_server_ended() {
    let database = database().await;
    let recorder = Recorder::default();
    let mut settings = settings();
    settings.check_after = Duration::ZERO;
    let pool =
        Pool::open_observed(database.config(), settings, Arc::new(recorder.clone())).await.expect("a pool");
    eventually("the minimum is open", async || pool.stats().total == 2).await;
    let aside = client(database.url()).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'db'";
    assert_eq!(aside.query_one(end, &[]).await.expect("terminate").get::<_, i64>(0), 2);
    for _ in 0..5 {
        pool.one::<i32>("SELECT 1", &[]).await.expect("no error");
    }
    assert!(recorder.has("closed Broken Idle"), "{:?}", recorder.events());
}

/// A10: the statement of a caller who ran out of patience is told with its time, which nobody else could tell.
#[tokio::test]
async fn a_statement_that_is_given_up_is_told() {
    let database = database().await;
    let recorder = Recorder::default();
    let mut settings = settings();
    settings.slow_query = Duration::from_millis(20);
    let pool =
        Pool::open_observed(database.config(), settings, Arc::new(recorder.clone())).await.expect("a pool");
    let impatient = timeout(Duration::from_millis(50), pool.one::<String>("SELECT pg_sleep(60)::text", &[]));
    impatient.await.expect_err("it takes longer");
    assert!(recorder.has("abandoned slow SELECT pg_sleep(?)::text"), "{:?}", recorder.events());
    pool.one::<i32>("SELECT 1", &[]).await.expect("the next one");
    let told = recorder.events().iter().filter(|event| event.contains("pg_sleep")).count();
    assert_eq!(told, 1, "once: {:?}", recorder.events());
}

/// E3, B7: what runs may finish, nobody is admitted, and no session stays on the server.
#[tokio::test]
async fn closes_in_an_orderly_way() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.one::<i32>("SELECT 7 FROM pg_sleep(0.3)", &[]).await }
    });
    eventually("the statement runs", async || pool.stats().in_use == 1).await;
    pool.close(Duration::from_secs(5)).await.expect("in time");
    assert_eq!(running.await.expect("no panic").expect("it finished"), 7);
    assert_eq!(pool.acquire().await.expect_err("closed").to_string(), "the pool is closed");
    let aside = client(database.url()).await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("no session is left", async || {
        aside.query_one(left, &[]).await.expect("look").get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test]
async fn says_who_did_not_let_it_close() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    let held = pool.acquire().await.expect("a connection");
    let error = pool.close(Duration::from_millis(100)).await.expect_err("still in use");
    assert_eq!(error.in_use, 1);
    drop(held);
    pool.close(Duration::from_secs(5)).await.expect("now it can");
    assert_eq!(pool.stats().total, 0);
}
