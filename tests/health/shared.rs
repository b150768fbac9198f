//! The probes that a shared server answers: ids, disk, and what a monitor makes of errors.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Executor, Probe, Query, Status};
use db_health::{Check, DiskProbe, ExecutorProbe, Monitor, RoleProbe, WraparoundProbe, view};

use super::{look, own, run};
use crate::support::database;

/// D3: ages are read from the whole cluster and judged by the limit.
#[tokio::test]
async fn ages_of_ids() {
    let database = database().await;
    let own = own(&database);
    // Ids move on, so that there is an age to see.
    for _ in 0..3 {
        run(&*own, "SELECT txid_current()").await;
    }
    let probe = WraparoundProbe::new("wraparound", own.clone());
    let found = probe.check().await.expect("a look");
    assert_eq!(found.status, Status::Healthy, "{found:?}");
    let age: i64 =
        own.one("SELECT max(age(datfrozenxid))::int8 FROM pg_database", &[]).await.expect("an age");
    let seen = found.details["transaction_age"].as_i64().expect("an age");
    assert!((3..=age).contains(&seen), "{seen} of {age}");
    assert!(found.details["left"].as_i64() > Some(2_000_000_000), "{found:?}");

    let strict = WraparoundProbe::new("wraparound", own).limit(1);
    assert_eq!(strict.check().await.expect("a look").reason, Some("wraparound"));
}

/// A file is really written, and the setting that makes the server do so ends with the look.
#[tokio::test]
async fn the_disk_is_written_to() {
    let database = database().await;
    let own = own(&database);
    let probe = DiskProbe::new("disk", own.clone());
    let memory = async || own.one::<String>("SHOW work_mem", &[]).await.expect("a setting");
    let before = memory().await;
    assert_eq!(probe.check().await.expect("a look").status, Status::Healthy);
    assert_eq!(memory().await, before);

    run(&*own, "SET temp_file_limit = 0").await;
    let error = probe.check().await.expect_err("it may write no file");
    assert_eq!(error.sqlstate().expect("the server's").as_str(), "53400", "{error}");
    assert_eq!(memory().await, before);
    run(&*own, "RESET temp_file_limit").await;
    probe.check().await.expect("a look");
}

/// What the server says of a write becomes a fixed word; its text stays inside.
#[tokio::test]
async fn a_disk_that_is_full_and_one_that_is_read_only() {
    let database = database().await;
    let own = own(&database);
    run(&*own, "CREATE TABLE heartbeat (at timestamptz); INSERT INTO heartbeat VALUES (now())").await;
    let beat = "UPDATE heartbeat SET at = now()";
    // So rarely that no look is under way when one is asked for.
    let probe = DiskProbe::new("disk", own.clone()).writing(beat);
    let monitor = Monitor::start(vec![Check::new(probe).interval(Duration::from_secs(3_600)).fail_after(1)]);
    monitor.first_looks().await;
    let reason = async || {
        let snapshot = monitor.run_now().await;
        let (plain, told) = (snapshot.components[0].reason, view::ready(&snapshot).to_string());
        assert!(!told.contains("hunter2"), "{told}");
        plain
    };
    assert_eq!(reason().await, None);
    run(&*own, "SET default_transaction_read_only = on").await;
    assert_eq!(reason().await, Some("read_only"));
    run(&*own, "SET default_transaction_read_only = off").await;
    run(
        &*own,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE 'could not extend file \"hunter2\"' USING ERRCODE = 'disk_full'; END $$;
         CREATE TRIGGER t BEFORE UPDATE ON heartbeat EXECUTE FUNCTION full_disk()",
    )
    .await;
    assert_eq!(reason().await, Some("disk_full"));
}

/// B8: the role that is found and the one that is expected.
#[tokio::test]
async fn a_primary_and_one_that_takes_no_writes() {
    let database = database().await;
    let own = own(&database);
    let (primary, standby) =
        (RoleProbe::primary("role", own.clone()), RoleProbe::standby("role", own.clone()));
    assert_eq!(look(&primary, "role").await, (None, "primary".into()));
    assert_eq!(look(&standby, "role").await, (Some("not_standby"), "primary".into()));
    run(&*own, "SET default_transaction_read_only = on").await;
    assert_eq!(look(&primary, "read_only").await, (Some("read_only"), true.into()));
}

/// A wrong question is not a dead server: the word says so, and a stranger learns nothing of it.
#[tokio::test]
async fn what_fails_is_told_from_what_cannot_be_reached() {
    let database = database().await;
    let mut wrong = database.config();
    wrong.dbname("no_such_database");
    let nowhere = Arc::new(db_health::OwnConnection::new(wrong));
    let own = own(&database);
    let monitor = Monitor::start(vec![
        Check::new(ExecutorProbe::new("well", own.clone())),
        Check::new(ExecutorProbe::new("gone", nowhere)),
        Check::new(
            DiskProbe::new("wrong", own as Arc<dyn Executor>).writing("UPDATE secret_table SET a = 1"),
        ),
    ]);
    let snapshot = monitor.run_now().await;
    let reasons: Vec<_> = snapshot.components.iter().map(|component| component.reason).collect();
    assert_eq!(reasons, [None, Some("no_database"), Some("failed")]);
    let (told, inside) = (view::ready(&snapshot), view::terminus(&snapshot, view::Audience::Insider));
    assert!(!told.to_string().contains("secret_table"), "{told}");
    assert!(inside.to_string().contains("secret_table"), "{inside}");
}

/// D11: a thousand questions for the health are not one statement on the server.
#[tokio::test]
async fn questions_cost_the_server_nothing() {
    let database = database().await;
    let proxy = db_testkit::Proxy::to(&database).await.expect("a proxy");
    proxy.record();
    let rarely = Duration::from_secs(3_600);
    let check = Check::new(db_health::ConnectionProbe::new("postgres", proxy.config())).interval(rarely);
    let monitor = Monitor::start(vec![check]);
    monitor.first_looks().await;
    let before = proxy.requests().len();
    assert!(before > 0);
    for _ in 0..1_000 {
        assert!(monitor.snapshot().is_ready());
    }
    assert_eq!(proxy.requests().len(), before);
    monitor.run_now().await;
    assert!(proxy.requests().len() > before, "a look would have been seen");
}
