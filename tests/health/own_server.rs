//! A server that changes under the probes: promoted, made read-only, stopped, frozen, with a transaction prepared on it.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Probe, Status};
use db_health::{Check, ConnectionProbe, Monitor, OwnConnection, RoleProbe, TransactionsProbe};
use db_testkit::TestCluster;

use super::look;
use crate::support::{backend, client, eventually, own_server};

/// B8: a standby is none that takes writes, until it is promoted.
#[tokio::test]
async fn roles_change_with_a_promotion() {
    let mut cluster = TestCluster::start(&backend(), 1).await.expect("a cluster");
    let own = Arc::new(OwnConnection::new(cluster.node(1).config()));
    let (primary, standby) = (RoleProbe::primary("role", own.clone()), RoleProbe::standby("role", own));
    assert_eq!(look(&primary, "role").await, (Some("not_primary"), "standby".into()));
    assert_eq!(look(&standby, "role").await, (None, "standby".into()));
    cluster.halt(0).await.expect("halt");
    cluster.promote(1).await.expect("promoted");
    assert_eq!(look(&primary, "role").await, (None, "primary".into()));
    assert_eq!(look(&standby, "role").await, (Some("not_standby"), "primary".into()));
    cluster.stop().await.expect("stopped");
}

/// What is set for the whole server counts at once, on the connection that was there before.
#[tokio::test]
async fn a_server_that_turns_read_only_is_noticed() {
    let server = own_server().await;
    let probe =
        RoleProbe::primary("role", Arc::new(OwnConnection::new(server.url().parse().expect("a URL"))));
    assert_eq!(look(&probe, "read_only").await, (None, false.into()));
    let admin = client(server.url()).await;
    admin.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.expect("set");
    admin.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
    eventually("read-only", async || look(&probe, "read_only").await == (Some("read_only"), true.into()))
        .await;
}

/// A transaction that was prepared and forgotten has no session.
#[tokio::test]
async fn a_prepared_transaction_is_found() {
    let mut server = own_server().await;
    let admin = client(server.url()).await;
    admin.batch_execute("ALTER SYSTEM SET max_prepared_transactions = 2").await.expect("set");
    server.halt().await.expect("halt");
    server.resume().await.expect("resume");
    let session = client(server.url()).await;
    let prepare = "CREATE TABLE t (n int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'forgotten'";
    for statement in prepare.split("; ") {
        session.batch_execute(statement).await.expect(statement);
    }
    drop(session);
    let own = Arc::new(OwnConnection::new(server.url().parse().expect("a URL")));
    let probe = TransactionsProbe::new("transactions", own).limit(Duration::from_millis(50));
    eventually("it is too old", async || {
        probe.check().await.expect("a look").reason == Some("prepared_transaction")
    })
    .await;
}

/// B8: a server that is stopped, and one that accepts and says nothing, are unhealthy within three intervals and the time limit;
/// a listener learns of it, and of the end of it.
#[tokio::test]
async fn a_server_that_stops_and_one_that_freezes() {
    let mut server = own_server().await;
    let (interval, limit) = (Duration::from_millis(100), Duration::from_secs(1));
    let target = server.url().parse().expect("a URL");
    let check = Check::new(ConnectionProbe::new("postgres", target)).interval(interval).timeout(limit);
    let monitor = Monitor::start(vec![check]);
    monitor.first_looks().await;
    assert!(monitor.snapshot().is_started() && monitor.snapshot().is_ready());
    let mut changes = monitor.changes();
    let patience = Duration::from_secs(20);
    let mut next = async || {
        let change =
            tokio::time::timeout(patience, changes.next()).await.expect("in time").expect("a change");
        let whole = changes.next().await.expect("the whole follows");
        assert_eq!((whole.component, whole.to), (None, change.to));
        (change.to, change.reason)
    };

    server.halt().await.expect("halt");
    let (to, reason) = next().await;
    assert_eq!((to, monitor.snapshot().is_ready()), (Status::Unhealthy, false));
    assert!(["unreachable", "not_accepting"].contains(&reason.expect("a word")), "{reason:?}");
    server.resume().await.expect("resume");
    assert_eq!(next().await, (Status::Healthy, None));

    server.freeze().await.expect("freeze");
    assert_eq!(next().await, (Status::Unhealthy, Some("timeout")));
    server.thaw().await.expect("thaw");
    assert_eq!(next().await, (Status::Healthy, None));
    assert!(monitor.snapshot().is_started());
}
