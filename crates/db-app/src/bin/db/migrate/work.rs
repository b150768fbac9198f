//! What each command does on the database, on a connection of its own, and which exit code comes of it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use db_app::Database;
use db_migrate::{Direction, Goal, Migrator, Run, Seeds, Steps, Version};
use serde_json::json;
use tokio_postgres::Client;

use crate::Outcome;
use crate::migrate::consent::{self, Drops, Place};
use crate::migrate::{Command, plan, report, verify};
use crate::output;

/// What a command works with.
pub(super) struct Here<'a> {
    pub(super) database: &'a Database,
    pub(super) client: &'a Client,
    pub(super) migrator: &'a Migrator,
    pub(super) place: Place,
    pub(super) seeds_dir: PathBuf,
    pub(super) json: bool,
}

/// What to set right beyond what is harmless.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Repairs {
    /// This applied migration's file is right as it is now, and so is the schema
    #[arg(long, value_name = "VERSION")]
    accept: Vec<Version>,
    /// This migration was left half done and was finished by hand
    #[arg(long, value_name = "VERSION")]
    applied: Vec<Version>,
    /// This migration was left half done and was undone by hand
    #[arg(long, value_name = "VERSION")]
    rolled_back: Vec<Version>,
}

pub(super) async fn execute(command: Command, here: Here<'_>) -> Result<Outcome> {
    let Here { database, client, migrator, json, .. } = here;
    match command {
        Command::Up { count, .. } => {
            ran(&migrator.up(client, count.map_or(Steps::All, Steps::Count)).await?, json)
        }
        Command::Down { count, .. } => ran(&migrator.down(client, count).await?, json),
        Command::To { version, yes, .. } => to(&version, yes, &here).await,
        Command::Redo { count, .. } => ran(&migrator.redo(client, count).await?, json),
        Command::Reset { .. } => ran(&migrator.reset(client).await?, json),
        Command::Status => status(&here).await,
        Command::History => {
            let history = migrator.history(client).await?;
            if json {
                output::json(&history)?
            } else {
                report::history(&history)
            }
            Ok(Outcome::Well)
        }
        Command::Plan { of, check, .. } => plan::run(&plan::goal(of), check, client, migrator, json).await,
        Command::Verify(forms) => verify::run(&forms, database, client, migrator, json).await,
        Command::Repair(repairs) => repair(repairs, &here).await,
        Command::Baseline { version } => {
            let versions = migrator.baseline(client, &version).await?;
            if json {
                output::json(&json!({ "versions": versions }))?
            } else {
                report::baseline(&versions)
            }
            Ok(Outcome::Well)
        }
        Command::Seed => seed(&here).await,
        Command::Create { .. } | Command::Lint { .. } => bail!("this command needs no database"),
    }
}

/// Whether it drops something shows only now.
async fn to(version: &Version, yes: bool, here: &Here<'_>) -> Result<Outcome> {
    let plan = here.migrator.plan(here.client, &Goal::To(version.clone())).await?;
    let is_drop = plan.steps.iter().any(|step| step.direction == Direction::Down);
    if is_drop && let Err(reason) = consent::obtain(Drops::Some("to"), here.place, yes).await {
        output::refuse(&[reason], here.json);
        return Ok(Outcome::Refused);
    }
    ran(&here.migrator.to(here.client, version).await?, here.json)
}

async fn status(here: &Here<'_>) -> Result<Outcome> {
    let status = here.migrator.status(here.client).await?;
    if here.json {
        output::json(&status)?
    } else {
        report::status(&status)
    }
    let is_clean = status.pending().next().is_none() && status.drift().next().is_none();
    Ok(if is_clean { Outcome::Well } else { Outcome::PendingOrDrift })
}

async fn repair(repairs: Repairs, here: &Here<'_>) -> Result<Outcome> {
    let Repairs { accept, applied, rolled_back } = repairs;
    let repairs = db_migrate::Repairs { accept, applied, rolled_back };
    let repaired = here.migrator.repair(here.client, &repairs).await?;
    if here.json {
        output::json(&repaired)?
    } else {
        report::repair(&repaired)
    }
    Ok(if repaired.refused.is_empty() { Outcome::Well } else { Outcome::PendingOrDrift })
}

async fn seed(here: &Here<'_>) -> Result<Outcome> {
    let environment = here.place.environment.to_string();
    let seeds = Seeds::from_dir(&here.seeds_dir, &environment)?;
    let run = here.migrator.seed(here.client, &seeds).await?;
    if here.json {
        output::json(&run)?
    } else {
        report::seeds(&run)
    }
    Ok(Outcome::Well)
}

fn ran(run: &Run, json: bool) -> Result<Outcome> {
    if json {
        output::json(run)?
    } else {
        report::run(run)
    }
    Ok(Outcome::Well)
}
