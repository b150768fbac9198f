//! The history set right where it disagrees with the files or with the schema, without running anything: accepted files,
//! rows of what was left half done, and a baseline for a schema that was there before.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Client;

use crate::history::{self, Change, LogAction, Reached, Took, amend_sql};
use crate::lock::Fence;
use crate::transaction::{FailureCause, Transaction};
use crate::{Direction, Error, Migration, Migrator, PlanError, Record, Result, Version};

/// What to set right beyond what [`Migrator::repair`] does by itself.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    /// Applied migrations whose files may differ by more than comments: the schema is what the new files say.
    pub accept: Vec<Version>,
    /// Migrations that were left half done, and were finished by hand.
    pub applied: Vec<Version>,
    /// Migrations that were left half done, and were undone by hand.
    pub rolled_back: Vec<Version>,
}

/// What a repair did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Repaired {
    /// The rows that were set right.
    pub repaired: Vec<RepairedRow>,
    /// Applied migrations whose files changed by more than comments, and that nobody accepted.
    pub refused: Vec<RefusedRow>,
}

/// A row that was set right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairedRow {
    /// The migration's version.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// What was done.
    pub what: RepairKind,
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairKind {
    /// The file was renamed; the row has its name now.
    Renamed,
    /// Only comments or white space of the file changed; the row has its checksum now.
    CommentsChanged,
    /// The file changed, and the caller accepted it.
    Accepted,
    /// It counts as applied.
    MarkedApplied,
    /// It counts as rolled back.
    MarkedRolledBack,
}

/// A row that was not set right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RefusedRow {
    /// The migration's version.
    pub version: Version,
    /// Its file.
    pub file: String,
}

impl Migrator {
    /// Makes the history agree with files that were renamed or in which only comments and white space changed since they
    /// were applied, and does what `repairs` asks for. Nothing of the schema is touched.
    ///
    /// # Errors
    /// [`Error::Repair`] for a version that is not what `repairs` says; [`Error::Locked`], [`Error::ReadOnly`] and
    /// [`Error::Database`] as in a run. After an error nothing is set right.
    ///
    /// # Cancel safety
    /// Everything is set right or nothing.
    pub async fn repair(&self, client: &Client, repairs: &Repairs) -> Result<Repaired> {
        self.locked(client, async |fence| {
            let records = history::load(client, self.table()).await?;
            let (found, refused) = self.find(&records, repairs)?;
            if !found.is_empty() {
                let fenced = fence.clone();
                self.recorded(client, fence, "repair", async |runner| {
                    let run = runner.run();
                    let changes = found.iter().map(|found| self.sql(found, run));
                    save(client, &fenced, changes, "repair the history").await
                })
                .await?;
            }
            let repaired = found.iter().map(Found::row).collect();
            Ok(Repaired { repaired, refused })
        })
        .await
    }

    /// Takes all migrations up to a version as applied, without running them: for a schema that was there before its
    /// history. Returns their versions.
    ///
    /// # Errors
    /// [`PlanError::HasHistory`] when something is applied already; [`PlanError::UnknownVersion`]; as in a run otherwise.
    ///
    /// # Cancel safety
    /// All of them are taken as applied or none.
    pub async fn baseline(&self, client: &Client, version: &Version) -> Result<Vec<Version>> {
        if self.migrations().find(version).is_none() {
            return Err(PlanError::UnknownVersion { version: version.clone() }.into());
        }
        self.locked(client, async |fence| {
            let records = history::load(client, self.table()).await?;
            if let Some(applied) =
                records.iter().filter(|record| record.is_applied()).max_by_key(|r| &r.version)
            {
                let applied = format!("{}_{}", applied.version, applied.name);
                return Err(PlanError::HasHistory { applied }.into());
            }
            let older = self.migrations().iter().filter(|migration| migration.version() <= version);
            let older: Vec<&Migration> = older.collect();
            let (fenced, what) = (fence.clone(), format!("baseline {version}"));
            self.recorded(client, fence, &what, async |runner| {
                let run = runner.run();
                let changes = older.iter().map(|migration| {
                    let key = key(&records, migration);
                    self.mark(migration, key, run, LogAction::Baselined, Direction::Up).sql()
                });
                save(client, &fenced, changes, "write the baseline").await
            })
            .await?;
            Ok(older.iter().map(|migration| migration.version().clone()).collect())
        })
        .await
    }

    /// What is to be set right, and what may not be.
    fn find<'a>(
        &'a self,
        records: &'a [Record],
        repairs: &Repairs,
    ) -> Result<(Vec<Found<'a>>, Vec<RefusedRow>)> {
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for (versions, what) in [
            (&repairs.applied, RepairKind::MarkedApplied),
            (&repairs.rolled_back, RepairKind::MarkedRolledBack),
        ] {
            for version in versions {
                if repairs.applied.contains(version) && repairs.rolled_back.contains(version) {
                    return Err(repair_error(version, "it cannot be both applied and rolled back"));
                }
                let (record, migration) = self.pair(records, version)?;
                if record.half().is_none() {
                    return Err(repair_error(version, "it is not half done"));
                }
                found.push(Found { record, migration, what });
            }
        }
        for version in &repairs.accept {
            let (record, migration) = self.pair(records, version)?;
            if !record.is_applied() || record.checksum == *migration.up().checksum() {
                return Err(repair_error(version, "its file is not one that changed after it was applied"));
            }
        }
        for record in records.iter().filter(|record| record.is_applied() && record.half().is_none()) {
            let Some(migration) = self.migrations().find(&record.version) else {
                continue;
            };
            let up = migration.up();
            let what = if record.checksum == *up.checksum() {
                if record.name == migration.name() && record.version.as_str() == migration.version().as_str()
                {
                    continue;
                }
                RepairKind::Renamed
            } else if record.loose_checksum == *up.loose_checksum() {
                RepairKind::CommentsChanged
            } else if repairs.accept.contains(&record.version) {
                RepairKind::Accepted
            } else {
                let (version, file) = (record.version.clone(), migration.file().to_owned());
                refused.push(RefusedRow { version, file });
                continue;
            };
            found.push(Found { record, migration, what });
        }
        Ok((found, refused))
    }

    fn pair<'a>(&'a self, records: &'a [Record], version: &Version) -> Result<(&'a Record, &'a Migration)> {
        let record = records.iter().find(|record| record.version == *version);
        let record = record.ok_or_else(|| repair_error(version, "the history does not know it"))?;
        let migration = self.migrations().find(version);
        Ok((record, migration.ok_or_else(|| repair_error(version, "its file is missing"))?))
    }

    fn sql(&self, found: &Found<'_>, run: i64) -> String {
        let Found { record, migration, what } = found;
        let repaired = LogAction::Repaired;
        match what {
            RepairKind::MarkedApplied => {
                self.mark(migration, &record.version, run, repaired, Direction::Up).sql()
            }
            RepairKind::MarkedRolledBack => {
                self.mark(migration, &record.version, run, repaired, Direction::Down).sql()
            }
            RepairKind::Renamed => amend_sql(self.table(), run, record, migration, "the file was renamed"),
            RepairKind::CommentsChanged => {
                amend_sql(self.table(), run, record, migration, "comments or white space changed")
            }
            RepairKind::Accepted => {
                amend_sql(self.table(), run, record, migration, "a changed file was accepted")
            }
        }
    }

    /// The row of a migration as if it had run to its end.
    fn mark<'a>(
        &'a self,
        migration: &'a Migration,
        key: &'a Version,
        run: i64,
        action: LogAction,
        direction: Direction,
    ) -> Change<'a> {
        let (_, status) = history::end(direction);
        let script = match direction {
            Direction::Up => Some(migration.up()),
            Direction::Down => migration.down(),
        };
        let count = script.map_or(0, |script| script.statements().len());
        Change {
            table: self.table(),
            run,
            migration,
            key,
            direction,
            is_new: false,
            action,
            status,
            reached: Reached { statement: count, attempted: count, prefix: None },
            took: Took::Known(Duration::ZERO),
            at: None,
            error: None,
        }
    }
}

struct Found<'a> {
    record: &'a Record,
    migration: &'a Migration,
    what: RepairKind,
}

impl Found<'_> {
    fn row(&self) -> RepairedRow {
        let (version, name) = (self.migration.version().clone(), self.migration.name().to_owned());
        RepairedRow { version, name, what: self.what }
    }
}

fn key<'a>(records: &'a [Record], migration: &'a Migration) -> &'a Version {
    let record = records.iter().find(|record| record.version == *migration.version());
    record.map_or(migration.version(), |record| &record.version)
}

fn repair_error(version: &Version, reason: &str) -> Error {
    Error::Repair { version: version.clone(), reason: reason.to_owned() }
}

/// All changes in one transaction, or none.
async fn save(
    client: &Client,
    fence: &Fence,
    changes: impl Iterator<Item = String>,
    doing: &str,
) -> Result<()> {
    let sql = changes.collect::<Vec<_>>().join(";");
    let saved = Transaction::record_alone(client, &sql, fence).await;
    saved.map_err(|failure| match failure.cause {
        FailureCause::Runner(error) => *error,
        FailureCause::Database(source) => Error::doing(doing)(source),
    })
}
