//! One way to drive each tool: the text of the migrations in, a migrated database out, and then what it knows of it. Each
//! runs as its documentation shows, with a transaction for every migration.

use std::time::Instant;

use anyhow::{Result, ensure};
use db_migrate::{Migration, Migrations, Migrator, Steps};
use refinery_core::{Migration as RefineryMigration, Runner};
use serde::Serialize;
use sqlx::migrate::{Migrate as _, Migration as SqlxMigration, MigrationType, Migrator as SqlxMigrator};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _};

use crate::migrate::measure::seconds_since;
use crate::migrate::server::Fresh;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tool {
    Ours,
    Sqlx,
    Refinery,
}

/// Seconds of one turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// From the text of the files to the last commit.
    pub(crate) up: f64,
    /// Reading what is applied, each time.
    pub(crate) reads: Vec<f64>,
}

impl Tool {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Sqlx, Self::Refinery];

    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Ours => "db-migrate",
            Self::Sqlx => "sqlx",
            Self::Refinery => "refinery-core",
        }
    }

    /// Migrates a fresh database and reads its state. The connection is opened before the clock starts.
    pub(crate) async fn turn(
        self,
        database: &Fresh<'_>,
        files: &[(usize, String)],
        reads: usize,
    ) -> Result<Turn> {
        match self {
            Self::Ours => ours(database, files, reads).await,
            Self::Sqlx => sqlx(database, files, reads).await,
            Self::Refinery => refinery(database, files, reads).await,
        }
    }
}

async fn ours(database: &Fresh<'_>, files: &[(usize, String)], reads: usize) -> Result<Turn> {
    let client = database.client().await?;
    let began = Instant::now();
    let migrations =
        files.iter().map(|(version, text)| Migration::new(&format!("{version:04}_step"), text, None));
    let migrator = Migrator::new(Migrations::new(migrations.collect::<Result<Vec<_>, _>>()?)?);
    migrator.up(&client, Steps::All).await?;
    let up = seconds_since(began);

    let mut turn = Turn { up, reads: Vec::with_capacity(reads) };
    for _ in 0..reads {
        let began = Instant::now();
        let status = migrator.status(&client).await?;
        turn.reads.push(seconds_since(began));
        ensure!(
            status.migrations.len() == files.len() && status.pending().count() == 0,
            "not all are applied"
        );
    }
    Ok(turn)
}

async fn sqlx(database: &Fresh<'_>, files: &[(usize, String)], reads: usize) -> Result<Turn> {
    let mut connection = database.sqlx_options()?.connect().await?;
    let began = Instant::now();
    let migration = |(version, text): &(usize, String)| {
        let sql = AssertSqlSafe(text.clone()).into_sql_str();
        let version = i64::try_from(*version)?;
        Ok(SqlxMigration::new(version, "step".into(), MigrationType::Simple, sql, false))
    };
    let migrator = SqlxMigrator::with_migrations(files.iter().map(migration).collect::<Result<_>>()?);
    migrator.run(&mut connection).await?;
    let up = seconds_since(began);

    let mut turn = Turn { up, reads: Vec::with_capacity(reads) };
    for _ in 0..reads {
        let began = Instant::now();
        let applied = connection.list_applied_migrations(&migrator.table_name).await?;
        turn.reads.push(seconds_since(began));
        ensure!(applied.len() == files.len(), "not all are applied");
    }
    connection.close().await?;
    Ok(turn)
}

async fn refinery(database: &Fresh<'_>, files: &[(usize, String)], reads: usize) -> Result<Turn> {
    let mut client = database.client().await?;
    let began = Instant::now();
    let migrations =
        files.iter().map(|(version, text)| RefineryMigration::unapplied(&format!("V{version}__step"), text));
    let runner = Runner::new(&migrations.collect::<Result<Vec<_>, _>>()?);
    runner.run_async(&mut client).await?;
    let up = seconds_since(began);

    let mut turn = Turn { up, reads: Vec::with_capacity(reads) };
    for _ in 0..reads {
        let began = Instant::now();
        let applied = runner.get_applied_migrations_async(&mut client).await?;
        turn.reads.push(seconds_since(began));
        ensure!(applied.len() == files.len(), "not all are applied");
    }
    Ok(turn)
}
