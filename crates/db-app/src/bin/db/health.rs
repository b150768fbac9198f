//! `db health`: how all components are, for people and for scripts; once, or again and again.

use std::time::Duration;

use anyhow::Result;
use db_app::{Config, Database};
use db_health::Snapshot;
use db_health::view::{self, Audience};
use serde_json::Value;

use crate::Outcome;
use crate::output::{self, say};
use crate::table::{Table, or_dash};
use crate::watch::{Look, Watch, watch};

/// What is printed.
struct Seen {
    snapshot: Snapshot,
    origin: String,
}

pub(crate) async fn run(watching: Watch, mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks from aside: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    let look = || Seen { snapshot: database.health(), origin: database.origin().to_owned() };
    let shown = match watching.every() {
        Some(every) => watch(every, json, async || look()).await.map(|()| Outcome::Well),
        None => look().print(json),
    };
    let closed = database.close(limit).await;
    let outcome = shown?;
    closed?;
    Ok(outcome)
}

impl Seen {
    fn print(&self, json: bool) -> Result<Outcome> {
        if json {
            output::json(&self.document()?)?;
        } else {
            for line in self.lines() {
                say!("{line}");
            }
        }
        Ok(if self.snapshot.is_ready() { Outcome::Well } else { Outcome::NotWell })
    }
}

impl Look for Seen {
    fn document(&self) -> Result<Value> {
        Ok(view::terminus(&self.snapshot, Audience::Insider))
    }

    fn lines(&self) -> Vec<String> {
        let Self { snapshot, origin } = self;
        let mut lines = vec![format!("{} at {:.3}: {origin}", snapshot.status(), snapshot.at), String::new()];
        let heads = ["component", "status", "reason", "took (ms)", "age (s)", "details"];
        let mut table = Table::new(3, &heads).ends_in_texts(1);
        let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        for component in &snapshot.components {
            let details = component.details.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name} {text}"),
                value => format!("{name} {value}"),
            });
            table.row([
                component.name.clone(),
                component.status.to_string(),
                or_dash(component.reason),
                millis(component.latency),
                or_dash(component.age.map(|age| format!("{:.1}", age.as_secs_f64()))),
                details.collect::<Vec<_>>().join(", "),
            ]);
        }
        lines.extend(table.lines());
        let errors = snapshot.components.iter().filter_map(|it| Some((&it.name, it.error.as_ref()?)));
        lines.extend(errors.map(|(name, error)| format!("{name}: {error}")));
        lines
    }
}
