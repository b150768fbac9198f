//! A server from its first start to its stop.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use db_embedded::{Error, Server, Shutdown};
use secrecy::ExposeSecret;

use crate::support::{Place, ask, connect, connect_to, group, members, nothing_runs};

#[tokio::test]
async fn a_new_folder_becomes_a_server_and_keeps_its_content() {
    let place = Place::new();
    let settings = place.settings().user("owner").database("app-1").parameter("max_connections", "17");
    let server = Server::start(settings.clone()).await.unwrap();
    assert!(!server.is_attached());
    assert_eq!(ask(&server, "SELECT current_user || ' ' || current_database()").await, "owner app-1");
    assert_eq!(ask(&server, "SHOW max_connections").await, "17");
    assert_eq!(ask(&server, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(ask(&server, "SHOW unix_socket_directories").await, "");
    assert_eq!(ask(&server, "SHOW server_encoding").await, "UTF8");
    assert_eq!(server.pid(), place.postmaster());
    assert!(ask(&server, "SHOW server_version").await.starts_with(server.installation().version.as_str()));
    connect(&server).await.unwrap().batch_execute("CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();

    let mode = |name: &str| place.folder().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data"), mode("password")), (0o700, 0o600));
    let (url, port) = (server.url(), server.port());
    server.stop().await.unwrap();

    let server = Server::start(settings).await.unwrap();
    assert_eq!((server.url().expose_secret(), server.port()), (url.expose_secret(), port));
    assert_eq!(ask(&server, "SELECT n FROM kept").await, "7");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_password_is_needed_and_never_shown() {
    let place = Place::new();
    let server = place.start().await;
    let password = server.password().expose_secret().to_owned();
    assert!(password.len() >= 32 && password.chars().all(|c| c.is_ascii_alphanumeric()));

    let wrong = server.url().expose_secret().replace(&password, "wrong");
    let error = connect_to(&wrong).await.err().unwrap();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("28P01"));
    assert!(!format!("{server:?}").contains(&password));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_leaves_no_process() {
    let place = Place::new();
    let server = place.start().await;
    let group_of_server = group(server.pid().unwrap());
    assert_ne!(group_of_server, group(std::process::id()), "Ctrl-C would reach the server");
    assert!(members(&group_of_server).len() >= 3, "the supervisor, its watcher and PostgreSQL");

    // An open transaction does not hold up a fast shutdown.
    let client = connect(&server).await.unwrap();
    client.batch_execute("BEGIN; CREATE TABLE unfinished ()").await.unwrap();
    server.stop().await.unwrap();
    assert_eq!(members(&group_of_server), Vec::<String>::new());
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_drop_stops_the_server() {
    let place = Place::new();
    drop(place.start().await);
    nothing_runs(&place, Duration::from_secs(5)).await;
    place.start().await.stop().await.unwrap();
}

#[test]
fn a_server_outlives_the_runtime_it_was_started_on() {
    let place = Place::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut server = runtime().block_on(place.start());
    runtime().block_on(async {
        assert_eq!(ask(&server, "SELECT 1").await, "1");
        server.halt(Shutdown::Fast).await.unwrap();
        server.resume().await.unwrap();
    });
    runtime().block_on(server.stop()).unwrap();
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn another_port_is_taken_if_the_last_one_is_in_use() {
    let place = Place::new();
    let server = place.start().await;
    let port = server.port();
    server.stop().await.unwrap();

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = place.start().await;
    assert_ne!(server.port(), port);
    assert_eq!(ask(&server, "SELECT 1").await, "1");
    server.stop().await.unwrap();

    let error = Server::start(place.settings().port(port)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on 127.0.0.1, port {port} in use"));
    drop(listener);
    let server = Server::start(place.settings().port(port)).await.unwrap();
    assert_eq!(server.port(), port);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_quotes_the_log() {
    let place = Place::new();
    let error = Server::start(place.settings().parameter("shared_bufers", "1")).await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("FATAL:  unrecognized configuration parameter \"shared_bufers\""), "{text}");
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_undone() {
    let place = Place::new();
    place.start().await.stop().await.unwrap();
    let error = Server::start(place.settings().start_timeout(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, Error::StartTimeout { .. }), "{error:?}");
    assert_eq!(place.processes(), Vec::<String>::new());
    place.start().await.stop().await.unwrap();
}

/// As root the server runs as somebody else, who must be able to get there; else the same folder is no obstacle.
#[tokio::test]
async fn a_folder_that_the_user_cannot_reach_is_named() {
    let place = Place::new();
    let closed = place.root();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let result = Server::start(place.settings()).await;
    if nix::unistd::geteuid().is_root() {
        let text = result.unwrap_err().to_string();
        let expect =
            format!("cannot enter {}: {} does not let it in", place.folder().display(), closed.display());
        assert!(text.contains(&expect), "{text}");
    } else {
        result.unwrap().stop().await.unwrap();
    }
}
