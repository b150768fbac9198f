//! Migrations through a pooler, which takes the session from under them.

use std::time::Duration;

use db_migrate::{Error, LockKind, Migration, Migrations, Migrator, Settings, State, Steps};
use tokio_postgres::Client;

use super::bouncer::{Bouncer, Mode};
use crate::support;

fn migrator() -> Migrator {
    let migrations = [("001_a", "CREATE TABLE a ()"), ("002_b", "CREATE TABLE b (); SELECT count(*) FROM a")]
        .map(|(stem, up)| Migration::new(stem, up, None).expect(stem));
    Migrator::new(Migrations::new(migrations).expect("migrations"))
}

async fn states(migrator: &Migrator, client: &Client) -> Vec<State> {
    let status = migrator.status(client).await.expect("status");
    status.migrations.iter().map(|migration| migration.state).collect()
}

/// Everybody else's transactions, which make the pooler lend us now this session and now that one.
async fn bustle(bouncer: &Bouncer) -> tokio::task::JoinSet<()> {
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let client = bouncer.client().await;
        others.spawn(async move {
            while client.batch_execute("BEGIN; SELECT pg_sleep(0.003); COMMIT").await.is_ok() {}
        });
    }
    others
}

#[tokio::test]
async fn a_lock_that_the_pooler_took_away_is_an_error_and_nothing_is_half_done() {
    let database = support::database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let others = bustle(&bouncer).await;
    let client = bouncer.client().await;
    // Chance may lend us the same session a few times; then nothing is wrong with the run.
    let mut lost = None;
    for _ in 0..200 {
        match migrator().up(&client, Steps::All).await {
            Err(Error::LockLost { before, after }) => {
                lost = Some((before, after));
                break;
            }
            Err(Error::Locked { .. }) | Ok(_) => {}
            Err(error) => panic!("{error:?}"),
        }
        client
            .batch_execute("DROP TABLE IF EXISTS a, b, schema_migrations, schema_migrations_log")
            .await
            .expect("again");
    }
    let (before, after) = lost.expect("the sessions differ sooner or later");
    assert_ne!(before, after);
    drop(others);
    let direct = support::client(database.url()).await;
    let states = states(&migrator(), &direct).await;
    assert!(
        states.iter().all(|state| matches!(state, State::Completed | State::Pending | State::Failed)),
        "{states:?}"
    );
    let settings = Settings { lock_wait: Duration::from_secs(5), ..Settings::default() };
    drop(client);
    drop(bouncer);
    migrator().settings(settings).up(&direct, Steps::All).await.expect("directly, and the lock is free");
}

#[tokio::test]
async fn a_lease_works_behind_a_pooler() {
    let database = support::database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let _others = bustle(&bouncer).await;
    let settings = Settings { lock: LockKind::Lease { ttl: Duration::from_secs(30) }, ..Settings::default() };
    let leased = migrator().settings(settings);
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (client, leased) = (bouncer.client().await, leased.clone());
        runs.spawn(async move { leased.up(&client, Steps::All).await.expect("ends well").done.len() });
    }
    let mut done = runs.join_all().await;
    done.sort_unstable();
    assert_eq!(done, [0, 0, 0, 2]);
    assert_eq!(states(&leased, &bouncer.client().await).await, [State::Completed; 2]);
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_like_none() {
    let database = support::database().await;
    let bouncer = Bouncer::before(&database, Mode::Session).await;
    let client = bouncer.client().await;
    assert_eq!(migrator().up(&client, Steps::All).await.expect("up").done.len(), 2);
}
