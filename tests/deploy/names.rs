//! Rules and dashboard speak of metrics and labels that there are. A typing error in a name is no error to Prometheus, which only
//! answers nothing: such an alert would never fire.

use std::collections::BTreeSet;

use serde_json::Value;

use super::exported::{Series, exported};
use super::promql::names;
use super::{dashboard_file, list, rules, string};

/// Labels that every series gets where it is scraped.
const OF_SCRAPE: [&str; 2] = ["job", "instance"];

#[test]
fn rules_name_only_what_is_exported() {
    let known = known();
    let mut problems = Vec::new();
    for rule in rules::all() {
        problems.extend(problems_of(string(&rule["expr"]), &known));
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn texts_of_alerts_name_only_labels_that_the_alert_has() {
    let known = known();
    for rule in rules::alerts() {
        let expression = string(&rule["expr"]);
        // What is grouped has the labels of its groups alone.
        let mut labels = names(expression).grouping;
        if labels.is_empty() {
            labels = labels_of(expression, &known);
        }
        for text in rule["annotations"].as_object().expect("annotations").values() {
            for label in string(text).split("$labels.").skip(1) {
                let label =
                    label.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
                assert!(labels.contains(label), "{}: {label} is not among {labels:?}", rule["alert"]);
            }
        }
    }
}

#[test]
fn the_dashboard_names_only_what_is_exported() {
    // Without our recording rules, so that it works wherever the metrics are.
    let mut known = exported();
    add_those_of_prometheus(&mut known);
    let dashboard = dashboard_file();
    let mut problems = Vec::new();
    for query in queries(&dashboard) {
        problems.extend(problems_of(&query, &known));
    }
    for variable in list(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query") {
        let query = string(&variable["definition"]);
        assert_eq!(query, string(&variable["query"]["query"]));
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) =
            inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(series, label)");
        problems.extend(problems_of(series, &known));
        assert!(labels_of(series, &known).contains(label), "{query}");
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn legends_name_only_labels_that_the_series_have() {
    let known = known();
    for target in list(&dashboard_file()["panels"]).flat_map(|panel| list(&panel["targets"])) {
        let (query, legend) = (string(&target["expr"]), string(&target["legendFormat"]));
        let labels = names(query).grouping;
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(labels.contains(label), "{legend} of {query}");
        }
        assert_eq!(problems_of(query, &known), Vec::<String>::new());
    }
}

#[test]
fn everything_that_is_exported_is_on_the_dashboard() {
    let dashboard = dashboard_file();
    let shown: BTreeSet<_> =
        queries(&dashboard).flat_map(|query| names(&query).selectors).map(|(name, _)| base(&name)).collect();
    // A figure of the configuration that nobody watches.
    let hidden = ["db_client_connection_idle_max"];
    let missing: BTreeSet<_> = exported().keys().map(|name| base(name)).collect();
    let missing: Vec<_> =
        missing.difference(&shown).filter(|name| !hidden.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_wrong_name_or_label_is_found() {
    let known = known();
    let problems = |expression| problems_of(expression, &known);
    assert_eq!(
        problems("sum(db_client_connection_maximum)"),
        ["db_client_connection_maximum is not exported"]
    );
    assert_eq!(problems(r#"up{pool="a"}"#), ["up has no label pool"]);
    assert_eq!(problems("sum by (pool) (up)"), ["nothing in it has the label pool: sum by (pool) (up)"]);
}

/// Queries of the dashboard's panels and annotations.
pub(super) fn queries(dashboard: &Value) -> impl Iterator<Item = String> {
    let panels = list(&dashboard["panels"]).flat_map(|panel| list(&panel["targets"]));
    panels.chain(list(&dashboard["annotations"]["list"])).map(|query| string(&query["expr"]).to_owned())
}

/// What is exported, recorded by our rules, and made by Prometheus itself.
fn known() -> Series {
    let mut known = exported();
    add_those_of_prometheus(&mut known);
    for rule in rules::all().iter().filter(|rule| rule["record"].is_string()) {
        known.insert(string(&rule["record"]).to_owned(), names(string(&rule["expr"])).grouping);
    }
    known
}

fn add_those_of_prometheus(known: &mut Series) {
    known.insert("up".to_owned(), BTreeSet::new());
    known.insert("ALERTS".to_owned(), ["alertname", "alertstate", "severity"].map(str::to_owned).into());
}

fn problems_of(expression: &str, known: &Series) -> Vec<String> {
    let names = names(expression);
    let mut problems = Vec::new();
    for (metric, labels) in &names.selectors {
        match known.get(metric) {
            None => problems.push(format!("{metric} is not exported")),
            Some(has) => {
                let mut unknown = labels.iter().filter(|label| !has.contains(*label) && !is_of_scrape(label));
                problems.extend(unknown.next().map(|label| format!("{metric} has no label {label}")));
            }
        }
    }
    if problems.is_empty() {
        let has = labels_of(expression, known);
        let unknown = names.grouping.iter().filter(|label| !has.contains(*label));
        problems.extend(unknown.map(|label| format!("nothing in it has the label {label}: {expression}")));
    }
    problems
}

/// The labels that the series of an expression may have; grouping takes some away, which is not looked at.
fn labels_of(expression: &str, known: &Series) -> BTreeSet<String> {
    let selectors = names(expression).selectors;
    let of_metrics = selectors.iter().filter_map(|(metric, _)| known.get(metric)).flatten().cloned();
    of_metrics.chain(OF_SCRAPE.map(str::to_owned)).collect()
}

fn is_of_scrape(label: &str) -> bool {
    OF_SCRAPE.contains(&label)
}

/// A histogram's name, of any of its series.
fn base(name: &str) -> String {
    let ends = ["_bucket", "_sum", "_count"];
    // `_count` ends the name of a gauge, too.
    let is_gauge = name == "db_client_connection_count";
    let base = ends.iter().find_map(|end| name.strip_suffix(end)).filter(|_| !is_gauge);
    base.unwrap_or(name).to_owned()
}
