//! Transactions that stay open, as a probe sees them that may look at all sessions, and as one that may not.

use std::time::Duration;

use db_core::{Executor, Probe, Query};
use db_health::{OwnConnection, TransactionsProbe};
use serde_json::Value;

use super::{look, own, run};
use crate::support::{client, database, eventually};

/// D3: the oldest transaction and the idle one, against their limits; committed it is over.
#[tokio::test]
async fn an_open_transaction_is_found_and_forgotten() {
    let database = database().await;
    let own = own(&database);
    let probe = TransactionsProbe::new("transactions", own.clone());
    assert_eq!(look(&probe, "oldest_pid").await, (None, Value::Null));

    let session = client(database.url()).await;
    session.batch_execute("BEGIN; SELECT 1").await.expect("begin");
    let pid: i32 = Query::one(&session, "SELECT pg_backend_pid()", &[]).await.expect("a pid");
    let short = Duration::from_millis(50);
    let strict = TransactionsProbe::new("transactions", own.clone()).limit(short);
    eventually("it is too old", async || strict.check().await.expect("a look").reason.is_some()).await;
    assert_eq!(look(&strict, "oldest_pid").await, (Some("long_transaction"), pid.into()));
    let strict = TransactionsProbe::new("transactions", own).idle_limit(short);
    assert_eq!(look(&strict, "oldest_pid").await, (Some("idle_in_transaction"), pid.into()));
    // With the default limits nobody minds.
    assert_eq!(look(&probe, "oldest_pid").await, (None, pid.into()));

    session.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(look(&strict, "oldest_pid").await, (None, Value::Null));
}

/// D10: without the privilege the sessions of others are counted as hidden and not judged; with it they are.
#[tokio::test]
async fn sessions_of_others_need_the_privilege() {
    let database = database().await;
    let role = format!("watcher_of_{}", database.name());
    let admin = client(database.url()).await;
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.expect("a role");
    let session = client(database.url()).await;
    session.batch_execute("BEGIN; SELECT 1").await.expect("begin");

    // As the role, whatever the server asks for to let it in.
    let own = own(&database);
    run(&*own, &format!("SET ROLE {role}")).await;
    let probe = TransactionsProbe::new("transactions", own.clone()).limit(Duration::ZERO);
    let found = probe.check().await.expect("a look");
    // The two sessions of this test; there may be a third one that its database was made by.
    assert!(found.details["hidden"].as_i64() >= Some(2), "{found:?}");
    assert_eq!((found.reason, &found.details["oldest_pid"]), (None, &Value::Null));

    admin.batch_execute(&format!("GRANT pg_read_all_stats TO {role}")).await.expect("grant");
    assert_eq!(look(&probe, "hidden").await, (Some("long_transaction"), 0.into()));
    run(&*own, "RESET ROLE").await;
    admin.batch_execute(&format!("DROP ROLE {role}")).await.expect("drop");
}

/// A look that is given up on a server that answers nothing takes its connection with it, whoever shares that.
#[tokio::test]
async fn a_given_up_look_costs_the_connection_and_the_next_opens_another() {
    let database = database().await;
    let proxy = db_testkit::Proxy::to(&database).await.expect("a proxy");
    let own = OwnConnection::new(proxy.config());
    let pid = async || own.one::<i32>("SELECT pg_backend_pid()", &[]).await.expect("a pid");
    let first = pid().await;
    assert_eq!(pid().await, first, "it is kept");
    let (a, b) = tokio::join!(pid(), pid());
    assert_eq!((a, b), (first, first), "and shared");

    proxy.stall();
    let limit = Duration::from_millis(100);
    tokio::time::timeout(limit, own.fetch("SELECT 1", &[])).await.expect_err("no answer");
    proxy.heal();
    assert_ne!(pid().await, first);

    // One that the server ended is opened again as well.
    let second = pid().await;
    let admin = client(database.url()).await;
    admin.execute("SELECT pg_terminate_backend($1)", &[&second]).await.expect("ended");
    eventually("it is back", async || own.fetch("SELECT 1", &[]).await.is_ok()).await;
    assert_ne!(pid().await, second);
}

/// However many looks begin on a connection that is not there, one is opened.
#[tokio::test]
async fn connecting_is_done_once() {
    let database = database().await;
    let proxy = db_testkit::Proxy::to(&database).await.expect("a proxy");
    let own = OwnConnection::new(proxy.config());
    let looks = (0..20).map(|_| own.fetch("SELECT 1", &[]));
    for look in futures_util::future::join_all(looks).await {
        look.expect("an answer");
    }
    assert_eq!(proxy.counts().accepted, 1);
}
