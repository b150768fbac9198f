//! `db health`: one look at the database, for people and for scripts.

use anyhow::Result;
use db_app::{Config, Database};
use db_health::view::{self, Audience};

use crate::{Outcome, print_json};

pub(crate) async fn run(config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    let database = Database::open(config).await?;
    let snapshot = database.health();
    if json {
        print_json(&view::terminus(&snapshot, Audience::Insider))?;
    } else {
        println!("{}: {}", snapshot.status(), database.origin());
        for component in &snapshot.components {
            let details: Vec<_> =
                component.details.iter().map(|(name, value)| format!("{name} {value}")).collect();
            println!("  {}: {}  {}", component.name, component.status, details.join(", "));
        }
    }
    let outcome = if snapshot.is_ready() { Outcome::Well } else { Outcome::NotWell };
    database.close(limit).await?;
    Ok(outcome)
}
