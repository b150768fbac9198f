//! `db doctor`: what a service relies on and a server may lack: extensions that work, and a role with no more power than it
//! needs. Reads only.

use anyhow::Result;
use db_app::prelude::*;
use db_app::{Config, Database};
use serde::Serialize;

use crate::Outcome;
use crate::output::{self, say};

/// What the compose file installs.
const EXTENSIONS: [&str; 4] = ["uuid-ossp", "pgcrypto", "pg_trgm", "pg_stat_statements"];

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    ok: bool,
    /// What is there, or what to do.
    note: String,
}

pub(crate) async fn run(mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks once: nothing is to be kept ready.
    config.pool.min = 0;
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    let findings = examine(&database).await;
    let closed = database.close(limit).await;
    let findings = findings?;
    if json {
        output::json(&findings)?;
    } else {
        for Finding { check, ok, note } in &findings {
            say!("{:7}  {check}: {note}", if *ok { "ok" } else { "problem" });
        }
    }
    closed?;
    Ok(if findings.iter().all(|finding| finding.ok) { Outcome::Well } else { Outcome::NotWell })
}

async fn examine(database: &Database) -> db_app::core::Result<Vec<Finding>> {
    let server = database.server();
    let mut findings = vec![Finding::new("server", true, format!("PostgreSQL {}", server.version))];
    let role = !server.is_standby;
    findings.push(Finding::new("role", role, if role { "primary" } else { "standby: it takes no writes" }));
    for name in EXTENSIONS {
        findings.push(extension(database, name).await?);
    }
    findings.push(statistics(database).await?);
    findings.extend(privileges(database).await?);
    Ok(findings)
}

async fn extension(database: &Database, name: &str) -> db_app::core::Result<Finding> {
    let installed: Option<String> =
        database.one_or_none("SELECT extversion FROM pg_extension WHERE extname = $1", &[&name]).await?;
    let check = format!("extension {name}");
    Ok(match installed {
        Some(version) => Finding::new(check, true, format!("version {version}")),
        None => Finding::new(check, false, format!("not installed: CREATE EXTENSION \"{name}\"")),
    })
}

/// Installed is not enough for this one: the library must be loaded when the server starts.
async fn statistics(database: &Database) -> db_app::core::Result<Finding> {
    let loaded: bool = database
        .one(
            "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max')
                 AND EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')",
            &[],
        )
        .await?;
    let note = if loaded {
        "collected"
    } else {
        "not collected: set shared_preload_libraries=pg_stat_statements and restart the server"
    };
    Ok(Finding::new("statement statistics", loaded, note))
}

#[derive(FromRow)]
struct Privileges {
    role: String,
    is_superuser: bool,
    creates_databases: bool,
    creates_roles: bool,
    replicates: bool,
    creates_in_public: bool,
}

async fn privileges(database: &Database) -> db_app::core::Result<Vec<Finding>> {
    let may: Privileges = database
        .one(
            "SELECT rolname::text AS role, rolsuper AS is_superuser, rolcreatedb AS creates_databases,
                    rolcreaterole AS creates_roles, rolreplication AS replicates,
                    has_schema_privilege('public', 'CREATE') AS creates_in_public
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let advice = "services should connect as a role without it (docker/init/002_application_role.sh)";
    let check = |what: &str, has: bool| {
        let note =
            if has { format!("{} has it: {advice}", may.role) } else { format!("{} lacks it", may.role) };
        Finding::new(format!("privilege {what}"), !has, note)
    };
    Ok(vec![
        check("superuser", may.is_superuser),
        check("create databases", may.creates_databases),
        check("create roles", may.creates_roles),
        check("replication", may.replicates),
        check("create in schema public", may.creates_in_public),
    ])
}

impl Finding {
    fn new(check: impl Into<String>, ok: bool, note: impl Into<String>) -> Self {
        Self { check: check.into(), ok, note: note.into() }
    }
}
