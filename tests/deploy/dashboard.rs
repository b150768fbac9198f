//! The dashboard as a page: what Grafana would draw wrongly without a word. That Grafana draws it at all is not seen here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{dashboard_file, list, string, yaml};

/// Kinds of panel that Grafana brings.
const KINDS: [&str; 5] = ["row", "stat", "state-timeline", "table", "timeseries"];
const COLUMNS: u64 = 24;

#[test]
fn panels_have_an_id_each_and_do_not_overlap() {
    let dashboard = dashboard_file();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = string(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(width > 0 && height > 0 && x + width <= COLUMNS, "{title} does not fit into the page");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} covers another panel at {cell:?}");
        }
    }
    // Whole rows: no holes, which Grafana would close by moving panels.
    let height = cells.iter().map(|(_, y)| y + 1).max().expect("panels");
    assert_eq!(cells.len() as u64, height * COLUMNS, "there are holes between the panels");
}

#[test]
fn panels_say_what_they_show_and_in_which_unit() {
    for panel in list(&dashboard_file()["panels"]) {
        let (title, kind) = (string(&panel["title"]), string(&panel["type"]));
        assert!(KINDS.contains(&kind), "{title}: {kind} is not among those that Grafana brings");
        if kind == "row" {
            continue;
        }
        assert!(!string(&panel["description"]).is_empty(), "{title}");
        assert!(!string(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title} has no unit");
        assert!(list(&panel["targets"]).count() > 0, "{title} asks nothing");
        let ids: BTreeSet<_> = list(&panel["targets"]).map(|target| string(&target["refId"])).collect();
        assert_eq!(ids.len(), list(&panel["targets"]).count(), "{title}: two queries have one name");
    }
}

#[test]
fn times_are_in_seconds_and_sizes_in_bytes() {
    for panel in list(&dashboard_file()["panels"]) {
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        for target in list(&panel["targets"]) {
            let query = string(&target["expr"]);
            let is_time = query.contains("_seconds_bucket") || query.contains("_time_seconds{");
            assert!(!is_time || unit == "s", "{}: {unit}", panel["title"]);
            assert!(!query.contains("_bytes") || unit == "bytes", "{}: {unit}", panel["title"]);
        }
    }
}

/// So that it works with any Prometheus, and shows only what was chosen.
#[test]
fn everything_is_asked_of_the_chosen_source_and_instances() {
    let dashboard = dashboard_file();
    let source = |value: &Value| value["datasource"]["uid"] == "${datasource}";
    for panel in list(&dashboard["panels"]).filter(|panel| panel["type"] != "row") {
        assert!(source(panel), "{}", panel["title"]);
        for target in list(&panel["targets"]) {
            let query = string(&target["expr"]);
            assert!(source(target), "{query}");
            let series = query.matches("db_client_").count();
            assert!(series > 0 || query.contains("ALERTS"), "{query}");
            for braces in query.split('{').skip(1) {
                assert!(braces.contains("$job") && braces.contains("$instance"), "{query}");
            }
        }
    }
    let variables: Vec<_> =
        list(&dashboard["templating"]["list"]).map(|variable| string(&variable["name"])).collect();
    assert_eq!(variables, ["datasource", "job", "instance", "pool"]);
}

#[test]
fn it_is_provisioned() {
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    let kinds: Vec<_> = list(&sources["datasources"]).map(|source| string(&source["type"])).collect();
    assert_eq!(kinds, ["prometheus"]);
    let providers = yaml("deploy/grafana/provisioning/dashboards/database.yml");
    let folder = string(&providers["providers"][0]["options"]["path"]);
    let compose = yaml("docker-compose.yml");
    let mount = format!("./deploy/grafana/dashboards:{folder}:ro");
    assert!(
        list(&compose["services"]["grafana"]["volumes"]).any(|volume| *volume == mount.as_str()),
        "{mount}"
    );
}
