//! The clock: who runs when, and how long it took, in seconds.
//!
//! Tools take turns within each round, each time from another one on, so that a machine that slows down slows all of them
//! down.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use db_core::{Error, Phase};
use db_migrate::{Migration, Migrations, Migrator, Steps, lint};

use crate::migrate::Plan;
use crate::migrate::server::Server;
use crate::migrate::tools::{Tool, Turn};
use crate::migrate::workload::{large, small};

/// The turns of one tool, a round each.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) tool: Tool,
    pub(crate) turns: Vec<Turn>,
}

/// The large file, each time.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) split: Vec<f64>,
    /// From the same start.
    pub(crate) with_lint: Vec<f64>,
}

/// Migration 001 of the repository, a cycle each.
#[derive(Debug, Default)]
pub(crate) struct First {
    pub(crate) up: Vec<f64>,
    pub(crate) verify: Vec<f64>,
    /// An empty database created and dropped, which verification cannot do without.
    pub(crate) empty: Vec<f64>,
    pub(crate) down: Vec<f64>,
}

/// All tools with the small migrations, round after round.
pub(crate) async fn many(server: &Server, plan: &Plan) -> Result<Vec<Turns>> {
    let files = small();
    let mut all: Vec<_> = Tool::ALL.map(|tool| Turns { tool, turns: Vec::new() }).into();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        for place in 0..Tool::ALL.len() {
            let Turns { tool, turns } = &mut all[(place + round) % Tool::ALL.len()];
            let database = server.fresh("many").await?;
            let turn = tool.turn(&database, &files, plan.reads).await;
            turns.push(turn.with_context(|| tool.package())?);
            database.remove().await?;
        }
    }
    Ok(all)
}

/// Splitting the large file into statements, and linting them.
pub(crate) fn split(plan: &Plan) -> Result<Split> {
    let text = large();
    let mut all = Split::default();
    for _ in 0..plan.splits {
        let began = Instant::now();
        let migrations = Migrations::new([Migration::new("001_large", &text, None)?])?;
        all.split.push(seconds_since(began));
        black_box(lint(&migrations));
        all.with_lint.push(seconds_since(began));
    }
    Ok(all)
}

/// Migration 001 of the repository: up, verified and down.
pub(crate) async fn first(server: &Server, plan: &Plan) -> Result<First> {
    let migrations = Migrations::from_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"))?;
    let first = migrations.iter().next().context("there is no migration 001")?.clone();
    let migrator = Migrator::new(Migrations::new([first])?);
    let connect = |database: String| async move {
        let connected = server.connect_to(&database).await;
        connected.map_err(|error| Error::from_driver(&error, Phase::Connect))
    };
    let mut all = First::default();
    for _ in 0..plan.cycles {
        let database = server.fresh("first").await?;
        let client = database.client().await?;
        let began = Instant::now();
        migrator.up(&client, Steps::All).await?;
        all.up.push(seconds_since(began));

        let began = Instant::now();
        let verification = migrator.verify(&client, &connect).await?;
        all.verify.push(seconds_since(began));
        ensure!(verification.clean, "migration 001 is not as declared: {verification:?}");

        let began = Instant::now();
        client.batch_execute("CREATE DATABASE bench_empty TEMPLATE template0").await?;
        client.batch_execute("DROP DATABASE bench_empty").await?;
        all.empty.push(seconds_since(began));

        let began = Instant::now();
        migrator.down(&client, 1).await?;
        all.down.push(seconds_since(began));
        drop(client);
        database.remove().await?;
    }
    Ok(all)
}

pub(crate) fn seconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}
