//! `cargo xtask test`: finds or starts a PostgreSQL, runs unit, integration and doc tests and the examples on it, and says
//! what it ran on and how many tests ran. Whatever ends it, the server goes with it.

use std::io::{BufRead, BufReader, Write, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use db_testkit::{Backend, TestServer};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::fault::{self, Reports};
use crate::programs::PROGRAMS;
use crate::{cargo, image};

/// The examples that show a crate alone or over somebody else's pool; each takes an empty database by `DATABASE_URL`.
const EXAMPLES: [(&str, &str); 8] = [
    ("db-cluster", "own_deadpool"),
    ("db-health", "deadpool"),
    ("db-migrate", "deadpool"),
    ("db-migrate", "embedded"),
    ("db-pool", "a_la_carte"),
    ("db-retry", "own_bb8"),
    ("db-retry", "own_deadpool"),
    ("db-testkit", "fault_proxy"),
];

/// Finds or starts a PostgreSQL and runs all tests and examples on it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the PostgreSQL comes from; without it the first that works of: --url, docker, local
    #[arg(long, value_enum)]
    backend: Option<Kind>,
    /// A server that runs already, by the URL of a role that may create databases
    #[arg(long, env = "DB_TEST_URL", hide_env_values = true)]
    url: Option<String>,
    /// Major versions to test on, one after the other
    #[arg(long, value_delimiter = ',')]
    pg: Vec<u32>,
    /// The image for docker, without its tag
    #[arg(long, default_value = image::NAME)]
    image: String,
    /// Only tests whose name contains this; examples are left out
    filter: Option<String>,
}

/// The rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Url,
    Docker,
    Local,
}

/// What ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let versions: Vec<_> =
        if args.pg.is_empty() { vec![None] } else { args.pg.iter().copied().map(Some).collect() };
    // All of them before anything runs: what is missing is said at once.
    let backends = versions.iter().map(|version| choose(args, *version)).collect::<Result<Vec<_>>>()?;

    let runtime = Runtime::new()?;
    // A container is removed on the runtime also when a panic drops it.
    let _entered = runtime.enter();
    let interruption = Interruption::watch(&runtime)?;
    let mut total = Count::default();
    for backend in &backends {
        total.add(test_on(&runtime, &interruption, backend, args.filter.as_deref())?);
    }
    let Count { passed, failed, skipped } = total;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(failed == 0, "{failed} tests failed");
    ensure!(passed > 0, "no test ran");
    Ok(())
}

/// On one kind of server, as `cargo xtask ci` does.
pub(crate) fn on(kind: Kind) -> Result<()> {
    let image = image::NAME.to_owned();
    run(&Args { backend: Some(kind), url: None, pg: Vec::new(), image, filter: None })
}

fn choose(args: &Args, version: Option<u32>) -> Result<Backend> {
    let backend = backend(args.backend, args.url.clone(), &args.image, version)?;
    match (backend, version) {
        (Backend::Url(_), Some(_)) => bail!("--pg does not go with a given server"),
        (Backend::Local(search), Some(major)) => {
            Backend::local_major(&search, major).with_context(|| format!("no local PostgreSQL {major}"))
        }
        (backend, _) => Ok(backend),
    }
}

/// The kind of server that was asked for, or the first that works.
pub(crate) fn backend(
    kind: Option<Kind>,
    url: Option<String>,
    image: &str,
    version: Option<u32>,
) -> Result<Backend> {
    let path = std::env::var_os("PATH");
    let tag = version.unwrap_or(15);
    let image = format!("{image}:{tag}");
    match kind {
        None => Ok(Backend::find(url, &image, path)?),
        Some(Kind::Url) => Ok(Backend::Url(url.context("--backend url needs --url or DB_TEST_URL")?)),
        Some(Kind::Docker) => Backend::docker(&image)
            .with_context(|| format!("build the image with `cargo xtask image --pg {tag}`, or pull it")),
        Some(Kind::Local) => Ok(Backend::local(path)),
    }
}

fn test_on(
    runtime: &Runtime,
    interruption: &Interruption,
    backend: &Backend,
    filter: Option<&str>,
) -> Result<Count> {
    let server = runtime.block_on(TestServer::start(backend))?;
    println!("testing on {}", server.origin());
    let result = run_all(runtime, interruption, backend, &server, filter);
    println!("tested on {}", server.origin());
    // Tests that were killed leave their clusters behind. After an interruption there may be no time for it.
    backend.remove_left_overs();
    runtime.block_on(server.stop())?;
    interruption.check()?;
    result
}

fn run_all(
    runtime: &Runtime,
    interruption: &Interruption,
    backend: &Backend,
    server: &TestServer,
    filter: Option<&str>,
) -> Result<Count> {
    let mut count = Count::default();
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    let is_local = matches!(backend, Backend::Local(_));
    if !is_local {
        command.args(["--exclude", "db-embedded"]);
    }
    command.args(filter).arg("--");
    if !is_local {
        println!("leaving out what needs local binaries: crate db-embedded, and tests named local::");
        command.args(["--skip", "local::"]);
        count.skipped += tests_of("db-embedded")?;
    }
    if !matches!(backend, Backend::Docker(_)) {
        println!("leaving out what needs containers: tests named docker::");
        command.args(["--skip", "docker::"]);
    }
    for program in PROGRAMS.iter().filter(|program| program.is_missing()) {
        println!("leaving out what needs {}, not installed: tests named {}", program.name, program.tests);
        command.args(["--skip", program.tests]);
    }
    if !backend.can_start_servers() {
        println!("leaving out what stops its server: tests named own_server::");
        command.args(["--skip", "own_server::"]);
    }
    let reports = Reports::new();
    command.env("DB_TEST_URL", server.url()).env(fault::REPORT, reports.path());
    match backend {
        Backend::Docker(image) => command.env("DB_TEST_IMAGE", image),
        _ => command.env_remove("DB_TEST_IMAGE"),
    };
    count.add(run_and_count(&mut command, interruption)?);
    reports.print()?;
    if filter.is_some() {
        println!("with a filter: what it left out is not counted");
        count.skipped = 0;
        return Ok(count);
    }
    for (package, example) in EXAMPLES {
        interruption.check()?;
        println!("example {example} of {package}");
        let database = runtime.block_on(server.database())?;
        let mut command = cargo(&["run", "--quiet", "--package", package, "--example", example]);
        if command.env("DATABASE_URL", database.url()).status()?.success() {
            count.passed += 1;
        } else {
            println!("example {example} of {package} failed");
            count.failed += 1;
        }
    }
    Ok(count)
}

/// How many tests a crate has that are left out as a whole.
fn tests_of(package: &str) -> Result<usize> {
    let listed =
        cargo(&["test", "--quiet", "--package", package, "--", "--list", "--format", "terse"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listed.lines().filter(|line| line.ends_with(": test")).count())
}

/// Passes the output on and adds up the closing lines of the test binaries. A binary that dies without one counts as a
/// failure.
fn run_and_count(command: &mut Command, interruption: &Interruption) -> Result<Count> {
    let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    interruption.also_ends(Some(&child));
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(stdout(), "{line}")?;
        if let Some(result) = line.strip_prefix("test result: ") {
            count.add(Count {
                passed: number_before(result, " passed"),
                failed: number_before(result, " failed"),
                skipped: number_before(result, " ignored") + number_before(result, " filtered out"),
            });
        }
    }
    let status = child.wait()?;
    interruption.also_ends(None);
    interruption.check()?;
    if !status.success() && count.failed == 0 {
        ensure!(count.passed > 0, "the tests did not compile");
        count.failed = 1;
    }
    Ok(count)
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// SIGINT and SIGTERM end the run in an orderly way instead of ending us.
pub(crate) struct Interruption {
    has_come: Arc<AtomicBool>,
    child: Arc<std::sync::Mutex<Option<Pid>>>,
}

impl Interruption {
    pub(crate) fn watch(runtime: &Runtime) -> Result<Self> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let this = Self { has_come: Arc::default(), child: Arc::default() };
        let (has_come, child) = (Arc::clone(&this.has_come), Arc::clone(&this.child));
        runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                has_come.store(true, Ordering::Relaxed);
                // Cargo does not pass it on to the tests that it runs, so the whole group is told.
                if let Some(pid) = child.lock().ok().and_then(|child| *child) {
                    killpg(pid, Signal::SIGTERM).ok();
                }
            }
        });
        Ok(this)
    }

    /// Runs a command to its end, which comes early with the interruption.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let child = command.process_group(0).spawn();
        let mut child = child.with_context(|| format!("cannot run {:?}", command.get_program()))?;
        self.also_ends(Some(&child));
        let status = child.wait()?;
        self.also_ends(None);
        self.check()?;
        ensure!(status.success(), "it failed ({status})");
        Ok(())
    }

    /// Names the process that is to be ended as well, with the group that it leads, or none.
    fn also_ends(&self, child: Option<&Child>) {
        let pid = child.and_then(|child| i32::try_from(child.id()).ok()).map(Pid::from_raw);
        if let Ok(mut slot) = self.child.lock() {
            *slot = pid;
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.has_come.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary() {
        let line = "FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 45 filtered out; finished in 0.1s";
        let read = [" passed", " failed", " ignored", " filtered out", " absent"];
        assert_eq!(read.map(|word| number_before(line, word)), [12, 3, 1, 45, 0]);
    }
}
