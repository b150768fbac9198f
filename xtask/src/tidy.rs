//! `cargo xtask tidy`: the house rules that a compiler does not know. Layering is read from `cargo metadata`, the rest
//! from the text of the files that git tracks.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{cargo, root};

/// Who may depend on whom inside the workspace, tests and examples included. Siblings depend on `db-core` alone.
const ARROWS: &[(&str, &[&str])] = &[
    ("db-derive", &[]),
    ("db-core", &["db-derive"]),
    // Its example starts servers when none is given.
    ("db-cluster", &["db-core", "db-testkit"]),
    // It looks at the program from outside.
    ("db-e2e", &[]),
    ("db-embedded", &[]),
    ("db-health", &["db-core"]),
    ("db-metrics", &["db-core"]),
    ("db-migrate", &["db-core", "db-migrate-macros"]),
    ("db-migrate-macros", &[]),
    ("db-pool", &["db-core"]),
    // Its examples start a server when none is given.
    ("db-retry", &["db-core", "db-testkit"]),
    ("db-testkit", &["db-embedded"]),
    (
        "db-app",
        &[
            "db-cluster",
            "db-core",
            "db-embedded",
            "db-health",
            "db-metrics",
            "db-migrate",
            "db-pool",
            "db-retry",
        ],
    ),
    (
        "db-tests",
        &[
            "db-app",
            "db-cluster",
            "db-core",
            "db-health",
            "db-metrics",
            "db-migrate",
            "db-pool",
            "db-retry",
            "db-testkit",
        ],
    ),
    ("xtask", &["db-testkit"]),
];

/// Only these read the environment: the composed app, the contributors' commands, the tests that they start, and a macro
/// that cargo tells by it which crate it is in.
const READS_ENVIRONMENT: [&str; 5] =
    ["crates/db-app/", "crates/db-migrate-macros/", "e2e/", "xtask/", "tests/"];

const LONGEST: usize = 500;
const LONG: usize = 400;

pub(crate) fn run() -> Result<()> {
    let mut problems = layering()?;
    let files = tracked_files()?;
    let mut tested = BTreeSet::new();
    for name in files.iter().filter(|name| name.ends_with(".rs")) {
        let text = fs::read_to_string(root().join(name)).with_context(|| name.clone())?;
        problems.extend(house_rules(name, &text));
        tested.extend(requirement_ids(&text));
    }
    report_requirements(&tested)?;
    for problem in &problems {
        println!("{problem}");
    }
    ensure!(problems.is_empty(), "{} problems", problems.len());
    println!("tidy");
    Ok(())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

fn layering() -> Result<Vec<String>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(forbidden_arrows(&metadata))
}

fn forbidden_arrows(metadata: &Metadata) -> Vec<String> {
    let is_ours = |name: &str| metadata.packages.iter().any(|package| package.name == name);
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let Some((name, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("{} has no place in the layering (xtask/src/tidy.rs)", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().map(|dependency| dependency.name.as_str()) {
            if is_ours(dependency) && !allowed.contains(&dependency) {
                problems.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    problems
}

fn tracked_files() -> Result<Vec<String>> {
    // New files count before they are committed.
    let listed = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(listed).current_dir(root()).output()?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout)?;
    Ok(files.lines().filter(|name| root().join(name).exists()).map(str::to_owned).collect())
}

fn house_rules(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |line: usize, what: &str| problems.push(format!("{name}:{line}: {what}"));
    if !text.starts_with("//!") {
        problem(1, "does not begin by saying what it is (//!)");
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        problem(lines, "is longer than 500 lines: it is two files");
    } else if lines > LONG {
        println!("note: {name} has {lines} lines; is it one thing?");
    }
    let may_read_environment = READS_ENVIRONMENT.iter().any(|folder| name.starts_with(folder));
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        // Spelled in two halves, so that this file keeps its own rules.
        if code.contains(concat!("#[ign", "ore")) {
            problem(number, "an ignored test");
        }
        if code.contains(concat!("#[all", "ow(")) || code.contains(concat!("#![all", "ow(")) {
            problem(number, "a bare allow: use expect with a reason");
        }
        if !may_read_environment && code.contains(concat!("env::", "var")) {
            // Tests and examples of a crate may find programs by PATH.
            let is_library = name.contains("/src/");
            if is_library {
                problem(number, "a library reads the environment: take a value");
            }
        }
    }
    problems
}

/// The ids of requirements that a test or its doc line names: `A1`, `C9`, `E10`.
fn requirement_ids(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let lines: Vec<_> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if !line.starts_with("///") || !leads_to_test(&lines[index + 1..]) {
            continue;
        }
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        ids.extend(words.filter(|word| is_requirement_id(word)).map(str::to_owned));
    }
    ids
}

fn leads_to_test(following: &[&str]) -> bool {
    let next = following.iter().map(|line| line.trim_start()).find(|line| !line.starts_with("///"));
    next.is_some_and(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

fn is_requirement_id(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| ('A'..='E').contains(&first))
        && (1..=2).contains(&letters.as_str().len())
        && letters.all(|digit| digit.is_ascii_digit())
}

/// Lists the requirements that no test names. Not a failure: many are still to be built.
fn report_requirements(tested: &BTreeSet<String>) -> Result<()> {
    let text = fs::read_to_string(root().join("docs/requirements.md")).context("docs/requirements.md")?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let untested: Vec<_> = rows.filter(|id| is_requirement_id(id) && !tested.contains(*id)).collect();
    println!("note: requirements without a test: {}", untested.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_must_not_know_each_other() {
        let check = |name: &str, dependency: &str, expect: &[&str]| {
            let package = |name: &str, dependencies| Package { name: name.to_owned(), dependencies };
            let to = vec![Dependency { name: dependency.to_owned() }];
            let packages = vec![package(name, to), package("db-health", vec![]), package("db-core", vec![])];
            assert_eq!(forbidden_arrows(&Metadata { packages }), expect, "{name} -> {dependency}");
        };
        check("db-pool", "db-core", &[]);
        check("db-pool", "tokio", &[]);
        check("db-pool", "db-health", &["db-pool must not depend on db-health"]);
        check("db-new", "db-core", &["db-new has no place in the layering (xtask/src/tidy.rs)"]);
    }

    #[test]
    fn house_rules_are_checked_by_line() {
        let check = |name: &str, text: &str, expect: &[&str]| assert_eq!(house_rules(name, text), expect);
        check("crates/db-x/src/a.rs", "//! A.\n", &[]);
        check(
            "crates/db-x/src/a.rs",
            "use b;\n",
            &["crates/db-x/src/a.rs:1: does not begin by saying what it is (//!)"],
        );
        let reads = format!("//! A.\nstd::{}var(\"X\");\n", "env::");
        check(
            "crates/db-x/src/a.rs",
            &reads,
            &["crates/db-x/src/a.rs:2: a library reads the environment: take a value"],
        );
        check("crates/db-app/src/a.rs", &reads, &[]);
    }

    #[test]
    fn ids_are_found_in_the_doc_lines_of_tests() {
        let text =
            "/// A1, E10: it works. B2B is no id.\n#[tokio::test]\nasync fn a() {}\n/// C3\nfn b() {}\n";
        assert_eq!(requirement_ids(text), ["A1", "E10"].map(str::to_owned).into());
    }
}
