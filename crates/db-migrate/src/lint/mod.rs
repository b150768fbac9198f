//! Finds in migration files what fails, blocks a busy system or can not be taken back, and says what to write instead.
//! Text only: nothing is asked of a server, so what depends on the data is left to `plan` and to the run.
//!
//! The rules are squawk's, as far as they hold for this runner (`squawk_rules` says of each why), and our own (`rules`).
//! `-- lint: ignore RULE` in the header of a file turns a rule off for that file, `-- squawk-ignore RULE` one of
//! squawk's for the statement below.

mod file;
mod finding;
mod ignored;
mod rules;
mod squawk;
mod squawk_rules;

#[cfg(test)]
mod tests;

use self::file::{File, Way};
use crate::{Migration, Migrations};

pub use self::finding::{Finding, Severity};

/// Everything there is to say about the files of all migrations: oldest migration first, its way up before its way
/// down, by line.
#[must_use]
pub fn lint(migrations: &Migrations) -> Vec<Finding> {
    migrations.iter().flat_map(lint_migration).collect()
}

fn lint_migration(migration: &Migration) -> Vec<Finding> {
    let up = File::of(migration.file(), Way::Up, migration.up());
    let down = migration.down().map(|down| File::of(migration.down_file(), Way::Down, down));
    lint_files(&up, down.as_ref())
}

fn lint_files(up: &File<'_>, down: Option<&File<'_>>) -> Vec<Finding> {
    let mut of_up = lint_file(up);
    let mut of_down = down.map(lint_file).unwrap_or_default();
    if let Some(down) = down {
        for finding in rules::down_does_not_undo::check(up, down) {
            let ignored = [up, down].iter().any(|file| ignored::is_ignored(file, &finding.rule));
            if !ignored {
                if finding.file == up.name { &mut of_up } else { &mut of_down }.push(finding);
            }
        }
    }
    for findings in [&mut of_up, &mut of_down] {
        findings.sort_by_key(|finding| (finding.line, finding.column));
    }
    of_up.append(&mut of_down);
    of_up
}

fn lint_file(file: &File<'_>) -> Vec<Finding> {
    let own = rules::check(file);
    let mut findings = squawk::check(file, &own);
    findings.extend(own);
    findings.retain(|finding| !ignored::is_ignored(file, &finding.rule));
    findings.extend(ignored::unknown(file));
    findings
}
