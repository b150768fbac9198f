//! Killed in the middle of a statement, which waits on the server for a lock that the test holds. Then the server either
//! goes on without its client, or its session ends as well.

use std::sync::Arc;

use db_core::Query as _;

use super::scene::all;
use super::{Files, Line, Next, Order, Scene, finish, settled_client};

/// A statement in the middle of which the program is killed.
#[derive(Clone, Copy, Debug)]
struct Place {
    order: Order,
    /// A part of the statement's text.
    statement: &'static str,
    /// The advisory lock that this statement asks for, or else the one before it.
    gate: i64,
    /// What a transaction does while that one waits, and the statement then has to wait for.
    then: Option<&'static str>,
}

const fn gate(order: Order, statement: &'static str, gate: i64) -> Place {
    Place { order, statement, gate, then: None }
}

const fn then(order: Order, statement: &'static str, gate: i64, then: &'static str) -> Place {
    Place { order, statement, gate, then: Some(then) }
}

const WRITER: &str = "BEGIN; UPDATE accounts SET kind = kind WHERE id = 1";
const READER: &str = "BEGIN; SELECT FROM accounts";
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
const VACUUMING: &str = "BEGIN; LOCK TABLE accounts IN SHARE UPDATE EXCLUSIVE MODE";

const PLACES: [Place; 16] = [
    gate(Order::Up, "CREATE TABLE trail", 11),
    gate(Order::Up, "CREATE TABLE accounts", 12),
    gate(Order::Up, "CREATE TABLE marks", 21),
    then(Order::Up, "CREATE INDEX CONCURRENTLY by_name", 21, WRITER),
    then(Order::Up, "CREATE INDEX CONCURRENTLY by_name", 21, SNAPSHOT),
    gate(Order::Up, "INSERT INTO trail SELECT 'two'", 23),
    then(Order::Up, "DROP INDEX CONCURRENTLY by_kind", 23, READER),
    gate(Order::Up, "INSERT INTO trail SELECT 'three'", 25),
    then(Order::Up, "VACUUM accounts", 25, VACUUMING),
    gate(Order::Up, "INSERT INTO trail SELECT 'four'", 27),
    gate(Order::Up, "INSERT INTO trail SELECT 'five'", 32),
    gate(Order::Down, "INSERT INTO trail SELECT 'less four'", 41),
    then(Order::Down, "CREATE INDEX CONCURRENTLY by_kind", 41, WRITER),
    then(Order::Down, "CREATE INDEX CONCURRENTLY by_kind", 41, SNAPSHOT),
    gate(Order::Down, "INSERT INTO trail SELECT 'less two'", 43),
    then(Order::Down, "DROP INDEX CONCURRENTLY by_name", 43, READER),
];

/// What becomes of the server's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    GoesOn,
    Ends,
}

async fn killed(files: Arc<Files>, place: Place, session: Session) -> Line {
    let Place { order, statement, gate, then } = place;
    let scene = Scene::before(order, &files).await;
    let (holder, other) = (settled_client(scene.database()).await, settled_client(scene.database()).await);
    holder.batch_execute(&format!("SELECT pg_advisory_lock({gate})")).await.expect("held");
    let mut child = scene.start(order);
    if let Some(then) = then {
        scene.blocked(&format!("pg_advisory_xact_lock_shared({gate})")).await;
        other.batch_execute(then).await.expect(then);
        open(&holder).await;
    }
    let pid = scene.blocked(statement).await;
    child.kill().await.expect("killed");
    if session == Session::Ends {
        scene.aside.one::<bool>("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminated");
        scene.settled().await;
    }
    open(&holder).await;
    other.batch_execute("ROLLBACK").await.expect("rolled back");
    scene.settled().await;
    let place = match (session, then) {
        (Session::GoesOn, None) => format!("within {statement}, which the server ended"),
        (Session::Ends, None) => format!("within {statement}, its session too"),
        (Session::GoesOn, Some(then)) => {
            format!("within {statement} ({}), which the server ended", reason(then))
        }
        (Session::Ends, Some(then)) => format!("within {statement} ({}), its session too", reason(then)),
    };
    finish(&scene, order, place, Next::Program).await
}

async fn open(holder: &tokio_postgres::Client) {
    holder.batch_execute("SELECT pg_advisory_unlock_all()").await.expect("open");
}

fn reason(then: &str) -> &'static str {
    match then {
        WRITER => "waiting for a writer",
        SNAPSHOT => "waiting for a snapshot",
        READER => "waiting for a reader",
        _ => "waiting for a lock",
    }
}

/// D4, A3: whatever the server made of a statement whose client was gone, it counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_killed_within_each_statement() {
    let files = Files::and_program();
    let cases =
        PLACES.iter().flat_map(|place| [Session::GoesOn, Session::Ends].map(|session| (*place, session)));
    let lines = all(cases.map(|(place, session)| killed(Arc::clone(&files), place, session))).await;
    for line in &lines {
        line.publish("killed");
    }
    let invalid = lines.iter().filter(|line| line.found().contains("INVALID")).count();
    assert_eq!(invalid, 6, "each concurrent statement whose session ended leaves an index that is not valid");
}
