//! `db migrate plan`: what a run would do and whom that keeps waiting: statements, locks, rewrites, hazards, and how large the
//! tables are. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use clap::Subcommand;
use db_app::core::Query;
use db_migrate::{Effect, Goal, Migrator, PlannedStep, StatementEffects, Steps, Version, effects};
use serde::Serialize;
use tokio_postgres::Client;

use crate::Outcome;
use crate::output::{self, say};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Of {
    /// Of applying what is pending, which is also the default
    Up {
        /// At most this many
        count: Option<usize>,
    },
    /// Of rolling back
    Down {
        /// This many
        #[arg(default_value_t = 1)]
        count: usize,
    },
    /// Of going to a version, up or down
    To {
        /// The version
        version: Version,
    },
    /// Of rolling back and applying again
    Redo {
        /// This many
        #[arg(default_value_t = 1)]
        count: usize,
    },
    /// Of rolling back everything
    Reset,
}

/// What would be done.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    #[serde(flatten)]
    step: &'a PlannedStep<'a>,
    statements: Vec<Statement>,
}

#[derive(Debug, Serialize)]
struct Statement {
    line: u32,
    statement: String,
    hazard: Option<String>,
    effects: Vec<SizedEffect>,
}

/// An effect, with the size of what it is on.
#[derive(Debug, Serialize)]
struct SizedEffect {
    #[serde(flatten)]
    effect: Effect,
    /// What the server estimates; none for what does not exist yet, or was never counted.
    rows: Option<i64>,
    /// With indexes and everything.
    bytes: Option<i64>,
}

pub(super) fn goal(of: Option<Of>) -> Goal {
    match of {
        None => Goal::Up(Steps::All),
        Some(Of::Up { count }) => Goal::Up(count.map_or(Steps::All, Steps::Count)),
        Some(Of::Down { count }) => Goal::Down(count),
        Some(Of::To { version }) => Goal::To(version),
        Some(Of::Redo { count }) => Goal::Redo(count),
        Some(Of::Reset) => Goal::Reset,
    }
}

/// With `check`, the exit code tells whether there is something to do.
pub(super) async fn run(
    goal: &Goal,
    check: bool,
    client: &Client,
    migrator: &Migrator,
    json: bool,
) -> Result<Outcome> {
    let plan = migrator.plan(client, goal).await?;
    let all: Vec<_> = plan.steps.iter().map(|step| (step, effects(step.script))).collect();
    let sizes = sizes(client, &all).await;
    let step = |(step, effects): (_, Vec<_>)| {
        let statements = effects.into_iter().map(|effects| Statement::new(effects, &sizes)).collect();
        Step { step, statements }
    };
    let planned = Planned { steps: all.into_iter().map(step).collect() };
    if json {
        output::json(&planned)?;
    } else {
        print(&planned);
    }
    Ok(if check && !planned.steps.is_empty() { Outcome::PendingOrDrift } else { Outcome::Well })
}

type Sizes = BTreeMap<String, (Option<i64>, i64)>;

/// The size of each relation that the statements name, as far as it exists. A plan without sizes is still one, so that failing
/// to find them out is no error.
async fn sizes(client: &Client, all: &[(&PlannedStep<'_>, Vec<StatementEffects>)]) -> Sizes {
    let statements = all.iter().flat_map(|(_, statements)| statements);
    let effects = statements.flat_map(|statement| &statement.effects);
    let names: BTreeSet<&str> = effects.map(|effect| effect.relation.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    // Never counted is -1, and 0 before PostgreSQL 14.
    let sql = "SELECT name, CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 END,
                      pg_catalog.pg_total_relation_size(c.oid)
               FROM unnest($1::text[]) AS name
               JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(name)";
    let rows: Result<Vec<(String, Option<i64>, i64)>, _> = Query::query(client, sql, &[&names]).await;
    rows.unwrap_or_default().into_iter().map(|(name, rows, bytes)| (name, (rows, bytes))).collect()
}

impl Statement {
    fn new(effects: StatementEffects, sizes: &Sizes) -> Self {
        let StatementEffects { statement, line, effects, hazard, .. } = effects;
        let sized = |effect: Effect| {
            let size = sizes.get(&effect.relation).filter(|_| !effect.new);
            SizedEffect { rows: size.and_then(|size| size.0), bytes: size.map(|size| size.1), effect }
        };
        Self { line, statement, hazard, effects: effects.into_iter().map(sized).collect() }
    }
}

fn print(planned: &Planned<'_>) {
    for Step { step, statements } in &planned.steps {
        say!("{}", step.file);
        for statement in statements {
            say!("  {}: {}", statement.line, statement.statement);
            statement.effects.iter().for_each(print_effect);
            if let Some(hazard) = &statement.hazard {
                say!("      hazard: {hazard}");
            }
        }
    }
    match planned.steps.len() {
        0 => say!("nothing to do"),
        count => say!("{count} to do; nothing was changed"),
    }
}

fn print_effect(sized: &SizedEffect) {
    let SizedEffect { effect, rows, bytes } = sized;
    let rows = rows.map(|rows| format!(", about {rows} rows"));
    let bytes = bytes.map(|bytes| format!(", {}", size(bytes)));
    let waiting = match (effect.new, effect.lock) {
        (true, _) => ", which is new",
        (_, lock) if lock.blocks_reads() => ": reads and writes wait",
        (_, lock) if lock.blocks_writes() => ": writes wait",
        _ => "",
    };
    let (rows, bytes) = (rows.unwrap_or_default(), bytes.unwrap_or_default());
    say!("      {} on {}{rows}{bytes}{waiting}", effect.lock, effect.relation);
    if effect.rewrites {
        say!("      writes every row anew");
    }
    if effect.scans {
        say!("      reads every row");
    }
    if let Some(hazard) = &effect.hazard {
        say!("      hazard: {hazard}");
    }
}

fn size(bytes: i64) -> String {
    const KB: i64 = 1 << 10;
    const MB: i64 = 1 << 20;
    const GB: i64 = 1 << 30;
    match bytes {
        GB.. => format!("{:.1} GB", bytes as f64 / GB as f64),
        MB..GB => format!("{} MB", bytes / MB),
        KB..MB => format!("{} kB", bytes / KB),
        ..KB => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        let check = |bytes, expect: &str| assert_eq!(size(bytes), expect);
        check(0, "0 bytes");
        check(8_192, "8 kB");
        check(5 * 1_048_576, "5 MB");
        check(3 * 536_870_912, "1.5 GB");
    }
}
