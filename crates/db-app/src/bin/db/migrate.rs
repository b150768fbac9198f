//! `db migrate ...`: the migrations of the configured folder, on a connection of their own.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use clap::Subcommand as ClapSubcommand;
use db_app::config::Environment;
use db_app::{Config, Database};
use db_migrate::{
    FileState, Finished, Holder, Migrations, Migrator, ObjectState, Progress, Run, State, Steps,
    Verification, Waiting,
};

use crate::{Outcome, print_json};

#[derive(Debug, ClapSubcommand)]
pub(crate) enum Command {
    /// Apply what is pending
    Up {
        /// At most this many
        count: Option<usize>,
    },
    /// Roll back what was applied last
    Down {
        /// This many
        #[arg(default_value_t = 1)]
        count: usize,
    },
    /// Roll back everything; in production only with --yes
    Reset {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show where each migration stands; exit code 3 when something is pending or has drifted
    Status,
    /// Compare the schema with a replay of the applied migrations; exit code 3 when it differs
    Verify,
}

pub(crate) async fn run(command: Command, config: Config, json: bool) -> Result<Outcome> {
    if let Command::Reset { yes: false } = command {
        ensure!(
            matches!(config.environment, Environment::Development | Environment::Test),
            "reset drops everything that the migrations made; with DB_ENV={} it needs --yes",
            config.environment
        );
    }
    let Some(migrator) = migrator(&config)? else {
        bail!("there is no folder {} (DB_MIGRATIONS_DIR)", config.migrations_dir.display());
    };
    let migrator = if json { migrator } else { migrator.progress(Arc::new(Printer)) };
    let limit = config.shutdown_timeout;
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    let outcome = execute(command, &database, &migrator, json).await;
    let closed = database.close(limit).await;
    let outcome = outcome?;
    closed?;
    Ok(outcome)
}

/// The migrator over the configured folder; `None` when there is no such folder and nobody named one.
pub(crate) fn migrator(config: &Config) -> Result<Option<Migrator>> {
    let folder = &config.migrations_dir;
    if !config.is_migrations_dir_given && !folder.exists() {
        return Ok(None);
    }
    Ok(Some(Migrator::new(Migrations::from_dir(folder)?)))
}

async fn execute(command: Command, database: &Database, migrator: &Migrator, json: bool) -> Result<Outcome> {
    let mut client = database.connect_aside("migrate", None).await?;
    let run = match command {
        Command::Up { count } => migrator.up(&mut client, count.map_or(Steps::All, Steps::Count)).await?,
        Command::Down { count } => migrator.down(&mut client, count).await?,
        Command::Reset { .. } => migrator.reset(&mut client).await?,
        Command::Status => return status(&client, migrator, json).await,
        Command::Verify => return verify(&mut client, database, migrator, json).await,
    };
    report(&run, json)?;
    Ok(Outcome::Well)
}

fn report(run: &Run, json: bool) -> Result<()> {
    if json {
        return print_json(run);
    }
    match run.done.len() {
        0 => println!("nothing to do"),
        count => println!("{count} done in {:.1?}", run.duration),
    }
    Ok(())
}

async fn status(client: &tokio_postgres::Client, migrator: &Migrator, json: bool) -> Result<Outcome> {
    let status = migrator.status(client).await?;
    if json {
        print_json(&status)?;
    } else {
        for migration in &status.migrations {
            let state = match migration.state {
                State::Pending => "pending",
                State::Failed => "failed",
                State::RolledBack => "rolled back",
                State::OutOfOrder => "out of order",
                State::Completed => "completed",
                State::Changed => "changed since",
                State::Missing => "file missing",
                _ => "unknown",
            };
            let when = match migration.applied_at {
                Some(at) if migration.state.is_applied() => format!("  {at}"),
                _ => String::new(),
            };
            println!("{}  {:13}  {}{when}", migration.version, state, migration.name);
        }
    }
    let is_clean = status.pending().next().is_none() && status.drift().next().is_none();
    Ok(if is_clean { Outcome::Well } else { Outcome::PendingOrDrift })
}

/// Names each object that was checked; what differs comes with both definitions.
async fn verify(
    client: &mut tokio_postgres::Client,
    database: &Database,
    migrator: &Migrator,
    json: bool,
) -> Result<Outcome> {
    let connect = |name: String| async move { database.connect_aside("verify", Some(&name)).await };
    let verification = migrator.verify(client, &connect).await?;
    if json {
        print_json(&verification)?;
    } else {
        print_verification(&verification);
    }
    Ok(if verification.clean { Outcome::Well } else { Outcome::PendingOrDrift })
}

fn print_verification(verification: &Verification) {
    for file in &verification.files {
        let state = match file.state {
            FileState::Missing => "missing",
            _ => "changed",
        };
        println!("{state:10}  file of migration {} {}", file.version, file.name);
    }
    for object in &verification.objects {
        let (state, expected, actual) = match &object.state {
            ObjectState::Ok => ("ok", None, None),
            ObjectState::Missing { expected } => ("missing", Some(expected), None),
            ObjectState::Different { expected, actual } => ("differs", Some(expected), Some(actual)),
            ObjectState::Unexpected { actual } => ("unexpected", None, Some(actual)),
            _ => ("unknown", None, None),
        };
        println!("{state:10}  {} {}", object.kind, object.name);
        for (what, definition) in [("expected", expected), ("found", actual)] {
            if let Some(definition) = definition {
                println!("{:12}{what:8}  {definition}", "");
            }
        }
    }
    match (verification.objects.len(), verification.drift().count()) {
        (0, _) if verification.clean => println!("nothing is applied, nothing to verify"),
        (all, drift) => println!("{all} objects, {drift} not as declared, in {:.1?}", verification.duration),
    }
}

/// Tells people what happens while it happens.
struct Printer;

impl Progress for Printer {
    fn waiting(&self, event: &Waiting<'_>) {
        match event.holder {
            Some(Holder { pid, application, .. }) => {
                println!("waiting for another run to end (server process {pid}, {application:?})");
            }
            None => println!("waiting for another run to end"),
        }
    }

    fn applied(&self, event: &Finished<'_>) {
        println!("applied      {} ({:.1?})", event.file, event.duration);
    }

    fn rolled_back(&self, event: &Finished<'_>) {
        println!("rolled back  {} ({:.1?})", event.file, event.duration);
    }
}
