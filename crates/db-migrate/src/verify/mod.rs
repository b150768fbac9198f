//! Whether the database is what its migrations say: they are replayed elsewhere and the catalogues compared. It says
//! nothing about the data.

pub(crate) mod data;
pub(crate) mod replay;
pub(crate) mod roundtrip;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use self::replay::Replay;
use crate::catalogue::{Catalogue, Snapshot};
use crate::compare::compare;
use crate::history::{self, as_millis};
use crate::plan::applied;
use crate::scratch::Scratch;
use crate::{Checked, Connect, Direction, Error, Migration, Migrations, Record, Result, Settings, Version};

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Whether everything is as declared.
    pub clean: bool,
    /// Applied migrations whose files are no more what they were. With a file missing nothing can be replayed, and
    /// `objects` is empty.
    pub files: Vec<FileDrift>,
    /// Every object that was checked, by kind and name.
    pub objects: Vec<Checked>,
    /// How long it took; in JSON `duration_ms`, whole milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

/// An applied migration whose file is no more what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileDrift {
    /// The migration's version.
    pub version: Version,
    /// The migration's name.
    pub name: String,
    /// What became of the file.
    pub state: FileState,
}

/// What became of the file of an applied migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// It was changed.
    Changed,
    /// It is gone.
    Missing,
}

impl Verification {
    /// The objects that are not as declared.
    pub fn drift(&self) -> impl Iterator<Item = &Checked> {
        self.objects.iter().filter(|object| !object.is_ok())
    }
}

pub(crate) async fn verify(
    client: &Client,
    connect: &impl Connect,
    migrations: &Migrations,
    settings: &Settings,
) -> Result<Verification> {
    let began = Instant::now();
    let (records, actual) = read(client, settings).await?;
    let (steps, files) = pair(&applied(&records), migrations);

    let replayable = !steps.is_empty() && files.iter().all(|file| file.state != FileState::Missing);
    let objects = if replayable {
        let scratch = Scratch::create(client).await?;
        let expected = declared(client, connect, scratch.name(), &steps, settings).await;
        scratch.remove().await;
        compare(&expected?, &actual)
    } else {
        Vec::new()
    };
    let clean = files.is_empty() && objects.iter().all(Checked::is_ok);
    Ok(Verification { clean, files, objects, duration: began.elapsed() })
}

/// History and catalogue as of one moment, so that a migration under way shows as a whole or not at all.
async fn read(client: &Client, settings: &Settings) -> Result<(Vec<Record>, Catalogue)> {
    let failed = || Error::doing("read the catalogue");
    let snapshot = Snapshot::begin(client).await.map_err(failed())?;
    let records = history::load(client, &settings.table).await?;
    let catalogue = snapshot.catalogue(&settings.table).await.map_err(failed())?;
    snapshot.end().await.map_err(failed())?;
    Ok((records, catalogue))
}

/// The files of what is applied, in the order of application, and those that are not what they were.
fn pair<'a>(applied: &[&Record], migrations: &'a Migrations) -> (Vec<&'a Migration>, Vec<FileDrift>) {
    let (mut steps, mut drift) = (Vec::new(), Vec::new());
    for record in applied {
        let migration = migrations.find(&record.version);
        steps.extend(migration);
        let state = match migration {
            None => FileState::Missing,
            Some(migration) if *migration.up().checksum() != record.checksum => FileState::Changed,
            Some(_) => continue,
        };
        drift.push(FileDrift { version: record.version.clone(), name: record.name.clone(), state });
    }
    (steps, drift)
}

/// What the migrations declare, by doing it.
async fn declared(
    client: &Client,
    connect: &impl Connect,
    database: &str,
    steps: &[&Migration],
    settings: &Settings,
) -> Result<Catalogue> {
    let replay = Replay::begin(client, connect, database, settings).await?;
    for migration in steps {
        replay.run(migration, Direction::Up).await?;
    }
    replay.catalogue().await
}
