//! `db migrate ...`: the migrations of the configured folder, on a connection of their own.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand as ClapSubcommand;
use db_app::config::{Environment, Postgres};
use db_app::{Config, Database};
use db_migrate::{
    FileState, Finished, Holder, Migrations, Migrator, ObjectState, Progress, Run, State, Steps,
    Verification, Waiting,
};

use crate::Outcome;
use crate::output::{self, say};

#[derive(Debug, ClapSubcommand)]
pub(crate) enum Command {
    /// Apply what is pending
    Up {
        /// At most this many
        count: Option<usize>,
    },
    /// Roll back what was applied last; in production only with --yes
    Down {
        /// This many
        #[arg(default_value_t = 1)]
        count: usize,
        /// Yes, drop it
        #[arg(long)]
        yes: bool,
    },
    /// Roll back everything; only with --yes unless on a server that `db` itself started
    Reset {
        /// Yes, drop everything
        #[arg(long)]
        yes: bool,
    },
    /// Show where each migration stands; exit code 3 when something is pending or has drifted
    Status,
    /// Compare the schema with a replay of the applied migrations; exit code 3 when it differs
    Verify,
}

pub(crate) async fn run(command: Command, mut config: Config, json: bool) -> Result<Outcome> {
    if let Some(reason) = refusal(&command, &config) {
        eprintln!("error: {reason}");
        return Ok(Outcome::Refused);
    }
    let Some(migrator) = migrator(&config)? else {
        bail!("there is no folder {} (DB_MIGRATIONS_DIR)", config.migrations_dir.display());
    };
    let migrator = if json { migrator } else { migrator.progress(Arc::new(Printer)) };
    let limit = config.shutdown_timeout;
    // It works on a connection of its own: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    let outcome = execute(command, &database, &migrator, json).await;
    let closed = database.close(limit).await;
    let outcome = outcome?;
    closed?;
    Ok(outcome)
}

/// Why a command that drops things needs a yes here.
fn refusal(command: &Command, config: &Config) -> Option<String> {
    let is_production = config.environment == Environment::Production;
    match command {
        Command::Reset { yes: false } if is_production || matches!(config.postgres, Postgres::Given(_)) => {
            Some("reset drops everything that the migrations made on this server: it needs --yes".to_owned())
        }
        Command::Down { yes: false, .. } if is_production => {
            Some("down drops what the migration made, in production: it needs --yes".to_owned())
        }
        _ => None,
    }
}

/// The migrator over the configured folder; `None` when there is no such folder and nobody named one.
pub(crate) fn migrator(config: &Config) -> Result<Option<Migrator>> {
    let folder = &config.migrations_dir;
    if !config.is_migrations_dir_given && !folder.exists() {
        return Ok(None);
    }
    let migrations = Migrations::from_dir(folder).context("DB_MIGRATIONS_DIR")?;
    Ok(Some(Migrator::new(migrations)))
}

async fn execute(command: Command, database: &Database, migrator: &Migrator, json: bool) -> Result<Outcome> {
    let mut client = database.connect_aside("migrate", None).await?;
    let run = match command {
        Command::Up { count } => migrator.up(&mut client, count.map_or(Steps::All, Steps::Count)).await?,
        Command::Down { count, .. } => migrator.down(&mut client, count).await?,
        Command::Reset { .. } => migrator.reset(&mut client).await?,
        Command::Status => return status(&client, migrator, json).await,
        Command::Verify => return verify(&mut client, database, migrator, json).await,
    };
    report(&run, json)?;
    Ok(Outcome::Well)
}

fn report(run: &Run, json: bool) -> Result<()> {
    if json {
        return output::json(run);
    }
    match run.done.len() {
        0 => say!("nothing to do"),
        count => say!("{count} done in {:.1?}", run.duration),
    }
    Ok(())
}

async fn status(client: &tokio_postgres::Client, migrator: &Migrator, json: bool) -> Result<Outcome> {
    let status = migrator.status(client).await?;
    if json {
        output::json(&status)?;
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
            say!("{}  {:13}  {}{when}", migration.version, state, migration.name);
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
        output::json(&verification)?;
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
        say!("{state:10}  file of migration {} {}", file.version, file.name);
    }
    for object in &verification.objects {
        let (state, expected, actual) = match &object.state {
            ObjectState::Ok => ("ok", None, None),
            ObjectState::Missing { expected } => ("missing", Some(expected), None),
            ObjectState::Different { expected, actual } => ("differs", Some(expected), Some(actual)),
            ObjectState::Unexpected { actual } => ("unexpected", None, Some(actual)),
            _ => ("unknown", None, None),
        };
        say!("{state:10}  {} {}", object.kind, object.name);
        for (what, definition) in [("expected", expected), ("found", actual)] {
            if let Some(definition) = definition {
                say!("{:12}{what:8}  {definition}", "");
            }
        }
    }
    match (verification.objects.len(), verification.drift().count()) {
        (0, _) if verification.clean => say!("nothing is applied, nothing to verify"),
        (all, drift) => say!("{all} objects, {drift} not as declared, in {:.1?}", verification.duration),
    }
}

/// Tells people what happens while it happens.
pub(crate) struct Printer;

impl Progress for Printer {
    fn waiting(&self, event: &Waiting<'_>) {
        match event.holder {
            Some(Holder { pid, application, .. }) => {
                say!("waiting for another run to end (server process {pid}, {application:?})");
            }
            None => say!("waiting for another run to end"),
        }
    }

    fn applied(&self, event: &Finished<'_>) {
        say!("applied      {} ({:.1?})", event.file, event.duration);
    }

    fn rolled_back(&self, event: &Finished<'_>) {
        say!("rolled back  {} ({:.1?})", event.file, event.duration);
    }
}
