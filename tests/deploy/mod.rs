//! What operators deploy (`deploy/`, the compose file) against what the layer exports and what its manual says. Tests in `promtool`
//! need this program of Prometheus; the others read the files alone. Nothing here runs Grafana, a collector or a container.

mod dashboard;
pub(crate) mod exported;
mod files;
mod names;
mod promql;
mod promtool;
mod rules;

use std::path::PathBuf;

use serde_json::Value;

/// A file or folder of the repository.
fn path(name: &str) -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path.push(name);
    path
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A YAML file with one document.
fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn dashboard_file() -> Value {
    serde_json::from_str(&text("deploy/grafana/dashboards/database.json")).expect("JSON")
}

/// The items of a list; none if it is absent.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a value that must be one.
fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}
