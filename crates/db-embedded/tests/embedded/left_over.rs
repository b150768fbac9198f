//! What others have left in the folder: servers of killed owners, servers of somebody else, stale files.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use db_embedded::{Error, Server};

use crate::support::{Keeper, Place, ask, connect, connect_to, eventually, kill, nothing_runs};

const LIMIT: Duration = Duration::from_secs(5);

/// A program run as the user that the server runs as.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if nix::unistd::geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("a user postgres");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/");
    command
}

#[tokio::test]
async fn a_killed_owner_takes_its_server_along() {
    let place = Place::new();
    let mut keeper = Keeper::spawn(&place.folder());
    let (role, url) = keeper.ready().await;
    assert_eq!(role, "owner");
    // A session that is at work does not keep the server alive.
    let client = connect_to(&url).await.unwrap();
    let work = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60)").await });
    keeper.kill();
    nothing_runs(&place, LIMIT).await;
    assert!(work.await.unwrap().is_err());
}

#[tokio::test]
async fn an_interrupted_owner_stops_its_server_in_order() {
    let place = Place::new();
    let mut keeper = Keeper::spawn(&place.folder());
    keeper.ready().await;
    assert_ne!(place.postmaster(), None);
    keeper.interrupt();
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn the_next_owner_waits_until_the_server_of_a_killed_one_is_gone() {
    let place = Place::new();
    let mut keeper = Keeper::spawn(&place.folder());
    let (_, url) = keeper.ready().await;
    let client = connect_to(&url).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
    // A session that cannot end holds up the shutdown until it can.
    let session: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let (session, before) = (session.try_into().unwrap(), place.postmaster());
    kill("-STOP", session);
    keeper.kill();

    let start = tokio::spawn(Server::start(place.settings()));
    let log = place.folder().join("postgres.log");
    eventually("the server is told to stop", LIMIT, || {
        std::fs::read_to_string(&log).unwrap().contains("received fast shutdown request")
    })
    .await;
    assert_eq!(place.postmaster(), before);
    assert!(!start.is_finished());
    kill("-CONT", session);

    let server = start.await.unwrap().unwrap();
    assert!(!server.is_attached());
    assert_ne!(place.postmaster(), before);
    assert_eq!(ask(&server, "SELECT n FROM kept").await, "7");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_owner_killed_while_it_makes_the_database_does_not_spoil_the_folder() {
    let place = Place::new();
    let keeper = Keeper::spawn(&place.folder());
    eventually("a database is in the making", LIMIT, || place.unfinished() > 0).await;
    keeper.kill();
    let server = place.start().await;
    assert!(!server.is_attached());
    assert_eq!(ask(&server, "SELECT 1").await, "1");
    server.stop().await.unwrap();
    nothing_runs(&place, LIMIT).await;
    place.start().await.stop().await.unwrap();
    assert_eq!(place.unfinished(), 0);
}

#[tokio::test]
async fn a_server_of_somebody_else_is_named_and_left_alone() {
    let place = Place::new();
    let server = place.start().await;
    let programs = server.installation().bin_dir.clone();
    let port = server.port();
    server.stop().await.unwrap();

    let mut by_hand = as_server_user(&programs.join("pg_ctl"));
    // The same port as ours was: it must not be taken for ours because of that.
    let options = format!("-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
    by_hand.args(["start", "--wait", "--silent", "--log", "/dev/null", "--options", &options, "--pgdata"]);
    assert!(by_hand.arg(place.data()).status().unwrap().success());

    let error = Server::start(place.settings()).await.unwrap_err();
    let pid = place.postmaster().unwrap();
    let Error::Foreign { pid: named, command, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*named, pid);
    assert!(error.to_string().contains(command.as_str()), "{error}");

    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
    nothing_runs(&place, LIMIT).await;
    place.start().await.stop().await.unwrap();
}

#[tokio::test]
async fn a_lock_file_with_the_id_of_another_process_is_no_obstacle() {
    let place = Place::new();
    let server = place.start().await;
    let file = place.data().join("postmaster.pid");
    let left = std::fs::read_to_string(&file).unwrap();
    let pid = server.pid().unwrap();
    server.stop().await.unwrap();

    // PostgreSQL looks no closer at processes of other users, so the one that is alive has its own user.
    // It ends when its input does, and so with this test.
    let mut other =
        as_server_user(Path::new("cat")).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    for id in [other.id(), std::process::id(), pid] {
        std::fs::write(&file, left.replacen(&pid.to_string(), &id.to_string(), 1)).unwrap();
        let server = place.start().await;
        assert_eq!(server.pid(), place.postmaster());
        assert_ne!(server.pid(), Some(id));
        connect(&server).await.unwrap();
        server.stop().await.unwrap();
    }
    drop(other.stdin.take());
    other.wait().unwrap();
}
