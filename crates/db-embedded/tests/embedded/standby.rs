//! A server that begins as a copy of another and follows it.

use std::time::Duration;

use db_embedded::{Server, Shutdown};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use crate::support::{Place, ask, connect};

/// Waits until a query gives an answer.
async fn says(server: &Server, query: &str, answer: &str) {
    let start = Instant::now();
    while ask(server, query).await != answer {
        assert!(start.elapsed() < Duration::from_secs(20), "not {answer}: {query}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_standby_follows_its_leader_and_keeps_its_folder() {
    let (leading, following) = (Place::new(), Place::new());
    let settings = leading.settings().user("owner").database("app");
    let leader = Server::start(settings).await.unwrap();
    let settings = following.settings().standby_of(&leader, "standby-1");
    let standby = Server::start(settings.clone()).await.unwrap();
    assert_eq!(standby.password().expose_secret(), leader.password().expose_secret());
    assert_eq!(ask(&standby, "SELECT current_user || ' ' || current_database()").await, "owner app");
    assert_eq!(ask(&standby, "SELECT pg_is_in_recovery()").await, "t");
    says(&leader, "SELECT application_name || ' ' || state FROM pg_stat_replication", "standby-1 streaming")
        .await;

    let sql = "CREATE TABLE t AS SELECT 7 AS n";
    connect(&leader).await.unwrap().batch_execute(sql).await.unwrap();
    says(&standby, "SELECT count(*) FROM pg_class WHERE relname = 't'", "1").await;
    let port = standby.port();
    standby.stop().await.unwrap();
    // What stands there is opened, and not copied again.
    connect(&leader).await.unwrap().batch_execute("UPDATE t SET n = 8").await.unwrap();
    let standby = Server::start(settings).await.unwrap();
    assert_eq!(standby.port(), port);
    says(&standby, "SELECT n FROM t", "8").await;
    standby.stop().await.unwrap();
    leader.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_throws_its_database_away_and_follows_another() {
    let (leading, following) = (Place::new(), Place::new());
    let mut leader = leading.start().await;
    let mut other = following.start().await;
    connect(&other).await.unwrap().batch_execute("CREATE TABLE lost ()").await.unwrap();
    let port = other.port();

    leader.halt(Shutdown::Fast).await.unwrap();
    let error = other.follow(&leader, "other").await.unwrap_err();
    assert!(error.to_string().contains("pg_basebackup ended with"), "{error}");
    other.resume().await.unwrap();
    assert_eq!(ask(&other, "SELECT count(*) FROM pg_class WHERE relname = 'lost'").await, "1", "it is kept");

    leader.resume().await.unwrap();
    other.follow(&leader, "other").await.unwrap();
    assert_eq!(other.port(), port);
    assert_eq!(ask(&other, "SELECT count(*) FROM pg_class WHERE relname = 'lost'").await, "0");
    says(&leader, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'", "other")
        .await;
    assert_eq!(following.unfinished(), 0);
    other.stop().await.unwrap();
    leader.stop().await.unwrap();
}
