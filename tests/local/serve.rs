//! `db serve`: from nothing to healthy and back to nothing, whatever ends it.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::program::{Place, processes_in};
use crate::http::get;
use crate::support::{client, database, eventually};

/// A4, A5, E3: starts, answers, stops on SIGTERM with nothing left, and keeps its data for the second run.
#[tokio::test]
async fn starts_answers_stops_and_keeps_the_data() {
    let place = Place::new();
    let serving = place.serve(&[]).await;
    assert!(serving.printed.contains("started by us on 127.0.0.1:"), "{}", serving.printed);
    assert!(serving.printed.contains("migrations: 1 applied now, 1 in all"), "{}", serving.printed);
    let (status, body) = get(serving.address, "/health", "").await;
    assert_eq!((status, &body["services"]["postgres"]), (200, &"connected".into()));
    assert!(processes_in(&place.data()) > 0);
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    assert_eq!(processes_in(&place.data()), 0);

    let serving = place.serve(&[]).await;
    assert!(serving.printed.contains("migrations: 0 applied now, 1 in all"), "{}", serving.printed);
    assert_eq!(serving.end(Signal::SIGINT).await, Some(0));
    assert_eq!(processes_in(&place.data()), 0);
}

/// Killed without a chance to clean up, it leaves no server behind, and the next start works.
#[tokio::test]
async fn leaves_nothing_when_it_is_killed() {
    let place = Place::new();
    let serving = place.serve(&[]).await;
    let killed = Instant::now();
    assert_eq!(serving.end(Signal::SIGKILL).await, None);
    eventually("PostgreSQL is gone", async || processes_in(&place.data()) == 0).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());

    let serving = place.serve(&[]).await;
    assert_eq!(get(serving.address, "/health/ready", "").await.0, 200);
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}

/// A4, B8: with the server gone it is alive and not healthy; with the server back it is healthy, by itself.
#[tokio::test]
async fn follows_a_given_server_that_goes_and_comes_back() {
    let mut server = crate::support::own_server().await;
    let place = Place::new();
    let serving = place.serve(&[("DATABASE_URL", server.url())]).await;
    assert!(serving.printed.contains("using the given server 127.0.0.1:"), "{}", serving.printed);
    assert!(!place.data().exists(), "no server of its own");

    server.halt().await.expect("halt");
    eventually("503", async || get(serving.address, "/health", "").await.0 == 503).await;
    let (_, body) = get(serving.address, "/health", "").await;
    assert_eq!(
        (&body["status"], &body["services"]["postgres"]),
        (&"unhealthy".into(), &"disconnected".into())
    );
    assert_eq!(get(serving.address, "/health/ready", "").await.0, 503);
    assert_eq!(get(serving.address, "/health/db", "").await.0, 503);
    assert_eq!(get(serving.address, "/health/live", "").await.0, 200);

    server.resume().await.expect("resume");
    eventually("200", async || get(serving.address, "/health", "").await.0 == 200).await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}

/// A signal in the middle of the start ends it as well, with nothing left.
#[tokio::test]
async fn can_be_stopped_while_it_starts() {
    let place = Place::new();
    let started = place.start("serve");
    eventually("the start begins", async || place.path().join("postgres/lock").exists()).await;
    assert_eq!(started.end(Signal::SIGTERM).await, Some(0));
    assert_eq!(processes_in(&place.path().join("postgres")), 0);
}

/// B8: while it migrates it is alive and not ready, and says why; ready once it has.
#[tokio::test]
async fn is_not_ready_while_it_migrates() {
    const WAIT: &str =
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;";
    let (database, place) = (database().await, Place::new());
    let aside = client(database.url()).await;
    aside.batch_execute("CREATE TABLE gate ()").await.expect("a gate");
    let folder = place.path().join("migrations");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("001_wait.sql"), WAIT).expect("a migration");
    // It prints its port when it is ready, and is to be asked before.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let environment = [
        ("DATABASE_URL", database.url()),
        ("DB_MIGRATIONS_DIR", folder.to_str().expect("a path")),
        ("DB_HTTP_ADDR", &free.to_string()),
        ("DB_HEALTH_INTERVAL_MS", "50"),
    ];
    let started = place.start_reading(&["serve"], &environment);
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DO%'
        AND wait_event = 'PgSleep'";
    let waits = async || aside.query_one(waits, &[]).await.expect("look").get::<_, i64>(0) > 0;
    eventually("it migrates", waits).await;
    for _ in 0..10 {
        let (status, body) = get(free, "/health/ready", "").await;
        assert_eq!(status, 503, "{body}");
        assert!(body.to_string().contains("\"migrating\""), "{body}");
        assert_eq!(get(free, "/health/live", "").await.0, 200);
    }
    aside.batch_execute("INSERT INTO gate DEFAULT VALUES").await.expect("it opens");
    eventually("ready", async || get(free, "/health/ready", "").await.0 == 200).await;
    assert_eq!(started.end(Signal::SIGTERM).await, Some(0));
}

/// A server of its own that crashes is started again; one that somebody stops in an orderly way is left to them.
#[tokio::test]
async fn starts_a_crashed_server_again() {
    let place = Place::new();
    let serving = place.serve(&[]).await;
    let postmaster = || {
        let file = std::fs::read_to_string(place.data().join("postmaster.pid")).ok()?;
        Some(nix::unistd::Pid::from_raw(file.lines().next()?.parse().ok()?))
    };
    let before = postmaster().expect("it runs");
    nix::sys::signal::kill(before, Signal::SIGKILL).expect("the signal");
    eventually("another server runs", async || postmaster().is_some_and(|now| now != before)).await;
    eventually("healthy", async || get(serving.address, "/health", "").await.0 == 200).await;

    nix::sys::signal::kill(postmaster().expect("it runs"), Signal::SIGINT).expect("the signal");
    eventually("503", async || get(serving.address, "/health", "").await.0 == 503).await;
    assert_eq!(get(serving.address, "/health/live", "").await.0, 200);
    assert_eq!(processes_in(&place.data()), 0, "it is left to them");
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}

/// With a request that never ends, it stops within its time limit all the same.
#[tokio::test]
async fn stops_within_its_time_limit() {
    use tokio::io::AsyncWriteExt;

    let place = Place::new();
    let serving = place.serve(&[("DB_SHUTDOWN_TIMEOUT_MS", "8000")]).await;
    let mut half = tokio::net::TcpStream::connect(serving.address).await.expect("connect");
    half.write_all(b"GET /health HTTP/1.1\r\n").await.expect("half a request");
    let told = Instant::now();
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert_eq!(processes_in(&place.data()), 0);
}

/// Two programs at once on one folder: the second uses the first one's server and leaves it running.
#[tokio::test]
async fn a_second_program_attaches() {
    let place = Place::new();
    let first = place.serve(&[]).await;
    let second = place.serve(&[]).await;
    assert!(second.printed.contains("already running on 127.0.0.1:"), "{}", second.printed);
    assert_eq!(second.end(Signal::SIGTERM).await, Some(0));
    assert_eq!(get(first.address, "/health", "").await.0, 200);
    let status = place.json(&["migrate", "status", "--json"]);
    assert_eq!(status["migrations"][0]["state"], "completed");
    assert_eq!(first.end(Signal::SIGTERM).await, Some(0));
}

/// A port that is taken is named with its variable, and the server that was started is stopped again.
#[tokio::test]
async fn says_when_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::new();
    let output = place.run(&["serve"], &[("DB_HTTP_ADDR", &address)]);
    let text = super::program::text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("error: cannot listen on {address} (DB_HTTP_ADDR): ")), "{text}");
    assert_eq!(processes_in(&place.data()), 0);
}

/// The server that is found by the program is one that everybody can look into.
#[tokio::test]
async fn the_server_of_its_own_takes_the_password_only() {
    let place = Place::new();
    let serving = place.serve(&[]).await;
    let port =
        serving.printed.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(',').next()).expect("a port");
    let password = std::fs::read_to_string(place.path().join("postgres/password")).expect("the password");
    let url = |password: &str| format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
    client(&url(password.trim())).await;
    let refused = tokio_postgres::connect(&url("guess"), tokio_postgres::NoTls).await;
    assert_eq!(
        refused.err().and_then(|error| error.code().cloned()),
        Some(tokio_postgres::error::SqlState::INVALID_PASSWORD)
    );
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}
