//! Rules that a file turns off by `-- lint: ignore RULE`, and names among them that mean no rule. Squawk's own comments
//! are squawk's to honour.

use squawk_linter::Rule;

use super::file::File;
use super::{Finding, Severity, rules};

const UNKNOWN: &str = "unknown-rule";

/// How far a word may be from a rule's name to be taken for a slip of it.
const SIMILAR: f64 = 0.7;

pub(super) fn is_ignored(file: &File<'_>, rule: &str) -> bool {
    // Some of squawk's rules have two names.
    let same = |ignored: &String| {
        ignored == rule
            || matches!((Rule::try_from(ignored.as_str()), Rule::try_from(rule)), (Ok(a), Ok(b)) if a == b)
    };
    file.directives.lint_ignore.iter().any(same)
}

/// A finding for each ignored rule that does not exist.
pub(super) fn unknown(file: &File<'_>) -> Vec<Finding> {
    let unknown = file.directives.lint_ignore.iter().filter(|rule| !exists(rule));
    unknown.map(|rule| finding(file, rule, place_of(file, rule))).collect()
}

/// The finding for a word at a place that should have been a rule.
pub(super) fn finding(file: &File<'_>, word: &str, offset: usize) -> Finding {
    let mut finding = file.finding_at(UNKNOWN, Severity::Error, offset);
    finding.statement = String::new();
    finding.why = format!("there is no rule {word}, so nothing is ignored");
    finding.instead = match nearest(word) {
        Some(rule) => format!("did you mean {rule}?"),
        None => "name a rule as the findings do".to_owned(),
    };
    finding
}

pub(super) fn exists(rule: &str) -> bool {
    names().any(|name| name == rule)
}

fn nearest(word: &str) -> Option<String> {
    let distance = |name: &String| strsim::normalized_damerau_levenshtein(word, name);
    let near = names().map(|name| (distance(&name), name)).filter(|(distance, _)| *distance >= SIMILAR);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

fn names() -> impl Iterator<Item = String> {
    let own = rules::ids().map(str::to_owned);
    own.chain(std::iter::once(UNKNOWN.to_owned())).chain(super::squawk_rules::names())
}

fn place_of(file: &File<'_>, rule: &str) -> usize {
    let mut offset = 0;
    for line in file.sql.split_inclusive('\n') {
        let directive = line.trim_start().starts_with("--") && line.contains("lint:");
        if let Some(column) = line.find(rule).filter(|_| directive) {
            return offset + column;
        }
        offset += line.len();
    }
    0
}
