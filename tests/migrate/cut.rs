//! The connection cut at every message of a run and in the middle of some, in both directions, while the runner lives on: what
//! it says, what it leaves, and what the next run makes of that.

use std::sync::Arc;

use db_testkit::{Direction, End, Fault, Injected};

use super::killed::{Files, Line, Next, Order, PATIENCE, Scene, all, finish, named};
use super::*;

async fn run(scene: &Scene, order: Order) -> Result<(), Error> {
    let connected = connect(scene.proxy.config()).await;
    let client = connected.map_err(|source| Error::Database { doing: "connect".to_owned(), source })?;
    let migrator = scene.files.migrator();
    let run = async {
        match order {
            Order::Up => migrator.up(&client, Steps::All).await,
            Order::Down => migrator.down(&client, 2).await,
        }
    };
    tokio::time::timeout(PATIENCE, run).await.expect("it ends").map(drop)
}

/// A scene and what was injected there, after the run.
async fn cut(order: Order, files: &Arc<Files>, fault: Fault) -> (Scene, Injected, Result<(), Error>) {
    let scene = Scene::before(order, files).await;
    let struck = scene.proxy.inject(fault);
    let result = run(&scene, order).await;
    scene.settled().await;
    (scene, struck, result)
}

async fn cut_at_message(
    order: Order,
    files: Arc<Files>,
    fault: Fault,
    place: String,
    is_commit: bool,
) -> Line {
    let (scene, struck, result) = cut(order, &files, fault).await;
    assert_eq!(struck.fired(), 1, "{place}");
    let text = full_text(&result.expect_err(&place));
    let says_so = text.contains("so ask for the status before anything else");
    assert_eq!(says_so, is_commit, "{place}");
    finish(&scene, order, place, Next::Library).await
}

async fn cut_everywhere(order: Order) {
    let files = Files::new();
    let scene = Scene::before(order, &files).await;
    scene.proxy.record();
    run(&scene, order).await.expect("nothing is cut");
    let (requests, counts) = (scene.proxy.requests(), scene.proxy.counts());

    let mut cases = Vec::new();
    // That a prepared statement is not needed any more is told at leisure, and nobody waits for the answer.
    for (nth, sql) in (1..).zip(&requests).filter(|(_, sql)| *sql != "close") {
        let end = if nth % 2 == 0 { End::Reset } else { End::Close };
        // Preparing leaves nothing on the server: after it is the same as before the next.
        let count = if sql.starts_with("prepare: ") { 1 } else { 2 };
        for (fault, when) in
            [(Fault::lost_request(), "before"), (Fault::lost_answer(), "after")].into_iter().take(count)
        {
            let (fault, place) = (fault.nth(nth).end(end), format!("{when} {}", named(sql)));
            cases.push(cut_at_message(order, Arc::clone(&files), fault, place, sql == "COMMIT"));
        }
    }
    for line in all(cases).await {
        line.publish("cut");
    }

    let mut cases = Vec::new();
    for (direction, length) in
        [(Direction::ToServer, counts.bytes_to_server), (Direction::ToClient, counts.bytes_to_client)]
    {
        for part in 0..PARTS {
            let (files, bytes) = (Arc::clone(&files), length * part / PARTS + 3);
            cases.push(async move {
                let place = format!("after {bytes} bytes {direction:?}");
                let fault = Fault::cut_after(direction, bytes).nth(1);
                let (scene, struck, result) = cut(order, &files, fault).await;
                assert!(struck.fired() == 1 && result.is_err(), "{place}");
                finish(&scene, order, place, Next::Library).await
            });
        }
    }
    all(cases).await;
}

/// So many cuts in each direction fall somewhere into a message.
const PARTS: u64 = 16;

/// D4, A3: a lost connection leaves the old state or the new one, says what is not known, and the next run finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_cut_at_every_message() {
    cut_everywhere(Order::Up).await;
}

/// D4, A3: the way down as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_is_cut_at_every_message() {
    cut_everywhere(Order::Down).await;
}
