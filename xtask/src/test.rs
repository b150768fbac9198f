//! `cargo xtask test`: finds or starts a PostgreSQL, runs unit, integration and doc tests and the examples on it, and says
//! what it ran on and how many tests ran.

use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use db_testkit::{Backend, TestServer};
use tokio::runtime::Runtime;

use crate::{cargo, image};

/// The examples that show a crate over somebody else's pool; each takes the URL of an empty database.
const EXAMPLES: [(&str, &str); 2] = [("db-health", "deadpool"), ("db-migrate", "deadpool")];

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
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// The rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Url,
    Docker,
    Local,
}

/// What the test binaries said.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let versions: Vec<_> =
        if args.pg.is_empty() { vec![None] } else { args.pg.iter().copied().map(Some).collect() };
    let mut total = Count::default();
    for version in versions {
        let backend = choose(args, version)?;
        let count = test_on(&backend, args.filter.as_deref())?;
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
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
    let path = std::env::var_os("PATH");
    let image = format!("{}:{}", args.image, version.unwrap_or(15));
    let backend = match args.backend {
        None => Backend::find(args.url.clone(), &image, path)?,
        Some(Kind::Url) => {
            Backend::Url(args.url.clone().context("--backend url needs --url or DB_TEST_URL")?)
        }
        Some(Kind::Docker) => Backend::Docker(image),
        Some(Kind::Local) => Backend::local(path),
    };
    match (backend, version) {
        (Backend::Url(_), Some(_)) => bail!("--pg does not go with a given server"),
        (Backend::Local(search), Some(major)) => {
            Backend::local_major(&search, major).with_context(|| format!("no local PostgreSQL {major}"))
        }
        (backend, _) => Ok(backend),
    }
}

fn test_on(backend: &Backend, filter: Option<&str>) -> Result<Count> {
    let runtime = Runtime::new()?;
    // A container is removed on the runtime also when a panic drops it.
    let _entered = runtime.enter();
    let server = runtime.block_on(TestServer::start(backend))?;
    println!("testing on {}", server.origin());
    let result = run_all(&runtime, backend, &server, filter);
    println!("tested on {}", server.origin());
    runtime.block_on(server.stop())?;
    result
}

fn run_all(runtime: &Runtime, backend: &Backend, server: &TestServer, filter: Option<&str>) -> Result<Count> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    let is_local = matches!(backend, Backend::Local(_));
    if !is_local {
        command.args(["--exclude", "db-embedded"]);
    }
    command.args(filter).arg("--");
    if !is_local {
        println!("leaving out what needs local binaries: crate db-embedded, and tests named local::");
        command.args(["--skip", "local::"]);
    }
    if !matches!(backend, Backend::Docker(_)) {
        println!("leaving out what needs containers: tests named docker::");
        command.args(["--skip", "docker::"]);
    }
    if !backend.can_start_servers() {
        println!("leaving out what stops its server: tests named own_server::");
        command.args(["--skip", "own_server::"]);
    }
    command.env("DB_TEST_URL", server.url());
    match backend {
        Backend::Docker(image) => command.env("DB_TEST_IMAGE", image),
        _ => command.env_remove("DB_TEST_IMAGE"),
    };
    let mut count = run_and_count(&mut command)?;
    if filter.is_none() {
        for (package, example) in EXAMPLES {
            let database = runtime.block_on(server.database())?;
            println!("example {example} of {package}");
            crate::run(&mut cargo(&[
                "run",
                "--quiet",
                "--package",
                package,
                "--example",
                example,
                "--",
                database.url(),
            ]))?;
            count.passed += 1;
        }
    }
    Ok(count)
}

/// Passes the output on and adds up the closing lines of the test binaries. A binary that dies without one counts as a
/// failure.
fn run_and_count(command: &mut Command) -> Result<Count> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(stdout(), "{line}")?;
        if let Some(result) = line.strip_prefix("test result: ") {
            count.passed += number_before(result, " passed");
            count.failed += number_before(result, " failed");
            count.skipped += number_before(result, " ignored") + number_before(result, " filtered out");
        }
    }
    if !child.wait()?.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
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
