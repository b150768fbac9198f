//! `cargo xtask ci`: everything that must hold before a change lands, with the time each step took.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::test::Kind;
use crate::{cargo, e2e, image, programs, test, tidy};

pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let result = run_steps(&mut steps);
    steps.report();
    result
}

fn run_steps(steps: &mut Steps) -> Result<()> {
    steps.step("format", || {
        crate::run(&mut cargo(&["fmt", "--all", "--check"]))?;
        // A workspace of its own.
        crate::run(&mut cargo(&["fmt", "--manifest-path", "bench/Cargo.toml", "--check"]))
    })?;
    steps.step("clippy", || crate::run(&mut clippy(&["--workspace", "--all-targets"])))?;
    steps.step("clippy, embedded download", || {
        crate::run(&mut clippy(&["--package", "db-embedded", "--all-targets", "--features", "download"]))
    })?;
    steps.step("without a driver", crates_without_a_driver)?;
    steps.step("each feature alone", features_alone)?;
    steps.step("tidy", tidy::run)?;
    steps.step("test on local binaries", || {
        programs::ensure_all()?;
        test::on(Kind::Local)
    })?;
    steps.step("page in a browser", || e2e::run(&e2e::Args::default()))?;
    if has_docker() {
        steps.step("image", || {
            image::run(image::Args { pg: image::Pg::V15, name: image::NAME.to_owned(), rebuild: false })
        })?;
        steps.step("test on docker", || test::on(Kind::Docker))?;
    } else {
        println!("docker does not answer: the tests on docker did not run");
    }
    steps.step("bench compiles", || {
        crate::run(&mut cargo(&["check", "--quiet", "--manifest-path", "bench/Cargo.toml"]))
    })?;
    steps.step("docs", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
        crate::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    if has_deny() {
        steps.step("deny", || crate::run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"])))?;
    } else {
        println!("cargo-deny is not installed: licences, bans and sources were not checked");
    }
    Ok(())
}

#[derive(Default)]
struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("--- {name}");
        let started = Instant::now();
        let result = work();
        self.0.push((name, started.elapsed()));
        result.with_context(|| name)
    }

    fn report(&self) {
        for (name, took) in &self.0 {
            println!("{:6.1} s  {name}", took.as_secs_f64());
        }
    }
}

fn clippy(arguments: &[&str]) -> Command {
    let mut command = cargo(&["clippy", "--quiet"]);
    command.args(arguments).args(["--", "-D", "warnings"]);
    command
}

/// Whoever takes only the errors and the classification, or only retries, must not get a driver with them. Retries wait, so
/// they need the timer of tokio; the errors need nothing of it.
fn crates_without_a_driver() -> Result<()> {
    has_no_driver("db-core", &["tokio"])?;
    has_no_driver("db-retry", &["tokio-util", "socket2", "mio"])
}

/// Whoever embeds the layer takes the features that he needs.
fn features_alone() -> Result<()> {
    for feature in ["", "otlp", "prometheus", "redis", "webhook"] {
        let alone = ["--package", "db-app", "--lib", "--no-default-features", "--features", feature];
        crate::run(&mut clippy(&alone))?;
    }
    Ok(())
}

fn has_no_driver(package: &str, forbidden: &[&str]) -> Result<()> {
    crate::run(&mut cargo(&["check", "--quiet", "--package", package, "--no-default-features"]))?;
    let tree =
        ["tree", "--package", package, "--no-default-features", "--edges", "normal", "--prefix", "none"];
    let output = cargo(&tree).output()?;
    let tree = String::from_utf8(output.stdout)?;
    let is_forbidden =
        |line: &&str| forbidden.iter().any(|name| line.starts_with(name) || line.contains("postgres"));
    let found: Vec<_> = tree.lines().filter(is_forbidden).collect();
    ensure!(output.status.success() && found.is_empty(), "{package} brings {found:?} without its features");
    Ok(())
}

fn has_docker() -> bool {
    succeeds(Command::new("docker").arg("info"))
}

fn has_deny() -> bool {
    succeeds(&mut cargo(&["deny", "--version"]))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
