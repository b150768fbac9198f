//! `db migrate ...`: the migrations of the configured folder. Reads the command line and hands over; how a command works on
//! the database is in `work`, what people read of it in `report`.

mod consent;
mod create;
mod interrupt;
mod lint;
mod plan;
mod progress;
mod report;
mod verify;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Subcommand as ClapSubcommand, ValueEnum};
use db_app::config::Postgres;
use db_app::{Config, Database, OpenError};
use db_core::Kind;
use db_migrate::{Migrations, Migrator, OutOfOrder, Phase, Version};

use crate::Outcome;
use crate::migrate::consent::{Drops, Place};
use crate::migrate::interrupt::{Ended, until_signal};
pub(crate) use crate::migrate::progress::Printer;
use crate::migrate::work::Here;
use crate::output;
use crate::signals::{Signals, at_once, exit_code};

#[derive(Clone, Debug, ClapSubcommand)]
pub(crate) enum Command {
    /// Apply what is pending
    Up {
        /// At most this many
        count: Option<usize>,
        #[command(flatten)]
        choice: Choice,
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
    /// Go to a version: roll back what is newer, apply what is missing; in production only with --yes if it rolls back
    To {
        /// The version; 0 is before the first
        version: Version,
        /// Yes, drop what is newer
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        choice: Choice,
    },
    /// Roll back what was applied last and apply it again; in production only with --yes
    Redo {
        /// This many
        #[arg(default_value_t = 1)]
        count: usize,
        /// Yes, drop it
        #[arg(long)]
        yes: bool,
    },
    /// Roll back everything; only with --yes unless on a server that `db` itself started, in production only with --force too
    Reset {
        /// Yes, drop everything
        #[arg(long)]
        yes: bool,
        /// In production as well
        #[arg(long)]
        force: bool,
    },
    /// Show where each migration stands; exit code 3 when something is pending or has drifted
    Status,
    /// Show everything that ever happened to migrations here
    History,
    /// Write the files of a new migration; needs no server
    Create {
        /// What it does, such as add_phone
        name: String,
    },
    /// Show what a run would do: statements, locks, rewrites, sizes; changes nothing
    Plan {
        #[command(subcommand)]
        of: Option<plan::Of>,
        /// Exit code 3 when there is something to do
        #[arg(long, global = true)]
        check: bool,
        #[command(flatten)]
        choice: Choice,
    },
    /// Find what should be written differently in the files; needs no server; exit code 1 when it finds something
    Lint {
        /// The folder, if not that of DB_MIGRATIONS_DIR
        dir: Option<PathBuf>,
    },
    /// Compare the schema with a replay of the applied migrations; exit code 3 when it differs
    Verify(verify::Forms),
    /// Make the history agree with files in which only comments changed; exit code 3 when others changed
    Repair(work::Repairs),
    /// Take everything up to a version as applied, for a schema that was there before its history
    Baseline {
        /// The version
        version: Version,
    },
    /// Run the seeds of this kind of installation (DB_ENV), which may run again and again
    Seed,
}

/// Which migrations may run.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Choice {
    /// Only those that declare this phase
    #[arg(long, value_enum, global = true)]
    phase: Option<PhaseName>,
    /// Also those that are older than one that is applied
    #[arg(long, global = true)]
    allow_out_of_order: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PhaseName {
    Expand,
    Migrate,
    Contract,
}

pub(crate) async fn run(command: Command, mut config: Config, json: bool) -> Result<Outcome> {
    match command {
        Command::Create { name } => return create::run(&name, &config, json),
        Command::Lint { dir } => return lint::run(dir.as_deref(), &config, json),
        _ => {}
    }
    let place = Place::of(&config);
    if let Some((drops, yes)) = drops(&command)
        && let Err(reason) = consent::obtain(drops, place, yes).await
    {
        output::refuse(&[reason], json);
        return Ok(Outcome::Refused);
    }
    if let Command::Up { choice, .. } | Command::To { choice, .. } | Command::Plan { choice, .. } = &command {
        choice.apply(&mut config.migrations.settings);
    }
    let Some(migrator) = migrator(&config)? else {
        bail!("there is no folder {} (DB_MIGRATIONS_DIR)", config.migrations.dir.display());
    };
    let again = command.may_run_again().then(|| (command.clone(), config.clone()));
    match attempt(command, config, &migrator, place, json).await? {
        Attempted::Ended(outcome) => Ok(outcome),
        Attempted::LostItsServer(error) => {
            let Some((command, config)) = again else { return Err(error) };
            eprintln!("the program that had started this PostgreSQL has ended; beginning again");
            match attempt(command, config, &migrator, place, json).await? {
                Attempted::Ended(outcome) => Ok(outcome),
                Attempted::LostItsServer(error) => Err(error),
            }
        }
    }
}

/// How an attempt went.
enum Attempted {
    Ended(Outcome),
    /// The server was another program's, which has ended and taken it along.
    LostItsServer(anyhow::Error),
}

/// How long a server that is stopped may go on without its connections: it writes its last checkpoint.
const FAREWELL: Duration = Duration::from_secs(10);

async fn attempt(
    command: Command,
    config: Config,
    migrator: &Migrator,
    place: Place,
    json: bool,
) -> Result<Attempted> {
    let printer = Arc::new(Printer::new(!json));
    let now = printer.now();
    let limit = config.shutdown_timeout;
    let seeds_dir = config.migrations.seeds_dir.clone();
    let is_embedded = matches!(config.postgres, Postgres::Embedded(_));
    let database = match open(config).await {
        Ok(database) => database,
        // It was there a moment ago.
        Err(OpenError::Connect(error)) if is_embedded => return Ok(Attempted::LostItsServer(error.into())),
        Err(error) => return Err(error.into()),
    };
    let aside = database.clone();
    let watch = move |name: String| {
        let database = aside.clone();
        async move { database.connect_directly("watch", Some(&name)).await }
    };
    let migrator = migrator.clone().progress(printer).watcher(watch);

    // Until here a signal ends the program by itself: nothing is under way.
    let mut signals = Signals::install()?;
    let ended = match database.connect_directly("migrate", None).await {
        Err(error) => Ok(Ended::ByItself(Err(error.into()))),
        Ok(client) => {
            let here =
                Here { database: &database, client: &client, migrator: &migrator, place, seeds_dir, json };
            let work = work::execute(command, here);
            until_signal(&database, &client, &now, &mut signals, work).await
        }
    };
    let is_cut_off = matches!(&ended, Ok(Ended::ByItself(Err(error))) if is_of_connection(error));
    let has_lost_its_server = is_cut_off && database.has_lost_its_server(FAREWELL).await;
    let closed = tokio::select! {
        closed = database.close(limit) => closed,
        kind = signals.next() => at_once(exit_code(kind)),
    };
    let outcome = match ended? {
        Ended::ByItself(Err(error)) if has_lost_its_server => return Ok(Attempted::LostItsServer(error)),
        Ended::ByItself(outcome) => outcome?,
        Ended::Interrupted { code, result } => report::interrupted(code, result.as_ref(), &migrator, json),
    };
    closed?;
    Ok(Attempted::Ended(outcome))
}

fn is_of_connection(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<db_core::Error>());
    causes.any(|cause| cause.kind() == Kind::Connection)
}

/// Opens the database by the way for migrations: what is in between on the other way need not even run.
async fn open(mut config: Config) -> Result<Database, OpenError> {
    if let Some(target) = config.migrations.target.take() {
        config.postgres = Postgres::Given(target);
        config.pool.pooler = db_pool::Pooler::None;
    }
    // It works on a connection of its own: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    Ok(database)
}

/// The migrator over the configured folder; `None` when there is no such folder and nobody named one.
pub(crate) fn migrator(config: &Config) -> Result<Option<Migrator>> {
    let folder = &config.migrations.dir;
    if !config.migrations.is_dir_given && !folder.exists() {
        return Ok(None);
    }
    let migrations = Migrations::from_dir(folder).context("DB_MIGRATIONS_DIR")?;
    Ok(Some(Migrator::new(migrations).settings(config.migrations.settings.clone())))
}

/// What a command drops, as far as the command line tells, and whether somebody said yes to it.
fn drops(command: &Command) -> Option<(Drops, bool)> {
    match command {
        Command::Reset { yes, force } => Some((Drops::Everything { force: *force }, *yes)),
        Command::Down { yes, .. } => Some((Drops::Some("down"), *yes)),
        Command::Redo { yes, .. } => Some((Drops::Some("redo"), *yes)),
        _ => None,
    }
}

impl Command {
    /// Whether it ends the same however often it runs, also when a first run got somewhere.
    fn may_run_again(&self) -> bool {
        match self {
            Self::Up { count, .. } => count.is_none(),
            Self::Status | Self::History | Self::Plan { .. } | Self::Verify(_) | Self::Seed => true,
            _ => false,
        }
    }
}

impl Choice {
    fn apply(self, settings: &mut db_migrate::Settings) {
        settings.phase = self.phase.map(|phase| match phase {
            PhaseName::Expand => Phase::Expand,
            PhaseName::Migrate => Phase::Migrate,
            PhaseName::Contract => Phase::Contract,
        });
        if self.allow_out_of_order {
            settings.out_of_order = OutOfOrder::Allow;
        }
    }
}

impl Place {
    fn of(config: &Config) -> Self {
        Self {
            environment: config.environment,
            is_server_ours: matches!(config.postgres, Postgres::Embedded(_)),
        }
    }
}
