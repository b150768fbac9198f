//! `db doctor`: what a service relies on and a server may lack, and what will hurt it later. Reads only, and as any role: what it
//! may not see it says.

mod connections;
mod extensions;
mod finding;
mod privileges;
mod settings;
mod upkeep;
mod version;

use anyhow::Result;
use db_app::config::Environment;
use db_app::core::SqlState;
use db_app::{Config, Database};

use self::connections::Asked;
use self::finding::{Finding, Grade};
use crate::Outcome;
use crate::output::{self, say};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many instances of the service share the server, each with pools as configured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    instances: u32,
}

pub(crate) async fn run(options: Options, mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    let asked = Asked::of(&config, options.instances);
    let environment = config.environment;
    // It looks once: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    let findings = examine(&database, &asked, environment).await;
    let closed = database.close(limit).await;
    let findings = findings?;
    if json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            say!("{}", finding.line());
        }
        let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
        say!("problems: {}, advice: {}", count(Grade::Problem), count(Grade::Advice));
    }
    closed?;
    Ok(if findings.iter().all(|finding| finding.ok) { Outcome::Well } else { Outcome::NotWell })
}

async fn examine(
    database: &Database,
    asked: &Asked,
    environment: Environment,
) -> db_app::core::Result<Vec<Finding>> {
    let server = database.server();
    let mut findings = vec![version::judge(&server.version, server.time.as_second())];
    findings.push(if server.is_standby {
        Finding::problem("role", "standby: it takes no writes", "connect to the primary")
    } else {
        Finding::ok("role", "primary")
    });
    findings.extend(seen("extensions", extensions::examine(database).await)?);
    findings.extend(seen("privileges", privileges::examine(database).await)?);
    findings.extend(seen("connections", connections::examine(database, asked).await)?);
    findings.extend(seen("settings", settings::examine(database, environment).await)?);
    findings.extend(seen("transaction ids", upkeep::wraparound(database).await)?);
    findings.extend(seen("replication slots", upkeep::slots(database).await)?);
    findings.extend(seen("prepared transactions", upkeep::prepared(database).await)?);
    findings.extend(seen("indexes", upkeep::indexes(database).await)?);
    Ok(findings)
}

/// The findings, or that this role may not see what they come from.
fn seen(check: &str, found: db_app::core::Result<Vec<Finding>>) -> db_app::core::Result<Vec<Finding>> {
    match found {
        Err(error) if error.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE) => {
            Ok(vec![Finding::hidden(check)])
        }
        found => found,
    }
}
