//! Each alert says what is wrong and what to do, has a section in the manual, and a test that sees it begin and end. That these
//! tests pass is for `promtool`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{list, string, text, yaml};

const MANUAL: &str = "docs/observability.md";

/// All rules, recording and alerting.
pub(super) fn all() -> Vec<Value> {
    let file = yaml("deploy/prometheus/rules.yml");
    list(&file["groups"]).flat_map(|group| list(&group["rules"])).cloned().collect()
}

/// The alerting rules.
pub(super) fn alerts() -> Vec<Value> {
    all().into_iter().filter(|rule| rule["alert"].is_string()).collect()
}

fn names_of_alerts() -> BTreeSet<String> {
    let alerts = alerts();
    let names: BTreeSet<_> = alerts.iter().map(|rule| string(&rule["alert"]).to_owned()).collect();
    assert_eq!(names.len(), alerts.len(), "two alerts have one name");
    names
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() {
    for rule in alerts() {
        let name = string(&rule["alert"]);
        assert!(["critical", "warning"].contains(&string(&rule["labels"]["severity"])), "{name}");
        assert!(rule["for"].is_string(), "{name} does not say for how long");
        for key in ["summary", "description"] {
            assert!(!string(&rule["annotations"][key]).is_empty(), "{name}: {key}");
        }
        let runbook = format!("{MANUAL}#{}", name.to_lowercase());
        assert_eq!(string(&rule["annotations"]["runbook"]), runbook, "{name}");
    }
}

/// A heading's anchor is the heading itself in lower case, since the names are single words.
#[test]
fn the_manual_has_a_section_for_every_alert_and_for_no_other() {
    let manual = text(MANUAL);
    let sections: BTreeSet<_> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Db") && !heading.contains(' '))
        .map(str::to_owned)
        .collect();
    assert_eq!(sections, names_of_alerts());
}

/// Requirements E10 and D3.
#[test]
fn what_was_asked_for_is_watched() {
    let alerts = alerts();
    let expression = |name: &str| {
        let rule =
            alerts.iter().find(|rule| rule["alert"] == name).unwrap_or_else(|| panic!("no alert {name}"));
        string(&rule["expr"]).trim().to_owned()
    };
    assert_eq!(expression("DbPoolUtilizationHigh"), "pool:db_client_connection_utilization:ratio > 0.8");
    assert_eq!(expression("DbLatencyHigh"), "instance:db_client_operation_duration_seconds:mean5m > 0.5");
    assert!(expression("DbReplicaLagHigh").ends_with("(db_client_cluster_lag_time_seconds) > 10"));
    assert!(expression("DbConnectionFailures").contains("db_client_connection_failures_total"));
    assert!(expression("DbRetriesHigh").contains("db_client_retry_retries_total"));
    assert!(expression("DbErrorRateHigh").contains("db_client_operation_failures:ratio5m"));
}

#[test]
fn every_alert_has_a_test_that_sees_it_begin_and_end() {
    let file = yaml("deploy/prometheus/rules_test.yml");
    let mut tested = BTreeSet::new();
    for test in list(&file["tests"]) {
        let name = string(&test["name"]);
        tested.insert(name.to_owned());
        let looks: Vec<_> = list(&test["alert_rule_test"]).collect();
        assert!(looks.iter().all(|look| look["alertname"] == name), "{name} tests another alert");
        let firing: Vec<_> = looks.iter().map(|look| list(&look["exp_alerts"]).count()).collect();
        let most = firing.iter().max().expect("looks");
        let peak = firing.iter().position(|count| count == most).expect("the largest");
        assert!(*most > 0, "{name} is never seen");
        assert!(firing[..peak].iter().any(|count| count < most), "{name} is not seen to begin");
        assert!(firing[peak..].iter().any(|count| count < most), "{name} is not seen to end");
    }
    assert_eq!(tested, names_of_alerts());
}
