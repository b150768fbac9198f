//! `--watch` of `db stats` and `db health`: look after look, until somebody has seen enough.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::{Place, text};
use crate::support::{database, eventually, own_server};

/// E10, B4: one document a line; an interrupt is its ordinary end.
#[tokio::test]
async fn watching_stats_gives_a_document_a_line() {
    let database = database().await;
    let place = Place::new();
    let mut started = place.start_reading(
        &["stats", "--watch", "0.1", "--json"],
        &[("DATABASE_URL", database.url()), ("DB_POOL_MAX", "7")],
    );
    let mut times = Vec::new();
    for _ in 0..3 {
        let line = started.line().await.expect("another look");
        let look: Value = serde_json::from_str(&line).expect("a document in a line");
        assert_eq!((&look["pool"]["max"], &look["pool"]["min"]), (&7.into(), &2.into()), "{line}");
        times.push(look["timestamp"].as_str().expect("when").to_owned());
    }
    assert!(times.is_sorted() && times[0] != times[2], "{times:?}");
    assert_eq!(started.end(Signal::SIGINT).await, Some(0));
}

/// A line without the widths of its columns.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// C4: without a terminal looks follow one another, and none moves the cursor; a server that goes is seen to go.
#[tokio::test]
async fn watching_health_sees_a_server_go() {
    let mut server = own_server().await;
    let place = Place::new();
    let environment = [("DATABASE_URL", server.url()), ("DB_HEALTH_INTERVAL_MS", "50")];
    let mut started = place.start_reading(&["health", "--watch", "0.1"], &environment);
    let first = started.line().await.expect("a look");
    assert!(first.starts_with("healthy at "), "{first}");
    assert_eq!(started.line().await.as_deref(), Some(""));
    let heads = started.line().await.expect("heads");
    let heads: Vec<&str> = heads.split_whitespace().collect();
    assert_eq!(heads.join(" "), "component status reason took (ms) age (s) details");
    let row = started.line().await.expect("a row");
    assert!(words(&row).starts_with("postgres healthy - "), "{row}");

    server.halt().await.expect("halted");
    let mut lines = Vec::new();
    eventually("it is unhealthy, and why", async || {
        let line = started.line().await.expect("another line");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        lines.push(words(&line));
        let has = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
        // One failure alone is damped, and told all the same.
        has("unhealthy at ") && has("postgres unhealthy ") && has("postgres: could not connect to ")
    })
    .await;
    assert_eq!(started.end(Signal::SIGTERM).await, Some(0));
}

/// On a terminal a look is drawn over the one before, and nobody who reads is the end as well.
#[tokio::test]
async fn watching_draws_in_place_and_ends_with_its_reader() {
    let database = database().await;
    let place = Place::new();
    let program = super::program::program();
    // `script` gives the program a terminal, of which it copies what is drawn.
    let mut command = std::process::Command::new("sh");
    command.current_dir(place.path()).env("DATABASE_URL", database.url());
    command.env("PROGRAM", program).args([
        "-c",
        "script -qec 'timeout -s INT 1 \"$PROGRAM\" stats --watch 0.2; echo \"code $?\"' /dev/null </dev/null",
    ]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("sh");
    let drawn = text(&output);
    assert_eq!(drawn.matches("\u{1b}[2J").count(), 1, "cleared once: {drawn:?}");
    assert!(drawn.matches("\u{1b}[H").count() > 2, "drawn again and again: {drawn:?}");

    let mut command = std::process::Command::new("sh");
    command.current_dir(place.path()).env("DATABASE_URL", database.url()).env("PROGRAM", program);
    command.args(["-c", "{ \"$PROGRAM\" stats --watch 0.1 --json; echo $? >code; } | head -1"]);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.expect("it ends");
    let output = output.expect("no panic").expect("sh");
    let code = std::fs::read_to_string(place.path().join("code")).expect("the exit code");
    assert_eq!(code.trim(), "0", "{}", text(&output));

    let refused = place.run(&["stats", "--watch", "0"], &[("DATABASE_URL", database.url())]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("expected seconds, from 0.1 to 86400"), "{}", text(&refused));
}
