//! Reads the directives out of the comments at the top of a file, one comment after the other.

use std::time::Duration;

use super::{DirectiveError, Directives, Phase};

/// The names of all directives, in the order in which they are explained.
pub(super) const KNOWN: [&str; 6] =
    ["no-transaction", "phase", "lock-timeout", "statement-timeout", "out-of-order", "lint"];

/// The server counts time-outs in milliseconds, in 31 bits.
const LONGEST: u128 = i32::MAX as u128;

/// The directives of one file while its comments pass by.
#[derive(Debug)]
pub(crate) struct Header {
    directives: Directives,
    /// What this file has said itself; what it inherits may be said anew.
    said: Vec<&'static str>,
}

impl Header {
    pub(crate) fn new(inherited: Option<&Directives>) -> Self {
        Self { directives: inherited.cloned().unwrap_or_default(), said: Vec::new() }
    }

    pub(crate) fn directives(&self) -> &Directives {
        &self.directives
    }

    pub(crate) fn finish(self) -> Directives {
        self.directives
    }

    /// Reads a line comment, with its dashes.
    pub(crate) fn read(&mut self, comment: &str) -> Result<(), DirectiveError> {
        let comment = comment.trim();
        let Some(said) = understand(comment)? else {
            return Ok(());
        };
        let name = said.name();
        if self.said.contains(&name) && name != "lint" {
            return Err(DirectiveError::Twice { text: comment.to_owned() });
        }
        self.said.push(name);
        let directives = &mut self.directives;
        match said {
            Said::NoTransaction => directives.no_transaction = true,
            Said::Phase(phase) => directives.phase = Some(phase),
            Said::LockTimeout(limit) => directives.lock_timeout = Some(limit),
            Said::StatementTimeout(limit) => directives.statement_timeout = Some(limit),
            Said::OutOfOrder => directives.out_of_order = true,
            Said::LintIgnore(rules) => directives.lint_ignore.extend(rules),
        }
        Ok(())
    }

    /// Fails for a comment below the first statement that would be a directive above it.
    pub(crate) fn too_late(comment: &str) -> Result<(), DirectiveError> {
        let comment = comment.trim();
        match understand(comment) {
            Ok(Some(_)) => Err(DirectiveError::Late { text: comment.to_owned() }),
            // What another tool would do here does matter; what is nearly a directive is prose this far down.
            Err(error @ DirectiveError::Foreign { .. }) => Err(error),
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

/// One directive with its value.
enum Said {
    NoTransaction,
    Phase(Phase),
    LockTimeout(Duration),
    StatementTimeout(Duration),
    OutOfOrder,
    LintIgnore(Vec<String>),
}

impl Said {
    fn name(&self) -> &'static str {
        match self {
            Self::NoTransaction => KNOWN[0],
            Self::Phase(_) => KNOWN[1],
            Self::LockTimeout(_) => KNOWN[2],
            Self::StatementTimeout(_) => KNOWN[3],
            Self::OutOfOrder => KNOWN[4],
            Self::LintIgnore(_) => KNOWN[5],
        }
    }

    /// `None` when the value is wrong.
    fn new(name: &str, value: Option<&str>) -> Option<Self> {
        match (name, value) {
            ("no-transaction", None) => Some(Self::NoTransaction),
            ("phase", Some(phase)) => self::phase(phase).map(Self::Phase),
            ("lock-timeout", Some(limit)) => duration(limit).map(Self::LockTimeout),
            ("statement-timeout", Some(limit)) => duration(limit).map(Self::StatementTimeout),
            ("out-of-order", Some("allow")) => Some(Self::OutOfOrder),
            ("lint", Some(value)) => rules(value).map(Self::LintIgnore),
            _ => None,
        }
    }
}

/// `None` for prose.
fn understand(comment: &str) -> Result<Option<Said>, DirectiveError> {
    let text = comment.trim_start_matches("--").trim();
    if let Some(said) = foreign(comment, text)? {
        return Ok(said);
    }
    let Some((word, value)) = word_and_value(text) else {
        return match without_colon(text) {
            Some(name) => Err(DirectiveError::Value { text: comment.to_owned(), expected: expected(name) }),
            None => Ok(None),
        };
    };
    let normalised = word.to_ascii_lowercase().replace('_', "-");
    let said = |name: &'static str| Said::new(name, value);
    if let Some(name) = KNOWN.into_iter().find(|known| *known == normalised) {
        let wrong = || DirectiveError::Value { text: comment.to_owned(), expected: expected(name) };
        return said(name).map(Some).ok_or_else(wrong);
    }
    let is_lower = word.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_'));
    let near = |name: &&'static str| {
        let takes_value = *name != "no-transaction";
        let is_common = !name.contains('-');
        // The distance takes longest, and a file may consist of comments.
        takes_value == value.is_some()
            && name.len().abs_diff(normalised.len()) <= 2
            && (!is_common || said(name).is_some())
            && strsim::damerau_levenshtein(name, &normalised) <= 2
    };
    match KNOWN.into_iter().filter(|_| is_lower).find(near) {
        Some(meant) => Err(DirectiveError::Unknown { text: comment.to_owned(), meant }),
        None => Ok(None),
    }
}

/// `word` or `word: value`.
fn word_and_value(text: &str) -> Option<(&str, Option<&str>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if !word.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    match rest.trim_start().strip_prefix(':') {
        Some(value) => Some((word, Some(value.trim()))),
        None => rest.is_empty().then_some((word, None)),
    }
}

/// The directive that a comment would be, had it a colon: `lock-timeout 5s`, `phase = expand`. Nobody writes that as prose.
fn without_colon(text: &str) -> Option<&'static str> {
    let (word, value) = text.split_once(|c: char| c.is_whitespace() || c == '=')?;
    let word = word.to_ascii_lowercase().replace('_', "-");
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
    KNOWN.into_iter().find(|known| *known == word).filter(|name| Said::new(name, Some(value)).is_some())
}

fn expected(name: &str) -> &'static str {
    match name {
        "phase" => "-- phase: expand|migrate|contract",
        "lock-timeout" => "-- lock-timeout: 5s (ms, s, min, h; 0 for none)",
        "statement-timeout" => "-- statement-timeout: 20min (ms, s, min, h; 0 for none)",
        "out-of-order" => "-- out-of-order: allow",
        "lint" => "-- lint: ignore RULE, RULE",
        _ => "-- no-transaction",
    }
}

fn phase(text: &str) -> Option<Phase> {
    match text {
        "expand" => Some(Phase::Expand),
        "migrate" => Some(Phase::Migrate),
        "contract" => Some(Phase::Contract),
        _ => None,
    }
}

/// A whole number and its unit, or zero.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let duration = match unit.trim_start() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "" if number == 0 => Duration::ZERO,
        _ => return None,
    };
    (duration.as_millis() <= LONGEST).then_some(duration)
}

/// `ignore RULE, RULE`; rules have names in kebab-case.
fn rules(text: &str) -> Option<Vec<String>> {
    let rules = text.strip_prefix("ignore")?;
    let is_rule =
        |rule: &str| !rule.is_empty() && rule.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let rules: Vec<&str> = rules.strip_prefix([' ', '\t'])?.split(',').map(str::trim).collect();
    rules.iter().all(|rule| is_rule(rule)).then(|| rules.into_iter().map(str::to_owned).collect())
}

/// The annotations of goose, dbmate and Atlas. `None`: it is none of these. Inside, `None`: it changes nothing.
fn foreign(comment: &str, text: &str) -> Result<Option<Option<Said>>, DirectiveError> {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let error = |hint| DirectiveError::Foreign { text: comment.to_owned(), hint };
    match words.as_slice() {
        ["+goose", "no", "transaction"]
        | ["migrate:up" | "migrate:down", "transaction:false"]
        | ["atlas:txmode", "none"] => Ok(Some(Some(Said::NoTransaction))),
        ["+goose", "up" | "down" | "statementbegin" | "statementend"]
        | ["migrate:up" | "migrate:down"]
        | ["migrate:up" | "migrate:down", "transaction:true"]
        | ["atlas:txmode", "file"] => Ok(Some(None)),
        ["+goose", ..] => Err(error("remove it, and write out what goose would have put in")),
        ["migrate:up" | "migrate:down", ..] => {
            Err(error("transaction:false is the one option that is known here"))
        }
        ["atlas:txmode", ..] => Err(error("none and file are the modes that are known here")),
        ["atlas:delimiter", ..] => Err(error("remove it, statements end with a semicolon")),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
