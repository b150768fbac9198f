//! The extensions that services rely on: installed, and loaded where that is needed.

use db_app::Database;
use db_app::prelude::*;

use super::finding::Finding;

/// What the compose file installs.
const EXTENSIONS: [&str; 4] = ["uuid-ossp", "pgcrypto", "pg_trgm", "pg_stat_statements"];

pub(super) async fn examine(database: &Database) -> db_app::core::Result<Vec<Finding>> {
    let installed: Vec<(String, String)> =
        database.query("SELECT extname::text, extversion FROM pg_catalog.pg_extension", &[]).await?;
    let of = |name: &&str| {
        let check = format!("extension {name}");
        match installed.iter().find(|(other, _)| other == name) {
            Some((_, version)) => Finding::ok(check, format!("version {version}")),
            None => Finding::problem(check, "not installed", format!("CREATE EXTENSION \"{name}\"")),
        }
    };
    let mut findings: Vec<Finding> = EXTENSIONS.iter().map(of).collect();
    findings.push(statistics(database).await?);
    Ok(findings)
}

/// Installed is not enough for this one: the library must be loaded when the server starts.
async fn statistics(database: &Database) -> db_app::core::Result<Finding> {
    let (is_loaded, is_installed): (bool, bool) = database
        .one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.max'),
                    EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_stat_statements')",
            &[],
        )
        .await?;
    let check = "statement statistics";
    Ok(match (is_loaded, is_installed) {
        (true, true) => Finding::ok(check, "collected"),
        (true, false) => {
            Finding::problem(check, "collected, but not to be read", "CREATE EXTENSION pg_stat_statements")
        }
        (false, _) => {
            let fix = "add pg_stat_statements to shared_preload_libraries and restart the server";
            Finding::problem(check, "not collected", fix)
        }
    })
}
