//! What cannot be a cluster is said, and never silently used.

use std::sync::Arc;
use std::time::Duration;

use db_cluster::{Cluster, Settings, UnknownEndpoint};
use db_core::{Observer, Query as _};
use db_pool::Pool;
use db_testkit::Backend;

use crate::cluster::scene::{Heard, NAME, patient, pool, servers};
use crate::support::backend;

async fn refused(builder: db_cluster::Builder<Pool>) -> String {
    builder.start().await.expect_err("no cluster").to_string()
}

/// Replicas that are none, servers of another cluster.
#[tokio::test]
async fn a_server_of_another_cluster_and_one_that_is_named_twice_take_nothing() {
    let (servers, foreign) = (servers(1).await, servers(1).await);
    let heard = Arc::new(Heard::default());
    let observer: Arc<dyn Observer> = Arc::clone(&heard) as _;
    let cluster = Cluster::builder()
        .endpoint("primary", pool(servers.node(0).url(), 4).await)
        .endpoint("the same again", pool(servers.node(0).url(), 4).await)
        .endpoint("replica", pool(servers.node(1).url(), 4).await)
        .endpoint("foreign primary", pool(foreign.node(0).url(), 4).await)
        .endpoint("foreign replica", pool(foreign.node(1).url(), 4).await)
        .settings(patient(|_| {}))
        .observer(observer)
        .start()
        .await
        .expect("a cluster");
    let standings: Vec<String> =
        cluster.stats().iter().map(|stats| format!("{}: {}", stats.name, stats.standing)).collect();
    assert_eq!(
        standings,
        [
            "primary: primary",
            "the same again: out (same_server)",
            "replica: replica",
            "foreign primary: out (other_cluster)",
            "foreign replica: out (other_cluster)"
        ]
    );
    assert!(heard.has("foreign replica: unknown → out (other_cluster)"));
    assert!(heard.has("the same again: unknown → out (same_server)"));
    for _ in 0..50 {
        let primary = cluster.primary().await.expect("the primary");
        assert_eq!(primary.endpoint(), "primary");
        let name: String = cluster.read().one(NAME, &[]).await.expect("a read");
        assert_eq!(name, "node-1");
    }
    let json = serde_json::to_value(cluster.stats()).expect("JSON");
    assert_eq!((&json[1]["state"], &json[1]["reason"]), (&"out".into(), &"same_server".into()));
    assert_eq!((&json[2]["state"], &json[2]["lag"]["bytes"]), (&"replica".into(), &0.into()));
    drop(cluster);
    servers.stop().await.expect("stopped");
    foreign.stop().await.expect("stopped");
}

/// Errors name what is wrong, and where.
#[tokio::test]
async fn what_is_no_cluster_is_an_error_that_says_so() {
    let mut servers = servers(0).await;
    let url = servers.node(0).url().to_owned();
    assert_eq!(refused(Cluster::builder()).await, "a cluster without endpoints");
    let one = pool(&url, 1).await;
    let twice = Cluster::builder().endpoint("a", one.clone()).endpoint("a", one.clone());
    assert_eq!(refused(twice).await, "two endpoints are named a");
    let mut settings = Settings::default();
    settings.max_lag = Duration::ZERO;
    let text = refused(Cluster::builder().endpoint("a", one.clone()).settings(settings)).await;
    assert_eq!(text, "invalid settings of a cluster: max_lag is zero");

    let cluster = Cluster::builder().endpoint("a", one.clone()).start().await.expect("a cluster");
    let error = cluster.drain("b").expect_err("no such endpoint");
    assert_eq!(error, UnknownEndpoint { name: "b".to_owned(), known: "a".to_owned() });
    assert!(cluster.pool("a").is_some() && cluster.pool("b").is_none());
    drop(cluster);

    servers.halt(0).await.expect("halted");
    let text = refused(Cluster::builder().endpoint("a", one).settings(patient(|_| {}))).await;
    assert!(text.starts_with("no endpoint of the cluster answers (a): a: "), "{text}");
    // A port of this machine refuses; nobody answers for a container that is gone.
    if matches!(backend(), Backend::Docker(_)) {
        let reasons = ["No route to host", "no further connection could be opened in time"];
        assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
    } else {
        assert!(text.contains("could not connect to ") && text.contains("Connection refused"), "{text}");
    }
    servers.stop().await.expect("stopped");
}

/// Without a primary reads go on, and whoever wants to write is told what there is.
#[tokio::test]
async fn a_cluster_may_begin_with_a_replica_alone() {
    let servers = servers(1).await;
    let cluster = Cluster::builder()
        .endpoint("replica", pool(servers.node(1).url(), 4).await)
        .settings(patient(|settings| settings.patience = Duration::from_millis(300)))
        .start()
        .await
        .expect("a cluster");
    let name: String = cluster.read().one(NAME, &[]).await.expect("a read");
    assert_eq!(name, "node-1");
    let error = cluster.primary().await.expect_err("no primary");
    assert_eq!(error.to_string(), "no primary: replica replica");
    drop(cluster);
    servers.stop().await.expect("stopped");
}
