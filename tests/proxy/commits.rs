//! Lost COMMITs and lost acknowledgements: nothing was committed, everything was, and the client cannot tell.

use std::time::Duration;

use db_testkit::{End, Fault, Refusal};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::{Scene, soon};

/// The ways in which clients commit.
#[derive(Clone, Copy, Debug)]
enum Way {
    Query,
    Batch,
    Prepared,
}

const WAYS: [Way; 3] = [Way::Query, Way::Batch, Way::Prepared];

/// Inserts one row in a transaction.
async fn insert(client: &Client, way: Way) -> Result<(), tokio_postgres::Error> {
    match way {
        Way::Query => {
            client.batch_execute("BEGIN").await?;
            client.execute("INSERT INTO t VALUES (1)", &[]).await?;
            client.batch_execute("COMMIT").await
        }
        Way::Batch => client.batch_execute("BEGIN; INSERT INTO t VALUES (1); commit;").await,
        Way::Prepared => {
            client.batch_execute("BEGIN").await?;
            client.execute("INSERT INTO t VALUES (1)", &[]).await?;
            client.execute("COMMIT", &[]).await.map(drop)
        }
    }
}

/// A COMMIT that is lost undoes its transaction, however it is sent.
#[tokio::test]
async fn a_lost_commit_never_reaches_the_server() {
    let scene = Scene::new().await;
    for (end, way) in [End::Reset, End::Close].into_iter().flat_map(|end| WAYS.map(|way| (end, way))) {
        let client = scene.client().await;
        let lost = scene.proxy.inject(Fault::lost_commit().nth(1).end(end));
        let error = soon(insert(&client, way)).await.expect_err("cut");
        assert!(error.is_closed() || error.as_db_error().is_none(), "{way:?}, {end:?}: {error}");
        soon(lost.wait(1)).await;
        scene.settled().await;
        assert_eq!((scene.rows().await, lost.fired()), (0, 1), "{way:?}, {end:?}");
    }
    assert_eq!(scene.proxy.counts().acknowledged, 0);
}

/// An acknowledgement that is lost leaves its transaction committed, and the client sees the same as with a lost COMMIT.
#[tokio::test]
async fn a_lost_acknowledgement_comes_after_the_commit() {
    let scene = Scene::new().await;
    let mut rows = 0;
    for (end, way) in [End::Reset, End::Close].into_iter().flat_map(|end| WAYS.map(|way| (end, way))) {
        let client = scene.client().await;
        let lost = scene.proxy.inject(Fault::lost_acknowledgement().nth(1).end(end));
        let error = soon(insert(&client, way)).await.expect_err("cut");
        assert!(error.as_db_error().is_none(), "{way:?}, {end:?}: {error}");
        rows += 1;
        // At once: it was committed before the connection ended.
        assert_eq!((scene.rows().await, lost.fired()), (rows, 1), "{way:?}, {end:?}");
    }
    assert_eq!(scene.proxy.counts().acknowledged, 6);
}

/// Neither side is told of a silent end; when the client gives up, the session goes.
#[tokio::test]
async fn a_silent_end_leaves_the_client_waiting() {
    let scene = Scene::new().await;
    for (fault, rows) in [(Fault::lost_commit(), 0), (Fault::lost_acknowledgement(), 1)] {
        let (client, socket) = scene.client_and_socket().await;
        let lost = scene.proxy.inject(fault.nth(1).end(End::Silence));
        let waiting = tokio::spawn(async move { insert(&client, Way::Query).await });
        soon(lost.wait(1)).await;
        scene.proxy.heal();
        assert_eq!(scene.proxy.counts().connections, 1);
        assert_eq!(scene.rows().await, rows);
        // Another one is served meanwhile, and the first still waits.
        soon(scene.client().await.batch_execute("SELECT 1")).await.expect("another");
        assert!(!waiting.is_finished());
        socket.abort();
        soon(waiting).await.expect("no panic").expect_err("given up");
        soon(scene.proxy.until(|counts| counts.connections == 0)).await;
        scene.settled().await;
        assert_eq!(scene.rows().await, rows);
    }
}

/// Every COMMIT, the nth, and each with a probability that a seed repeats.
#[tokio::test]
async fn the_chosen_commits_are_lost() {
    let scene = Scene::new().await;
    let lost_of = async |fault: Fault| {
        let injected = scene.proxy.inject(fault);
        let mut lost = Vec::new();
        for turn in 1..=10 {
            let client = scene.client().await;
            if soon(insert(&client, Way::Query)).await.is_err() {
                lost.push(turn);
            }
        }
        assert_eq!(injected.fired(), lost.len() as u64);
        injected.withdraw();
        lost
    };
    assert_eq!(lost_of(Fault::lost_commit().nth(3)).await, [3]);
    assert_eq!(lost_of(Fault::lost_acknowledgement().nth(10)).await, [10]);
    assert_eq!(lost_of(Fault::lost_commit()).await.len(), 10);
    let some = lost_of(Fault::lost_commit().sometimes(0.5, 7)).await;
    assert!((1..10).contains(&some.len()), "{some:?}");
    assert_eq!(lost_of(Fault::lost_commit().sometimes(0.5, 7)).await, some);
    let client = scene.client().await;
    soon(insert(&client, Way::Query)).await.expect("all were withdrawn");
}

/// A COMMIT of a failed transaction is answered by ROLLBACK, which is no acknowledgement.
#[tokio::test]
async fn an_answer_of_rollback_is_passed_on() {
    let scene = Scene::new().await;
    let lost = scene.proxy.inject(Fault::lost_acknowledgement());
    let client = scene.client().await;
    client.batch_execute("BEGIN; SELECT 1/0").await.expect_err("failed");
    soon(client.batch_execute("COMMIT")).await.expect("the server has answered");
    assert_eq!((lost.fired(), scene.proxy.counts().commits), (0, 1));
}

/// What nothing strikes passes as it came: long answers, long requests, COPY, errors, cancel requests.
#[tokio::test]
async fn what_is_not_struck_passes_unchanged() {
    let scene = Scene::new().await;
    let _others = scene.proxy.inject(Fault::lost_commit().nth(1000));
    let client = scene.client().await;
    let long = "é".repeat(3 << 20);
    let echo = soon(client.query_one("SELECT $1::text", &[&long])).await.expect("a long parameter");
    assert_eq!(echo.get::<_, String>(0), long);
    let text = format!("SELECT length('{long}')");
    let length = soon(client.query_one(&text, &[])).await.expect("a long text");
    assert_eq!(length.get::<_, i32>(0), 3 << 20);
    let rows = soon(client.query("SELECT n FROM generate_series(1, 50000) n", &[])).await.expect("many rows");
    assert_eq!((rows.len(), rows[49_999].get::<_, i32>(0)), (50_000, 50_000));
    // Messages are still told apart after all that. A COMMIT without a transaction is answered like any other.
    soon(client.batch_execute("COMMIT")).await.expect("a warning");
    let counts = scene.proxy.counts();
    assert_eq!((counts.commits, counts.acknowledged), (1, 1));
    let error = soon(client.batch_execute("SELECT 1/0")).await.expect_err("the server's error");
    assert_eq!(error.code().map(|code| code.code()), Some("22012"));

    let token = client.cancel_token();
    let sleeping = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60)").await });
    let runs = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let runs = async || scene.aside.query_one(runs, &[]).await.expect("look").get::<_, i64>(0) == 1;
    crate::support::eventually("it runs", runs).await;
    soon(token.cancel_query(tokio_postgres::NoTls)).await.expect("cancel");
    let error = soon(sleeping).await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
}

/// With 50 clients at once, exactly those rows are there whose COMMIT arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counts_are_exact_under_load() {
    let scene = std::sync::Arc::new(Scene::new().await);
    let commits = scene.proxy.inject(Fault::lost_commit().sometimes(0.1, 1));
    let acknowledgements = scene.proxy.inject(Fault::lost_acknowledgement().sometimes(0.1, 2));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let scene = std::sync::Arc::clone(&scene);
            tokio::spawn(async move {
                let (mut client, mut failed) = (scene.client().await, 0);
                for _ in 0..20 {
                    if insert(&client, Way::Query).await.is_err() {
                        failed += 1;
                        client = scene.client().await;
                    }
                }
                failed
            })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += timeout(Duration::from_secs(60), task).await.expect("in time").expect("no panic");
    }
    scene.settled().await;
    let counts = scene.proxy.counts();
    assert_eq!(counts.commits, 1000);
    assert_eq!(counts.fired, failed);
    assert_eq!(commits.fired() + acknowledgements.fired(), failed);
    assert!(commits.fired() > 50 && acknowledgements.fired() > 50, "{counts:?}");
    assert_eq!(counts.acknowledged, 1000 - commits.fired());
    assert_eq!(u64::try_from(scene.rows().await).expect("positive"), counts.acknowledged);
}

/// A proxy that is dropped leaves neither connections nor its port.
#[tokio::test]
async fn dropping_it_ends_everything() {
    let scene = Scene::new().await;
    let client = scene.client().await;
    scene.proxy.refuse(Refusal::Silence);
    let address = scene.proxy.address();
    let _unanswered = tokio::net::TcpStream::connect(address).await.expect("accepted");
    soon(scene.proxy.until(|counts| counts.connections == 2)).await;
    let Scene { database, aside, proxy } = scene;
    drop(proxy);
    soon(async {
        while !client.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await;
    let refused = async || tokio::net::TcpStream::connect(address).await.is_err();
    crate::support::eventually("the port is free", refused).await;
    drop((database, aside));
}
