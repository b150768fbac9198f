//! The whole layer with replicas, as a service has it.

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database, Preference};
use db_core::{Executor as _, Query as _};
use db_testkit::TestCluster;

use crate::cluster::scene::{NAME, servers};
use crate::support::eventually;

const IDLE: Duration = Duration::from_secs(5);

async fn open(servers: &TestCluster, replicas: &[&str]) -> Database {
    let layers = Layers::default()
        .with_environment("DATABASE_URL", servers.node(0).url())
        .with_environment("DATABASE_REPLICA_URL", &replicas.join(" "))
        .with_environment("DB_HEALTH_INTERVAL_MS", "100");
    Database::open(Config::load(&layers).expect("a configuration")).await.expect("a database")
}

/// A6: reads go to the replicas, writes to the primary; what was written is read with its token.
#[tokio::test]
async fn reads_go_to_replicas_and_see_what_their_token_says() {
    let servers = servers(2).await;
    let db = open(&servers, &[servers.node(1).url(), servers.node(2).url()]).await;
    let names: Vec<String> = {
        let mut names = Vec::new();
        for _ in 0..80 {
            names.push(db.reads().one(NAME, &[]).await.expect("a read"));
        }
        names
    };
    assert!(names.iter().all(|name| name != "node-0") && names.contains(&"node-1".to_owned()), "{names:?}");
    assert_eq!(
        db.one::<String>(NAME, &[]).await.expect("a statement"),
        "node-0",
        "of which nothing is known"
    );
    assert_eq!(db.primary().one::<String>(NAME, &[]).await.expect("a write"), "node-0");
    let primary = db.reads().preference(Preference::Primary).within(IDLE);
    assert_eq!(primary.one::<String>(NAME, &[]).await.expect("a read"), "node-0");

    // Each replica has lanes of its own, and whoever wants none of them has none.
    let on_lanes = || db.pools().iter().skip(1).map(|pool| pool.lanes.statements).collect::<Vec<_>>();
    assert!(on_lanes().len() == 2 && on_lanes().iter().sum::<u64>() > 0, "{:?}", on_lanes());
    let before = on_lanes();
    for _ in 0..20 {
        db.reads().exclusive().one::<String>(NAME, &[]).await.expect("a read");
    }
    assert_eq!(on_lanes(), before);

    servers.lag(1, IDLE * 6).await.expect("late");
    servers.lag(2, IDLE * 6).await.expect("late");
    db.execute("INSERT INTO numbers VALUES (1)", &[]).await.expect("a write");
    let token = db.write_token().await.expect("a token").to_string();
    let count = "SELECT count(*) FROM numbers";
    assert_eq!(db.reads().one::<i64>(count, &[]).await.expect("a read"), 0, "late");
    let after = db.reads().after(token.parse().expect("a token"));
    assert_eq!(after.one::<i64>(count, &[]).await.expect("a read"), 1);
    assert_eq!(db.servers().len(), 3);
    db.close(IDLE).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// A6, B6: a replica that is not there keeps nobody from starting or reading, is degraded, and serves as soon as it comes.
#[tokio::test]
async fn a_replica_may_be_down_when_the_service_starts() {
    let mut servers = servers(1).await;
    servers.halt(1).await.expect("halted");
    let db = open(&servers, &[servers.node(1).url()]).await;
    assert_eq!(db.reads().one::<String>(NAME, &[]).await.expect("a read"), "node-0");
    eventually("it is degraded", async || {
        let health = db.health();
        let replicas = health.components.iter().find(|component| component.name == "replicas");
        replicas.is_some_and(|replicas| replicas.reason == Some("unreachable"))
    })
    .await;
    assert!(db.is_healthy(), "the primary serves");
    servers.resume(1).await.expect("there");
    eventually("it takes reads", async || {
        db.reads().one::<String>(NAME, &[]).await.expect("a read") == "node-1"
    })
    .await;
    servers.halt_at_once(1).await.expect("killed");
    let name: String = db.reads().within(IDLE).one(NAME, &[]).await.expect("a read");
    assert_eq!(name, "node-0");
    db.close(IDLE).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// Without replicas nothing is different, and what is asked of them is given anyhow.
#[tokio::test]
async fn without_replicas_everything_goes_to_the_one_server() {
    let servers = servers(0).await;
    let db = open(&servers, &[]).await;
    let token = db.write_token().await.expect("a token");
    let read = db.reads().after(token).preference(Preference::ReplicaOnly).no_staler_than(Duration::ZERO);
    assert_eq!(read.one::<String>(NAME, &[]).await.expect("a read"), "node-0");
    assert!(db.servers().is_empty());
    db.close(IDLE).await.expect("closed");
    servers.stop().await.expect("stopped");
}
