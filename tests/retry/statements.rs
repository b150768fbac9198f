//! Retries on a real server: its own errors, and not those of a table in a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_core::{Action, Error, Executor, Outcome, Phase, Query, Result};
use db_retry::{Policy, Retry};
use tokio::sync::Barrier;
use tokio_postgres::NoTls;

use crate::support::{client, database};

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(|error| Error::from_driver(&error, Phase::Connect))?;
    tokio::spawn(connection);
    Ok(client)
}

fn quick() -> Policy {
    let mut policy = Policy::default();
    policy.initial_delay = Duration::from_millis(5);
    policy
}

/// B5, E5: a read whose connection is ended under it runs again, on another connection.
#[tokio::test]
async fn a_read_survives_the_end_of_its_connection() {
    let database = database().await;
    for policy in [quick(), Policy::connection_failures(), Policy::unavailable_server()] {
        let attempts = AtomicU32::new(0);
        let seven = Retry::new(policy)
            .read()
            .run_attempts(|attempt| {
                attempts.store(attempt.number, Ordering::Relaxed);
                let url = database.url();
                async move {
                    let client = connect(url).await?;
                    let end_itself = "SELECT pg_terminate_backend(pg_backend_pid())";
                    if attempt.number == 1 {
                        client.fetch(end_itself, &[]).await?;
                    }
                    client.one::<i32>("SELECT 7", &[]).await
                }
            })
            .await
            .expect("the second attempt succeeds");
        assert_eq!((seven, attempts.load(Ordering::Relaxed)), (7, 2));
    }
}

/// B5: an error of the query itself is not retried.
#[tokio::test]
async fn an_error_of_the_query_is_not_retried() {
    let database = database().await;
    let client = client(database.url()).await;
    let attempts = AtomicU32::new(0);
    let error = Policy::connection_failures()
        .run(|| {
            attempts.fetch_add(1, Ordering::Relaxed);
            client.one::<i32>("SELECT 1 / 0", &[])
        })
        .await
        .expect_err("division by zero");
    assert_eq!(error.sqlstate().expect("a code").as_str(), "22012");
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

/// D7: an unknown host and a refused connection are retried, a wrong password once, a wrong database never.
#[tokio::test]
async fn what_is_retried_while_connecting() {
    let database = database().await;
    let check = async |url: &str, expect: u32| {
        let attempts = AtomicU32::new(0);
        let retry = Retry::new(quick());
        let connected = retry.run(|| {
            attempts.fetch_add(1, Ordering::Relaxed);
            connect(url)
        });
        connected.await.expect_err("it cannot connect");
        assert_eq!(attempts.load(Ordering::Relaxed), expect, "{url}");
    };
    check("postgres://nobody@no-such-host.invalid/none", 4).await;
    check("postgres://nobody@127.0.0.1:1/none", 4).await;
    let (authority, _) = database.url().rsplit_once('/').expect("a path");
    check(&format!("{authority}/no_such_database"), 1).await;
}

/// E5: whole transactions, too. Each of these loses a race until the others are through; none is applied twice.
#[tokio::test]
async fn transactions_that_race_all_commit_once() {
    const WRITERS: usize = 4;
    let database = database().await;
    let setup = client(database.url()).await;
    setup
        .batch_execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)")
        .await
        .expect("a table");
    let mut policy = quick();
    policy.max_serialization_retries = 20;
    let retry = Retry::new(policy).transaction();
    let lost_races = Arc::new(AtomicU32::new(0));
    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|_| {
        let (retry, url) = (retry.clone(), database.url().to_owned());
        let (barrier, lost_races) = (Arc::clone(&barrier), Arc::clone(&lost_races));
        tokio::spawn(async move {
            retry
                .run_attempts(|attempt| {
                    let (url, barrier, lost_races) = (&url, &barrier, &lost_races);
                    async move {
                        let client = connect(url).await?;
                        Executor::batch_execute(&client, "BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
                        let n: i32 = client.one("SELECT n FROM counter", &[]).await?;
                        if attempt.number == 1 {
                            // All have read the same before any writes.
                            barrier.wait().await;
                        } else {
                            assert_eq!(attempt.action, Some(Action::RetryTransaction));
                            lost_races.fetch_add(1, Ordering::Relaxed);
                        }
                        client.fetch("UPDATE counter SET n = $1", &[&(n + 1)]).await?;
                        Executor::batch_execute(&client, "COMMIT").await
                    }
                })
                .await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic").expect("it commits in the end");
    }
    assert_eq!(setup.one::<i32>("SELECT n FROM counter", &[]).await.expect("a row"), WRITERS as i32);
    assert!(lost_races.load(Ordering::Relaxed) >= WRITERS as u32 - 1);
}

/// A write that is cut off at the deadline may have taken effect: its caller is told so, and it is not run again.
#[tokio::test]
async fn a_write_that_is_cut_off_is_in_doubt() {
    let database = database().await;
    let client = client(database.url()).await;
    let attempts = AtomicU32::new(0);
    let error = Retry::new(quick())
        .within(Duration::from_millis(200))
        .run(|| {
            attempts.fetch_add(1, Ordering::Relaxed);
            Executor::execute(&client, "SELECT pg_sleep(60)", &[])
        })
        .await
        .expect_err("cut off");
    assert_eq!((error.outcome(), attempts.load(Ordering::Relaxed)), (Outcome::Unknown, 1));
}
