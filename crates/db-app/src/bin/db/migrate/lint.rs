//! `db migrate lint`: what should be written differently in the files. Needs no server and starts none.

use std::path::Path;

use anyhow::{Context, Result, bail};
use db_app::Config;
use db_migrate::{Finding, Migrations, Severity, lint};
use serde::Serialize;

use crate::Outcome;
use crate::output::{self, say};

#[derive(Debug, Serialize)]
struct Linted {
    clean: bool,
    files: usize,
    findings: Vec<Finding>,
}

pub(super) fn run(dir: Option<&Path>, config: &Config, json: bool) -> Result<Outcome> {
    let (dir, named_by) = match dir {
        Some(dir) => (dir, "lint"),
        None => (config.migrations.dir.as_path(), "DB_MIGRATIONS_DIR"),
    };
    let linted = examine(dir).context(named_by)?;
    if json {
        output::json(&linted)?;
    } else {
        print(&linted);
    }
    Ok(if linted.clean { Outcome::Well } else { Outcome::NotWell })
}

fn examine(dir: &Path) -> Result<Linted> {
    if !dir.exists() {
        bail!("there is no folder {}", dir.display());
    }
    let migrations = Migrations::from_dir(dir)?;
    let findings = lint(&migrations);
    let files = migrations.iter().map(|migration| 1 + usize::from(migration.down().is_some())).sum();
    Ok(Linted { clean: findings.is_empty(), files, findings })
}

fn print(linted: &Linted) {
    for finding in &linted.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Advice => "advice",
        };
        say!("{}:{}:{} {severity} {}", finding.file, finding.line, finding.column, finding.rule);
        if !finding.statement.is_empty() {
            say!("    {}", finding.statement);
        }
        say!("  why      {}", finding.why);
        say!("  instead  {}", finding.instead);
    }
    say!("findings: {}, files: {}", linted.findings.len(), linted.files);
}
