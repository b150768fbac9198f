//! One owner per folder, everybody else attached; and what only the owner may do.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use db_embedded::{Error, Server, Shutdown};
use secrecy::ExposeSecret;

use crate::support::{Keeper, Place, ask, connect, eventually, kill, nothing_runs, within};

#[tokio::test]
async fn the_second_attaches_and_stops_nothing() {
    let place = Place::new();
    let owner = Server::start(place.settings().database("app")).await.unwrap();
    let mut attached = place.start().await;
    assert!(attached.is_attached());
    assert_eq!(attached.url().expose_secret(), owner.url().expose_secret());
    assert_eq!(attached.installation(), owner.installation());
    assert_eq!((attached.pid(), attached.folder()), (owner.pid(), owner.folder()));
    let error = attached.halt(Shutdown::Fast).await.unwrap_err();
    assert!(matches!(error, Error::Attached { operation: "halt", .. }), "{error:?}");

    let exited = attached.exited();
    attached.stop().await.unwrap();
    assert_eq!(ask(&owner, "SELECT 1").await, "1");
    owner.stop().await.unwrap();
    within(exited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_at_the_same_time_make_one_server() {
    let place = Place::new();
    let mut keepers = [Keeper::spawn(&place.folder()), Keeper::spawn(&place.folder())];
    let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(Server::start(place.settings()))).collect();

    let (mut urls, mut owners) = (Vec::new(), 0);
    let mut servers = Vec::new();
    for task in tasks {
        let server = within(task).await.unwrap().unwrap();
        urls.push(server.url().expose_secret().to_owned());
        owners += usize::from(!server.is_attached());
        servers.push(server);
    }
    for keeper in &mut keepers {
        let (role, url) = keeper.ready().await;
        urls.push(url);
        owners += usize::from(role == "owner");
    }
    assert_eq!(owners, 1);
    urls.dedup();
    assert_eq!(urls.len(), 1, "{urls:?}");
    assert_eq!(place.unfinished(), 0);
    drop(servers);
}

#[tokio::test]
async fn an_owner_that_never_gets_ready_is_named() {
    let place = Place::new();
    place.start().await.stop().await.unwrap();
    let lock = File::open(place.folder().join("lock")).unwrap();
    lock.lock().unwrap();
    let state = place.folder().join("state");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("owner=", "owner=4242")).unwrap();

    let patience = Duration::from_millis(50);
    let error = Server::start(place.settings().start_timeout(patience)).await.unwrap_err();
    let expect = format!(
        "{} is in use by process 4242, whose PostgreSQL was not ready after 0.1 s",
        place.folder().display()
    );
    assert_eq!(error.to_string(), expect);
}

#[tokio::test]
async fn a_waiting_start_takes_over_when_the_owner_stops() {
    let place = Place::new();
    let mut owner = place.start().await;
    owner.halt(Shutdown::Fast).await.unwrap();
    let (stopped, next) = tokio::join!(owner.stop(), Server::start(place.settings()));
    stopped.unwrap();
    let next = next.unwrap();
    assert!(!next.is_attached());
    next.stop().await.unwrap();
}

#[tokio::test]
async fn halt_and_resume_keep_the_url() {
    let place = Place::new();
    let mut server = place.start().await;
    let url = server.url();
    connect(&server).await.unwrap().batch_execute("CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        let (exited, pid) = (server.exited(), server.pid());
        server.halt(how).await.unwrap();
        assert!(exited.await.status.is_some());
        assert_eq!(server.pid(), None);
        assert!(connect(&server).await.is_err());
        server.resume().await.unwrap();
        server.resume().await.unwrap();
        assert_ne!(server.pid(), pid);
        assert_eq!(server.url().expose_secret(), url.expose_secret());
        assert_eq!(ask(&server, "SELECT n FROM kept").await, "7");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_crash_is_reported_and_can_be_resumed() {
    let place = Place::new();
    let mut server = place.start().await;
    let exited = tokio::spawn(server.exited());
    kill("-KILL", server.pid().unwrap());
    let exit = within(exited).await.unwrap();
    assert_eq!(exit.status.and_then(|it| it.code()), Some(128 + 9), "{exit}");
    server.resume().await.unwrap();
    assert_eq!(ask(&server, "SELECT 1").await, "1");
    server.stop().await.unwrap();
}

/// Somebody restarts it behind its owner's back: its clients find it where it was, and its owner leaves it alone.
#[tokio::test]
async fn a_server_that_is_restarted_by_hand_keeps_its_address() {
    let place = Place::new();
    let server = place.start().await;
    let program = server.installation().bin_dir.join("pg_ctl");
    let pg_ctl = |action: &str| {
        let owner = std::fs::metadata(place.data()).unwrap();
        let log = place.data().join("by-hand.log");
        let mut command = Command::new(&program);
        command.args([action, "-w", "-m", "fast", "-D"]).arg(place.data()).arg("-l").arg(log);
        command.current_dir("/").stdout(Stdio::null()).uid(owner.uid()).gid(owner.gid());
        assert!(command.status().unwrap().success(), "pg_ctl {action}");
    };
    pg_ctl("stop");
    assert!(connect(&server).await.is_err());
    pg_ctl("start");
    assert_eq!(ask(&server, "SHOW listen_addresses").await, "127.0.0.1");
    let attached = place.start().await;
    assert_eq!(attached.url().expose_secret(), server.url().expose_secret());
    server.stop().await.unwrap();
    pg_ctl("stop");
    nothing_runs(&place, Duration::from_secs(5)).await;
}

/// A session that does not end holds up a fast shutdown; the immediate one, of which PostgreSQL kills after 5 s what
/// does not obey, comes after the time of the setting.
#[tokio::test]
async fn a_stop_that_takes_too_long_is_enforced() {
    let place = Place::new();
    let server = Server::start(place.settings().stop_timeout(Duration::from_millis(200))).await.unwrap();
    let client = connect(&server).await.unwrap();
    let session: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    kill("-STOP", session.try_into().unwrap());
    let start = Instant::now();
    server.stop().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    eventually("all processes are gone", Duration::from_secs(1), || place.processes().is_empty()).await;
}
