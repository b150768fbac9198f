//! Passwords from real commands: shared runs, caching, time limits, and callers that vanish.

use std::fs;
use std::path::{Path, PathBuf};

use db_core::{Action, ExposeSecret};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;

/// A folder in which scripts note that they ran, and wait until they are let go.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `script` in the folder, after noting its process in `runs`.
    fn script(&self, script: &str) -> CommandPassword {
        let script = format!("cd '{}' && echo $$ >>runs && {script}", self.folder.path().display());
        CommandPassword::new("sh", ["-c", &script])
    }

    /// The processes of the runs so far.
    fn runs(&self) -> Vec<String> {
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
    }
}

async fn printed(command: &CommandPassword) -> String {
    let password = command.password().await.expect("a password").expect("some");
    password.expose_secret().to_owned()
}

async fn refused(command: &CommandPassword) -> String {
    let error = command.password().await.expect_err("no password").to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

/// Waits until `condition` holds, and fails the test when it does not within 10 s.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn is_running(process: &str) -> bool {
    Path::new("/proc").join(process).exists()
}

/// Passes once the test writes `go`.
const WAIT_FOR_GO: &str = "until [ -e go ]; do sleep 0.01; done";

#[tokio::test]
async fn what_it_prints_is_the_password() {
    let check = async |text: &str, expect: &str| {
        assert_eq!(printed(&CommandPassword::new("printf", [text])).await, expect, "{text}");
    };
    check("hunter2", "hunter2").await;
    check("hunter2\\n", "hunter2").await;
    check("a b\\r\\n", "a b").await;
    check("$HOME `id`", "$HOME `id`").await;
}

/// A12: a token serves until its time is over, and not after the server refused it.
#[tokio::test]
async fn it_is_run_again_when_its_time_is_over_or_it_was_refused() {
    let place = Place::new();
    let command = place.script("echo hunter2");
    for _ in 0..3 {
        printed(&command).await;
    }
    assert_eq!(place.runs().len(), 1);
    command.refused();
    printed(&command).await;
    assert_eq!(place.runs().len(), 2);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10 * 60 - 1)).await;
    printed(&command).await;
    assert_eq!(place.runs().len(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    printed(&command).await;
    assert_eq!(place.runs().len(), 3);
    let impatient = place.script("echo hunter2").lifetime(Duration::ZERO);
    printed(&impatient).await;
    printed(&impatient).await;
    assert_eq!(place.runs().len(), 5);
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_run() {
    let place = Place::new();
    let command = place.script(&format!("{WAIT_FOR_GO}; echo $$"));
    let all = join_all((0..20).map(|_| printed(&command)));
    let go = async {
        eventually("it runs", || !place.runs().is_empty()).await;
        // Refused is what was given out before: this run is newer.
        command.refused();
        fs::write(place.path("go"), "").expect("a file");
    };
    let (all, ()) = tokio::join!(all, go);
    assert_eq!(all, vec![place.runs()[0].clone(); 20]);
    assert_eq!(place.runs().len(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_and_not_kept() {
    let place = Place::new();
    let command = place.script(&format!("{WAIT_FOR_GO}; echo hunter2; exit 3"));
    let all = join_all((0..5).map(|_| refused(&command)));
    let go = async {
        eventually("it runs", || !place.runs().is_empty()).await;
        fs::write(place.path("go"), "").expect("a file");
    };
    let (all, ()) = tokio::join!(all, go);
    assert_eq!(all, ["the password command sh failed (exit status: 3)"; 5]);
    assert_eq!(place.runs().len(), 1);
    refused(&command).await;
    assert_eq!(place.runs().len(), 2);
}

#[tokio::test]
async fn a_caller_that_vanishes_breaks_nobody() {
    let place = Place::new();
    let command = place.script(&format!("{WAIT_FOR_GO}; echo $$"));
    // The first to ask begins the run, and is gone.
    assert!(command.password().now_or_never().is_none());
    eventually("it runs", || !place.runs().is_empty()).await;
    let waiting = printed(&command);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(command.password().now_or_never().is_none());
    fs::write(place.path("go"), "").expect("a file");
    assert_eq!(waiting.await, place.runs()[0]);
    assert_eq!(place.runs().len(), 1);
}

/// Nobody waits to the end, as when connecting has less time than the command: the next one finds the password.
#[tokio::test]
async fn a_run_goes_on_without_callers() {
    let place = Place::new();
    let command = place.script(&format!("{WAIT_FOR_GO}; echo $$"));
    assert!(command.password().now_or_never().is_none());
    eventually("it runs", || !place.runs().is_empty()).await;
    fs::write(place.path("go"), "").expect("a file");
    eventually("it is done", || command.outcome().borrow().is_some()).await;
    assert_eq!(printed(&command).await, place.runs()[0]);
    assert_eq!(place.runs().len(), 1);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let place = Place::new();
    // `exec`, so that what is killed is what waits.
    let command = place.script("exec sleep 1000");
    let waiting = command.password();
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    eventually("it runs", || !place.runs().is_empty()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let error = waiting.await.expect_err("too long");
    assert_eq!(error.to_string(), "the password command sh was not done within 10s");
    assert_eq!(error.advice().read, Action::Retry);
    let process = place.runs().remove(0);
    eventually("it is killed", || !is_running(&process)).await;
}

#[tokio::test]
async fn a_run_ends_with_its_provider() {
    let place = Place::new();
    let command = place.script("exec sleep 1000");
    assert!(command.password().now_or_never().is_none());
    eventually("it runs", || !place.runs().is_empty()).await;
    let process = place.runs().remove(0);
    assert!(is_running(&process));
    drop(command);
    eventually("it is killed", || !is_running(&process)).await;
}

#[test]
fn a_runtime_that_ends_takes_its_run_with_it_and_nothing_else() {
    let place = Place::new();
    let command = place.script(&format!("{WAIT_FOR_GO}; echo $$"));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime().block_on(async {
        assert!(command.password().now_or_never().is_none());
        eventually("it runs", || !place.runs().is_empty()).await;
    });
    fs::write(place.path("go"), "").expect("a file");
    let printed = runtime().block_on(printed(&command));
    assert_eq!(Some(&printed), place.runs().get(1));
}

#[tokio::test]
async fn what_goes_wrong_is_said_without_what_it_printed() {
    let check = async |program: &str, arguments: &[&str], expect: &str| {
        let command = CommandPassword::new(program, arguments.iter().copied());
        let error = refused(&command).await;
        assert!(error.starts_with(expect), "{error}");
        assert!(!format!("{command:?}").contains("hunter2"), "{command:?}");
    };
    check("false", &["hunter2"], "the password command false failed (exit status: 1)").await;
    let script = "echo hunter2; echo hunter2 >&2; kill -9 $$";
    check("sh", &["-c", script], "the password command sh failed (signal: 9").await;
    check("/no/such/hunter", &["hunter2"], "cannot run the password command /no/such/hunter: No such file")
        .await;
    check("true", &["hunter2"], "the password that the command true printed is empty").await;
    check("printf", &["hunter2\\000"], "the password that the command printf printed has a NUL byte").await;
    check("printf", &["hunter2\\377"], "the password that the command printf printed is not UTF-8").await;
    let error = CommandPassword::new("/no/such", ["x"]).password().await.expect_err("no program");
    assert_eq!(error.advice().read, Action::Never);
}

#[tokio::test]
async fn endless_output_is_refused() {
    let error = refused(&CommandPassword::new("yes", ["hunter2"])).await;
    assert_eq!(error, "the password that the command yes printed is longer than 64 KiB");
}
