//! Contributors' commands: `cargo xtask COMMAND`. Only dispatches; each command has a file of its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod bench;
mod ci;
mod cuts;
mod demo;
mod e2e;
mod fault;
mod image;
mod patroni;
mod programs;
mod proxy;
mod routed;
mod soak;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Contributors' commands
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
enum Cli {
    /// Find or start a PostgreSQL and run all tests and examples on it
    Test(test::Args),
    /// Check layering and house rules
    Tidy,
    /// Compare db-pool with its peers
    Bench(bench::Args),
    /// Run the pool for minutes while its sessions are killed
    Soak(soak::Args),
    /// Break the way to a PostgreSQL on purpose
    Proxy(proxy::Args),
    /// Try the faults for minutes and print what was lost or doubled
    Fault(fault::Args),
    /// Show a failover as it happens
    Demo(demo::Args),
    /// Run a cluster under Patroni on this machine
    Patroni(patroni::Args),
    /// Look at the operator's page in Chromium
    E2e(e2e::Args),
    /// Build an image of PostgreSQL from the distribution's packages
    Image(image::Args),
    /// Everything that must hold before a change lands
    Ci,
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Test(args) => test::run(&args),
        Cli::Tidy => tidy::run(),
        Cli::Bench(args) => bench::run(&args),
        Cli::Soak(args) => soak::run(&args),
        Cli::Proxy(args) => proxy::run(&args),
        Cli::Fault(args) => fault::run(&args),
        Cli::Demo(args) => demo::run(&args),
        Cli::Patroni(args) => patroni::run(&args),
        Cli::E2e(args) => e2e::run(&args),
        Cli::Image(args) => image::run(args),
        Cli::Ci => ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The cargo that runs us, in the root of the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end; anything but success is an error that names it.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

fn shown(command: &Command) -> String {
    let name = PathBuf::from(command.get_program());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}
