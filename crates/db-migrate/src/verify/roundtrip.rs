//! Whether each migration can be undone and done again: up, down and up in a scratch database, with the catalogues of the
//! states in between compared. Says nothing about data, and nothing about the real database.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use super::replay::Replay;
use crate::catalogue::Catalogue;
use crate::compare::differences;
use crate::history::as_millis;
use crate::scratch::Scratch;
use crate::{Checked, Connect, Direction, Error, Migration, Migrations, Result, Settings, Version};

/// How a round trip goes. Complete: what is undone is one migration or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Roundtrip {
    /// Each migration goes up, down and up again before the next one. Finds the migration that is to blame.
    Each,
    /// All go up, all go down in reverse, all go up again. What a migration leaves behind may be removed by an older one.
    Whole,
}

/// What a round trip found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RoundtripReport {
    /// How it went.
    pub mode: Roundtrip,
    /// Whether every migration that went down left nothing behind, and came back the same.
    pub clean: bool,
    /// Every migration, oldest first.
    pub migrations: Vec<RoundtripMigration>,
    /// [`Roundtrip::Whole`]: objects that are not as they were, after all went down.
    pub after_down: Vec<Checked>,
    /// [`Roundtrip::Whole`]: objects that are not as they were the first time, after all went up again.
    pub after_up: Vec<Checked>,
    /// How long it took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// What the round trip found out about one migration.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RoundtripMigration {
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: RoundtripState,
    /// [`Roundtrip::Each`]: objects that are not as they were before it, after it went down. `expected` is how they were
    /// before it went up, so what is left behind is `unexpected`.
    pub after_down: Vec<Checked>,
    /// [`Roundtrip::Each`]: objects that are not as they were the first time, after it went up again.
    pub after_up: Vec<Checked>,
    /// Where and why it failed: file, line and what the server said.
    pub error: Option<String>,
}

/// What became of a migration in the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoundtripState {
    /// Up, down and up again, without a difference.
    Ok,
    /// It has no down file and only went up.
    Irreversible,
    /// It has a down file that was not run: a later migration, which would have to go down first, is irreversible.
    Blocked,
    /// It ran, but a catalogue is not as it was.
    Different,
    /// One of its files failed. The round trip ends here.
    Failed,
    /// The round trip ended before this one was through.
    Unfinished,
}

impl RoundtripMigration {
    fn new(migration: &Migration, state: RoundtripState) -> Self {
        Self {
            version: migration.version().clone(),
            name: migration.name().to_owned(),
            state,
            after_down: Vec::new(),
            after_up: Vec::new(),
            error: None,
        }
    }
}

pub(crate) async fn roundtrip(
    client: &Client,
    connect: &impl Connect,
    migrations: &Migrations,
    settings: &Settings,
    mode: Roundtrip,
) -> Result<RoundtripReport> {
    let began = Instant::now();
    let all =
        migrations.iter().map(|migration| RoundtripMigration::new(migration, RoundtripState::Unfinished));
    let mut report = RoundtripReport {
        mode,
        clean: false,
        migrations: all.collect(),
        after_down: Vec::new(),
        after_up: Vec::new(),
        duration: Duration::ZERO,
    };
    let steps: Vec<&Migration> = migrations.iter().collect();
    let scratch = Scratch::create(client).await?;
    let result = async {
        let replay = Replay::begin(client, connect, scratch.name(), settings).await?;
        match mode {
            Roundtrip::Each => each(&replay, &steps, &mut report).await,
            Roundtrip::Whole => whole(&replay, &steps, &mut report).await,
        }
    }
    .await;
    scratch.remove().await;
    result?;

    let good = |migration: &RoundtripMigration| {
        matches!(migration.state, RoundtripState::Ok | RoundtripState::Irreversible | RoundtripState::Blocked)
    };
    report.clean =
        report.after_down.is_empty() && report.after_up.is_empty() && report.migrations.iter().all(good);
    report.duration = began.elapsed();
    Ok(report)
}

async fn each(replay: &Replay<'_>, steps: &[&Migration], report: &mut RoundtripReport) -> Result<()> {
    let mut before = replay.catalogue().await?;
    for (migration, told) in steps.iter().zip(&mut report.migrations) {
        // A failure ends the round trip: what comes later may need what this one would have made.
        let Some(after) = one(replay, migration, &before, told).await? else { break };
        before = after;
    }
    Ok(())
}

/// Gives the state that the next migration starts from, unless this one failed.
async fn one(
    replay: &Replay<'_>,
    migration: &Migration,
    before: &Catalogue,
    told: &mut RoundtripMigration,
) -> Result<Option<Catalogue>> {
    if !ran(replay, migration, Direction::Up, told).await? {
        return Ok(None);
    }
    let up = replay.catalogue().await?;
    if migration.down().is_none() {
        told.state = RoundtripState::Irreversible;
        return Ok(Some(up));
    }
    if !ran(replay, migration, Direction::Down, told).await? {
        return Ok(None);
    }
    told.after_down = differences(before, &replay.catalogue().await?);
    if !ran(replay, migration, Direction::Up, told).await? {
        return Ok(None);
    }
    let again = replay.catalogue().await?;
    told.after_up = differences(&up, &again);
    let same = told.after_down.is_empty() && told.after_up.is_empty();
    told.state = if same { RoundtripState::Ok } else { RoundtripState::Different };
    Ok(Some(again))
}

async fn whole(replay: &Replay<'_>, steps: &[&Migration], report: &mut RoundtripReport) -> Result<()> {
    // The way down ends above the last migration that has none.
    let base = steps.iter().rposition(|migration| migration.down().is_none()).map_or(0, |last| last + 1);
    let told = &mut report.migrations;
    for (index, migration) in steps[..base].iter().enumerate() {
        if !ran(replay, migration, Direction::Up, &mut told[index]).await? {
            return Ok(());
        }
        let blocked = migration.down().is_some();
        told[index].state = if blocked { RoundtripState::Blocked } else { RoundtripState::Irreversible };
    }
    let before = replay.catalogue().await?;
    let group = base..steps.len();
    for index in group.clone() {
        if !ran(replay, steps[index], Direction::Up, &mut told[index]).await? {
            return Ok(());
        }
    }
    let up = replay.catalogue().await?;
    for index in group.clone().rev() {
        if !ran(replay, steps[index], Direction::Down, &mut told[index]).await? {
            return Ok(());
        }
    }
    report.after_down = differences(&before, &replay.catalogue().await?);
    for index in group {
        if !ran(replay, steps[index], Direction::Up, &mut told[index]).await? {
            return Ok(());
        }
        told[index].state = RoundtripState::Ok;
    }
    report.after_up = differences(&up, &replay.catalogue().await?);
    Ok(())
}

/// Whether a file ran. That the server refused it is told; that the server was not there is an error.
async fn ran(
    replay: &Replay<'_>,
    migration: &Migration,
    direction: Direction,
    told: &mut RoundtripMigration,
) -> Result<bool> {
    match replay.run(migration, direction).await {
        Ok(()) => Ok(true),
        Err(error @ Error::Failed { .. }) if refused(&error) => {
            told.state = RoundtripState::Failed;
            let said = error.database().map(|said| format!(": {said}")).unwrap_or_default();
            told.error = Some(format!("{error}{said}"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn refused(error: &Error) -> bool {
    error.database().is_some_and(|source| source.sqlstate().is_some())
}
