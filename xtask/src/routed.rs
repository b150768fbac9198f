//! The table of what routing to a cluster did while its servers failed. What is done and asserted lives in
//! `tests/cluster/`; this prints.

use serde::Deserialize;

/// What a test says of one case.
#[derive(Debug, Deserialize)]
pub(crate) struct Routed {
    /// What happened to the servers.
    routed: String,
    /// What callers saw of it.
    outcome: String,
}

const HEAD: &str = "| cluster | what callers saw |\n|---|---|\n";

pub(crate) fn table(all: &[Routed]) -> String {
    let rows: String =
        all.iter().map(|Routed { routed, outcome }| format!("| {routed} | {outcome} |\n")).collect();
    if rows.is_empty() { rows } else { HEAD.to_owned() + &rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_cases() {
        let line = r#"{"routed": "one replica killed", "outcome": "2,833 reads, 0 errors"}"#;
        let case = serde_json::from_str(line).expect("valid");
        assert_eq!(table(&[case]), HEAD.to_owned() + "| one replica killed | 2,833 reads, 0 errors |\n");
        assert_eq!(table(&[]), "");
    }
}
