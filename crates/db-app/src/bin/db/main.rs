//! The program `db`: reads the command line and the configuration, and hands over to one file per command. Exit codes:
//! 0 well, 1 failed, 2 wrong usage or configuration or refused, 3 something is pending or has drifted, 128 and the number of
//! the signal that interrupted it.

#![expect(clippy::print_stderr, reason = "a program prints")]

mod bench;
mod config;
mod doctor;
mod files;
mod health;
mod migrate;
mod output;
mod serve;
mod signals;
mod stats;
mod table;
mod watch;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use db_app::Config;
use db_app::telemetry::Telemetry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The PostgreSQL layer: serve health, migrate, look around
#[derive(Debug, Parser)]
#[command(name = "db", version, arg_required_else_help = true)]
struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start (or use) a PostgreSQL, migrate it, and serve its health, metrics and dashboard over HTTP until stopped
    Serve,
    /// Apply, roll back and inspect migrations
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Show how the database and what belongs to it are
    ///
    /// Exit code 1 when something critical does not serve; with --watch 0.
    Health(watch::Watch),
    /// Show the figures of the pool, and role, lag and timeline of each server
    ///
    /// They are those of a process that has just begun, which opens a pool of its own and looks at the servers: reads in flight, reads
    /// served and their latency are not those of a service that runs, and the lag in seconds is counted from the first look on,
    /// unless the replica was more than 64 KiB behind at it. The figures of a service that runs, what its statements have on lanes, and
    /// why others have connections of their own, are shown with --service.
    Stats(stats::Options),
    /// Check what services rely on and what will hurt them: extensions, privileges, connections, settings, upkeep
    ///
    /// Each line is ok, advice or a problem, the latter two with what to do. Only problems make the exit code 1.
    Doctor(doctor::Options),
    /// Show every setting with its source, secrets masked
    Config,
    /// Load the database through the pool, in a schema of its own, and hold the figures against what is promised
    ///
    /// Exit code 0 when all of them hold, 1 when one does not. Times are those of the callers: waiting for a connection, retries
    /// and failures are in them.
    Bench(bench::Options),
}

/// How a command ended, when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Well,
    NotWell,
    PendingOrDrift,
    /// It was not done, for a reason that was said.
    Refused,
    /// A signal ended it, which the exit code tells; what that left was said.
    Interrupted(u8),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let json = cli.json;
    if json && matches!(cli.command, Command::Serve) {
        eprintln!("error: --json: `db serve` has no result to print; its endpoints answer in JSON");
        return ExitCode::from(2);
    }
    let mut config = match Config::from_env() {
        Ok(config) => config,
        Err(errors) => return refuse(errors.lines(), json),
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    if !matches!(cli.command, Command::Serve) {
        // What a command sees while it runs, or does on purpose, is no reason to call anybody.
        config.observe.alerts.webhook = None;
    }
    // What makes another command fail is in its own error.
    let filter = match cli.command {
        Command::Serve => config.log_filter(),
        _ => config.log.as_deref().unwrap_or("error"),
    };
    // The driver's own log has whole statements with their parameters: whoever wants that names it.
    let Ok(filter) = EnvFilter::builder().parse(format!("tokio_postgres=off,{filter}")) else {
        let line = format!("DB_LOG={filter}: expected a tracing filter, such as info or db=debug");
        return refuse(&[line], json);
    };
    // Only a service is watched from outside. Before the runtime: sending has threads of its own.
    let telemetry = match cli.command {
        Command::Serve => match Telemetry::start(&config) {
            Ok(telemetry) => Some(telemetry),
            Err(error) => return refuse(&[error.to_string()], json),
        },
        _ => None,
    };
    let use_color =
        stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt::layer().with_ansi(use_color).with_writer(stderr).with_filter(filter);
    tracing_subscriber::registry().with(log).with(telemetry.as_ref().and_then(Telemetry::layer)).init();

    let result = run(cli, config, telemetry.as_ref());
    if let Some(telemetry) = telemetry {
        telemetry.shut_down();
    }
    let result = match output::failure() {
        Some(error) => result.and(Err(error).context("cannot write to standard output")),
        None => result,
    };
    match result {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::NotWell) => ExitCode::from(1),
        Ok(Outcome::Refused) => ExitCode::from(2),
        Ok(Outcome::PendingOrDrift) => ExitCode::from(3),
        Ok(Outcome::Interrupted(code)) => ExitCode::from(code),
        Err(error) => {
            output::fail(&error, json);
            ExitCode::from(1)
        }
    }
}

#[tokio::main]
async fn run(cli: Cli, config: Config, telemetry: Option<&Telemetry>) -> Result<Outcome> {
    match cli.command {
        Command::Serve => serve::run(config, telemetry).await,
        Command::Migrate(command) => migrate::run(command, config, cli.json).await,
        Command::Health(watch) => health::run(watch, config, cli.json).await,
        Command::Stats(options) => stats::run(options, config, cli.json).await,
        Command::Doctor(options) => doctor::run(options, config, cli.json).await,
        Command::Config => config::run(&config, cli.json),
        Command::Bench(options) => bench::run(options, config, cli.json).await,
    }
}

fn refuse(lines: &[String], json: bool) -> ExitCode {
    output::refuse(lines, json);
    ExitCode::from(2)
}

/// Help and version are no misuse, and go to standard output. Everything else is also JSON where that was asked for.
fn misused(error: &clap::Error) -> ExitCode {
    error.print().ok();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        output::misuse(error);
    }
    ExitCode::from(2)
}
