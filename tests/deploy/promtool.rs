//! What Prometheus itself says of the rules, of their tests, of its configuration and of the dashboard's queries. Needs `promtool`,
//! which comes with Debian's package `prometheus`; no server is started.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::{dashboard_file, names, path, text};

const RULES: &str = "deploy/prometheus/rules.yml";
const TESTS: &str = "deploy/prometheus/rules_test.yml";

fn promtool(arguments: &[&str], file: &Path) -> Output {
    Command::new("promtool").args(arguments).arg(file).output().expect("promtool")
}

fn assert_passes(arguments: &[&str], file: &Path) {
    let output = promtool(arguments, file);
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_rules_are_valid() {
    assert_passes(&["check", "rules"], &path(RULES));
}

#[test]
fn alerts_fire_and_end_as_their_tests_say() {
    assert_passes(&["test", "rules"], &path(TESTS));
}

/// The tests are worth something: a limit that is a little off does not pass them, whichever it is.
#[test]
fn limits_that_are_off_fail_the_tests() {
    let rules = text(RULES);
    for (right, wrong) in [
        ("> 0.8", "> 0.86"),
        ("> 0.8", "> 0.79"),
        ("mean5m > 0.5", "mean5m > 0.61"),
        ("mean5m > 0.5", "mean5m > 0.49"),
        ("ratio5m > 0.05", "ratio5m > 0.04"),
        ("lag_time_seconds) > 10", "lag_time_seconds) > 9"),
        ("\"2[23].*\"", "\"none\""),
        ("== 2", ">= 1"),
        ("for: 5m", "for: 10m"),
        (" unless db_client_connection_leaks_total offset 15m", ""),
    ] {
        let spoilt = rules.replacen(right, wrong, 1);
        assert_ne!(spoilt, rules, "{right} is not in {RULES}");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules.yml"), spoilt).expect("written");
        let tests = folder.path().join("rules_test.yml");
        std::fs::write(&tests, text(TESTS)).expect("written");
        let output = promtool(&["test", "rules"], &tests);
        assert!(!output.status.success(), "{wrong} in place of {right} passes");
        assert!(said(&output).contains("FAILED"), "{}", said(&output));
    }
}

#[test]
fn the_configuration_is_valid() {
    // The file with the token is where the container has it.
    assert_passes(&["check", "config", "--syntax-only"], &path("deploy/prometheus/prometheus.yml"));
}

/// As rules, since this is what promtool reads expressions from.
#[test]
fn the_queries_of_the_dashboard_are_valid() {
    let rules: Vec<_> = names::queries(&dashboard_file())
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m");
            json!({ "record": format!("query:{number}"), "expr": query })
        })
        .collect();
    assert!(rules.len() > 40, "{}", rules.len());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queries.yml");
    std::fs::write(&file, json!({ "groups": [{ "name": "queries", "rules": rules }] }).to_string())
        .expect("written");
    assert_passes(&["check", "rules"], &file);
}
