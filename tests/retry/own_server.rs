//! Faults of the server itself, which each test has for its own. Those that need its processes are in `local.rs`.

use std::time::Duration;

use db_testkit::{TestDatabase, TestServer};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use super::ledger::{Case, Effort, Load, Way, alone};
use crate::support::{client, own_server};

async fn load_on_its_own_server(case: Case) -> (TestServer, TestDatabase, Load) {
    let server = own_server().await;
    let database = server.database().await.expect("a fresh database");
    let load = Load::start(case, database.url(), database.url()).await;
    (server, database, load)
}

/// Stops the server again and again, in one way, and brings it back.
async fn restarts(case: Case, times: u64, halt: impl AsyncFn(&mut TestServer)) {
    let _alone = alone().await;
    let (mut server, _database, mut load) = load_on_its_own_server(case).await;
    let (mut done, effort) = (0, Effort::of(times));
    while effort.wants_more(done) {
        halt(&mut server).await;
        server.resume().await.expect("resume");
        load.flows_again().await;
        load.more(100).await;
        done += 1;
    }
    load.finish(done).await.must_hold();
}

/// D9, E9: the server is restarted in an orderly way, and sessions are told to go.
#[tokio::test]
async fn a_restart() {
    restarts(Case::new("restart"), 3, async |server| server.halt().await.expect("halt")).await;
}

/// D9, E9: the server ends without a word and recovers. What it had committed is there: `fsync` is off, but what a process has
/// written outlives it.
#[tokio::test]
async fn a_restart_at_once() {
    let crash = async |server: &mut TestServer| server.halt_at_once().await.expect("halt");
    restarts(Case::new("immediate restart"), 5, crash).await;
}

/// D9, E9: a batch has its COMMIT on its way from its first moment.
#[tokio::test]
async fn batches_and_a_restart_at_once() {
    let crash = async |server: &mut TestServer| server.halt_at_once().await.expect("halt");
    let case = Case { way: Way::Batch, ..Case::new("immediate restart under batches") };
    restarts(case, 5, crash).await;
}

/// D9: the server falls silent for 5 s, and goes on where it was.
#[tokio::test]
async fn a_frozen_server() {
    let _alone = alone().await;
    let (server, _database, mut load) = load_on_its_own_server(Case::new("frozen for 5 s")).await;
    let (mut done, effort) = (0, Effort::of(1));
    while effort.wants_more(done) {
        server.freeze().await.expect("freeze");
        // The fault is that time passes.
        sleep(Duration::from_secs(5)).await;
        server.thaw().await.expect("thaw");
        load.flows_again().await;
        load.more(100).await;
        done += 1;
    }
    load.finish(done).await.must_hold();
}

const OTHERS: &str =
    "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

/// D9, E5: somebody else takes all the connections that the server has.
#[tokio::test]
async fn no_connection_is_left() {
    let _alone = alone().await;
    let mut server = own_server().await;
    let limit = "ALTER SYSTEM SET max_connections = 40";
    client(server.url()).await.batch_execute(limit).await.expect("set");
    server.halt().await.expect("halt");
    server.resume().await.expect("resume");
    let database = server.database().await.expect("a fresh database");
    let mut load = Load::start(Case::new("no connection left"), database.url(), database.url()).await;

    let (mut done, effort) = (0, Effort::of(3));
    while effort.wants_more(done) {
        let aside = client(server.url()).await;
        let (began, mut hogs) = (Instant::now(), Vec::new());
        // For a while, and until it has more than half of them.
        while began.elapsed() < Duration::from_secs(1) || hogs.len() <= 20 {
            assert!(began.elapsed() < Duration::from_secs(30), "{} connections of 40 were taken", hogs.len());
            // Whose connection is ended must compete for another.
            let end =
                format!("SELECT pg_terminate_backend(pid) {OTHERS} AND datname = '{}'", database.name());
            aside.batch_execute(&end).await.expect("ended");
            while let Some(hog) = hog(server.url()).await {
                hogs.push(hog);
            }
        }
        drop(hogs);
        load.flows_again().await;
        load.more(100).await;
        done += 1;
    }
    load.finish(done).await.must_hold();
}

/// A connection, if the server has one left.
async fn hog(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// D9, A12: the password is changed, and all sessions with the old one are ended.
#[tokio::test]
async fn a_new_password() {
    let _alone = alone().await;
    let server = own_server().await;
    let database = server.database().await.expect("a fresh database");
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("password");
    let admin = client(database.url()).await;
    admin.batch_execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret0'").await.expect("a role");
    std::fs::write(&file, "secret0").expect("the password");

    let place = database.url().split_once('@').expect("user and place").1;
    let mut case = Case::new("new password");
    case.settings = vec![("DB_PASSWORD_FILE", file.display().to_string())];
    let mut load = Load::start(case, &format!("postgres://app@{place}"), database.url()).await;
    let (mut done, effort) = (0, Effort::of(10));
    while effort.wants_more(done) {
        done += 1;
        let password = format!("secret{done}");
        admin.batch_execute(&format!("ALTER ROLE app PASSWORD '{password}'")).await.expect("changed");
        // As a mount is exchanged: never half of it.
        let next = folder.path().join("next");
        std::fs::write(&next, &password).and_then(|()| std::fs::rename(&next, &file)).expect("the password");
        admin.batch_execute(&format!("SELECT pg_terminate_backend(pid) {OTHERS}")).await.expect("ended");
        load.flows_again().await;
        load.more(100).await;
    }
    load.finish(done).await.must_hold();
}
