//! Which metrics and labels an expression of PromQL names. It takes valid expressions apart; whether one is valid is for `promtool`.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Each metric with the labels in the braces after it.
    pub(super) selectors: Vec<(String, BTreeSet<String>)>,
    /// Labels after `by`, `on` and the like.
    pub(super) grouping: BTreeSet<String>,
}

/// Words that a list of labels follows.
const GROUPING: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// Words that stand where a metric could.
const WORDS: [&str; 17] = [
    "and",
    "avg",
    "bool",
    "bottomk",
    "count",
    "count_values",
    "group",
    "inf",
    "max",
    "min",
    "nan",
    "offset",
    "or",
    "quantile",
    "sum",
    "topk",
    "unless",
];

/// Takes an expression apart.
pub(super) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression.chars().peekable();
    while let Some(&next) = rest.peek() {
        match next {
            '"' | '\'' => skip_string(&mut rest),
            '[' => while rest.next().is_some_and(|c| c != ']') {},
            // Its labels belong to the metric before it.
            '{' => {
                let labels = labels(&mut rest, '}');
                let (_, of_metric) = names.selectors.last_mut().expect("a metric before the braces");
                of_metric.extend(labels);
            }
            c if c.is_ascii_digit() => drop(word(&mut rest)),
            c if is_name(c) => names.add_word(&word(&mut rest), &mut rest),
            _ => drop(rest.next()),
        }
    }
    names
}

impl Names {
    fn add_word(&mut self, word: &str, rest: &mut Peekable<Chars<'_>>) {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let is_before_list = rest.peek() == Some(&'(');
        if GROUPING.contains(&word) {
            if is_before_list {
                self.grouping.extend(labels(rest, ')'));
            }
        } else if !is_before_list && !WORDS.contains(&word) {
            self.selectors.push((word.to_owned(), BTreeSet::new()));
        }
    }
}

/// The labels of a list or of matchers, up to `end`.
fn labels(rest: &mut Peekable<Chars<'_>>, end: char) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    while let Some(&next) = rest.peek() {
        match next {
            '"' | '\'' => skip_string(rest),
            c if is_name(c) => drop(labels.insert(word(rest))),
            c => {
                rest.next();
                if c == end {
                    break;
                }
            }
        }
    }
    labels
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| is_name(*c) || *c == '.') {
        word.push(c);
    }
    word
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$')
}

fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    let quote = rest.next();
    while let Some(c) = rest.next() {
        if c == '\\' {
            rest.next();
        } else if Some(c) == quote {
            break;
        }
    }
}

#[test]
fn metrics_and_labels_of_expressions() {
    check("up", &[("up", &[])], &[]);
    check("up == 0", &[("up", &[])], &[]);
    check(r#"a{x="b{c}",y!~"(\"d)"} offset 15m"#, &[("a", &["x", "y"])], &[]);
    check("sum by (job, x) (rate(a_total[5m])) * 1.5e3", &[("a_total", &[])], &["job", "x"]);
    check("sum(rate(a[$__rate_interval])) by (le)", &[("a", &[])], &["le"]);
    check("a and on (job) group_left b", &[("a", &[]), ("b", &[])], &["job"]);
    check("topk(10, r:a:rate5m > bool 2) or vector(0)", &[("r:a:rate5m", &[])], &[]);
}

#[cfg(test)]
fn check(expression: &str, selectors: &[(&str, &[&str])], grouping: &[&str]) {
    let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>();
    let selectors = selectors.iter().map(|(name, labels)| ((*name).to_owned(), owned(labels))).collect();
    assert_eq!(names(expression), Names { selectors, grouping: owned(grouping) }, "{expression}");
}
