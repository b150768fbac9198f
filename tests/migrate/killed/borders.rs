//! Killed between two messages: before each of them reaches the server, and after the server has done it while the program
//! does not know.

use std::sync::Arc;

use db_testkit::{End, Fault};
use tokio::time::timeout;

use super::scene::{PATIENCE, all};
use super::{Files, Line, Next, Order, Scene, finish, named};

/// The requests of a run that nothing disturbs.
async fn clean_run(order: Order, files: &Arc<Files>) -> Vec<String> {
    let scene = Scene::before(order, files).await;
    scene.proxy.record();
    let mut child = scene.start(order);
    let ended = timeout(PATIENCE, child.wait()).await.expect("it ends").expect("a status");
    assert!(ended.success());
    scene.proxy.requests()
}

async fn killed(order: Order, files: Arc<Files>, fault: Fault, place: String) -> Line {
    let scene = Scene::before(order, &files).await;
    let struck = scene.proxy.inject(fault.end(End::Silence));
    let mut child = scene.start(order);
    tokio::select! {
        reached = timeout(PATIENCE, struck.wait(1)) => reached.expect(&place),
        ended = child.wait() => panic!("{place}: it ended before, {ended:?}"),
    }
    // SIGKILL; that its sockets close with it ends the sessions of the server.
    child.kill().await.expect("killed");
    scene.settled().await;
    finish(&scene, order, place, Next::Library).await
}

async fn killed_at_every_border(order: Order) {
    let files = Files::and_program();
    let requests = clean_run(order, &files).await;
    // What comes before belongs to the pool, which the program opens first.
    let first =
        requests.iter().rposition(|sql| sql.contains("pg_is_in_recovery")).expect("the first of the runner");
    let mut cases = Vec::new();
    // That a prepared statement is not needed any more is told at leisure, and the last may not be.
    for (index, sql) in requests.iter().enumerate().skip(first).filter(|(_, sql)| *sql != "close") {
        let (nth, name) = (index as u64 + 1, named(sql));
        let mut add =
            |fault: Fault, place| cases.push(killed(order, Arc::clone(&files), fault.nth(nth), place));
        add(Fault::lost_request(), format!("before {name}"));
        // Preparing leaves nothing on the server: after it is the same as before the next.
        if !sql.starts_with("prepare: ") {
            add(Fault::lost_answer(), format!("after {name}"));
        }
    }
    let lines = all(cases).await;
    for line in &lines {
        line.publish("killed");
    }
    // The states that matter were all met.
    for state in match order {
        Order::Up => {
            ["nothing", "001 completed; 002 running, 1 done, 2 begun; run open", "003 completed; run open"]
        }
        Order::Down => [
            "002 completed; 003 completed",
            "002 running, 3 done, 4 begun; 003 rolled_back; run open",
            "003 rolled_back; run open",
        ],
    } {
        assert!(lines.iter().any(|line| line.found().contains(state)), "{state}");
    }
}

/// D4, A3: the old state or the new one, and the next run finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_killed_before_and_after_each_message() {
    killed_at_every_border(Order::Up).await;
}

/// D4, A3: the way down as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_is_killed_before_and_after_each_message() {
    killed_at_every_border(Order::Down).await;
}
