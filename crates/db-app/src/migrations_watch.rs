//! Where the service's migrations stand, as a check that looks now and then, and as figures for pages and metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Cause, Error, Finding, Phase, Probe, Result, Signal};
use db_health::{Aspect, Check};
use db_migrate::{Migrator, Status};
use jiff::Timestamp;
use serde::Serialize;

use crate::watched::Watched;

/// How often to look: they change when somebody deploys.
const INTERVAL: Duration = Duration::from_secs(30);

/// How many of the newest are told.
const LAST: usize = 5;

/// Where the migrations stand.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationFigures {
    /// How many are applied.
    pub applied: u64,
    /// How many are not.
    pub pending: u64,
    /// The newest version that is applied.
    pub newest: Option<String>,
    /// The newest of all, newest first.
    pub last: Vec<MigrationLine>,
}

/// One migration.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationLine {
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Where it stands, as `db migrate status` says it.
    pub status: db_migrate::State,
    /// When it was applied.
    pub at: Option<Timestamp>,
    /// How long that took, in milliseconds.
    pub took_ms: Option<f64>,
}

/// A probe of them. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct MigrationsProbe(Arc<Inner>);

struct Inner {
    server: Arc<Watched>,
    migrator: Migrator,
    seen: Mutex<Option<MigrationFigures>>,
}

impl MigrationsProbe {
    pub(crate) fn new(server: Arc<Watched>, migrator: Migrator) -> Self {
        Self(Arc::new(Inner { server, migrator, seen: Mutex::default() }))
    }

    /// As a check: the service lives without what is pending, which it may have been written for.
    pub(crate) fn check(&self) -> Check {
        let check = Check::new(self.clone()).aspect(Aspect::SchemaIntegrity).non_critical().internal();
        check.interval(INTERVAL).timeout(Duration::from_secs(5))
    }

    /// As they were seen last.
    pub(crate) fn figures(&self) -> Option<MigrationFigures> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Probe for MigrationsProbe {
    fn name(&self) -> &str {
        "migrations"
    }

    async fn check(&self) -> Result<Finding> {
        let client = self.0.server.client().await?;
        let status = self.0.migrator.status(&client).await.map_err(|error| match error {
            db_migrate::Error::Database { source, .. } => source,
            other => Error::new(Signal::new(Cause::UnexpectedResult, Phase::Execute), other.to_string()),
        })?;
        let has_drifted = status.drift().next().is_some();
        let figures = MigrationFigures::of(&status);
        let finding = match figures.pending {
            _ if has_drifted => Finding::degraded("migrations_drifted"),
            0 => Finding::healthy(),
            _ => Finding::degraded("migrations_pending"),
        };
        let finding = finding.with("applied", figures.applied).with("pending", figures.pending);
        let finding = finding.with("newest", figures.newest.clone());
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
        Ok(finding)
    }
}

impl MigrationFigures {
    fn of(status: &Status) -> Self {
        let (applied, pending): (Vec<_>, Vec<_>) =
            status.migrations.iter().partition(|migration| migration.state.is_applied());
        let line = |migration: &db_migrate::MigrationStatus| MigrationLine {
            version: migration.version.to_string(),
            name: migration.name.clone(),
            status: migration.state,
            at: migration.applied_at,
            took_ms: migration.duration.map(|took| took.as_secs_f64() * 1e3),
        };
        Self {
            applied: applied.len() as u64,
            pending: pending.len() as u64,
            newest: applied.last().map(|migration| migration.version.to_string()),
            last: status.migrations.iter().rev().take(LAST).map(line).collect(),
        }
    }
}
