//! The table of migration runs that were cut off. What is cut and asserted lives in `tests/migrate/killed/` and
//! `tests/migrate/cut.rs`; this prints.

use serde::Deserialize;

/// What a test says of one run.
#[derive(Debug, Deserialize)]
pub(crate) struct Cut {
    /// Which run, by what, and where.
    cut: String,
    /// What it left.
    found: String,
    /// What the next run did. It was found to be right, or the test says otherwise.
    next: String,
}

const HEAD: &str = "| cut off | state found | next run |\n|---|---|---|\n";

pub(crate) fn table(cuts: &[Cut]) -> String {
    let rows = cuts.iter().map(|Cut { cut, found, next }| {
        let cells = [cut, found, next].map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    });
    if cuts.is_empty() { String::new() } else { HEAD.to_owned() + &rows.collect::<String>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_cuts() {
        let line = r#"{"cut": "up killed: before COMMIT", "found": "a || b", "next": "nothing to do"}"#;
        let cut = serde_json::from_str(line).expect("valid");
        let expect = "| up killed: before COMMIT | a \\|\\| b | nothing to do |\n";
        assert_eq!(table(&[cut]), HEAD.to_owned() + expect);
        assert_eq!(table(&[]), "");
    }
}
