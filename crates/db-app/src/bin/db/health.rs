//! `db health`: one look at the database, for people and for scripts.

use anyhow::Result;
use db_app::{Config, Database};
use db_health::view::{self, Audience};

use crate::Outcome;
use crate::output::{self, say};

pub(crate) async fn run(mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks once: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    let snapshot = database.health();
    if json {
        output::json(&view::terminus(&snapshot, Audience::Insider))?;
    } else {
        say!("{}: {}", snapshot.status(), database.origin());
        for component in &snapshot.components {
            let details: Vec<_> =
                component.details.iter().map(|(name, value)| format!("{name} {value}")).collect();
            say!("  {}: {}  {}", component.name, component.status, details.join(", "));
        }
    }
    let outcome = if snapshot.is_ready() { Outcome::Well } else { Outcome::NotWell };
    database.close(limit).await?;
    Ok(outcome)
}
