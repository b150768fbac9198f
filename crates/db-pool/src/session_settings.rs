//! The settings that every session gets, in the three forms in which they can travel: options of the startup message,
//! `SET`, and `SET LOCAL`. Text only; nothing is sent from here.

use std::fmt::Write;
use std::time::Duration;

use crate::Settings;

/// Names and values, in the order in which they are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSettings(Vec<(&'static str, String)>);

impl SessionSettings {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut all = vec![
            ("statement_timeout", millis(settings.statement_timeout)),
            ("lock_timeout", millis(settings.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(settings.idle_in_transaction_timeout)),
        ];
        if let Some(path) = &settings.search_path {
            all.push(("search_path", path.clone()));
        }
        if settings.read_only {
            all.push(("default_transaction_read_only", "on".to_owned()));
        }
        Self(all)
    }

    /// For the startup message: they hold from the first statement on and cost no round trip. What the connection string
    /// says must come after them, and wins.
    pub(crate) fn startup_options(&self) -> String {
        let mut options = String::new();
        for (name, value) in &self.0 {
            let _ = write!(options, "-c {name}={} ", escaped(value));
        }
        options.trim_end().to_owned()
    }

    /// For a session whose startup message could not hold them. A pooler gives what the message did hold to its own session
    /// with the server by `SET`, so that a reset loses it as well.
    pub(crate) fn set(&self, application_name: &str) -> String {
        format!(
            "SET SESSION client_encoding = 'UTF8'; SET SESSION application_name = '{}'; {}",
            application_name.replace('\'', "''"),
            self.statements("SET SESSION ", None)
        )
    }

    /// The beginning of a transaction that holds them for itself alone.
    pub(crate) fn begin(&self) -> String {
        let mut begin = "BEGIN".to_owned();
        // In a transaction that has begun already the default says nothing any more.
        let local = self.statements("SET LOCAL ", Some("transaction_read_only"));
        if !local.is_empty() {
            let _ = write!(begin, "; {local}");
        }
        begin
    }

    fn statements(&self, set: &str, read_only: Option<&str>) -> String {
        let statements = self.0.iter().map(|(name, value)| match (*name, read_only) {
            ("default_transaction_read_only", Some(name)) => format!("{set}{name} = on"),
            // A list of names, each of which may be quoted: not one text.
            ("search_path", _) => format!("{set}search_path = {}", quoted_names(value)),
            (name, _) => format!("{set}{name} = '{}'", value.replace('\'', "''")),
        });
        statements.collect::<Vec<_>>().join("; ")
    }
}

/// The server cuts options at white space that no backslash escapes.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for character in value.chars() {
        if character.is_whitespace() || character == '\\' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Each name of the list as a text of its own; `SET` takes such a list, and nothing in it can end the statement.
fn quoted_names(list: &str) -> String {
    let names = split_names(list).into_iter().map(|name| format!("'{}'", name.replace('\'', "''")));
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "''".to_owned() } else { names }
}

/// A list as the server reads it: names in double quotes hold commas and capitals, others are folded to lower case.
fn split_names(list: &str) -> Vec<String> {
    let (mut names, mut name, mut is_quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => (is_quoted, was_quoted) = (!is_quoted, true),
            ',' if !is_quoted => {
                if was_quoted || !name.is_empty() {
                    names.push(std::mem::take(&mut name));
                }
                was_quoted = false;
            }
            space if space.is_whitespace() && !is_quoted => {}
            other if is_quoted => name.push(other),
            other => name.extend(other.to_lowercase()),
        }
    }
    if was_quoted || !name.is_empty() {
        names.push(name);
    }
    names
}

/// Whole milliseconds; what is shorter but not zero must not become zero, which means "off".
fn millis(limit: Duration) -> String {
    let millis = if limit.is_zero() { 0 } else { limit.as_millis().max(1) };
    // The server's settings are 32 bits wide.
    millis.min(i32::MAX as u128).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SessionSettings {
        SessionSettings::new(&Settings {
            search_path: Some("app, \"My Schema\"".to_owned()),
            read_only: true,
            ..Settings::default()
        })
    }

    #[test]
    fn spaces_are_escaped_in_the_startup_message() {
        let options = settings().startup_options();
        assert!(options.starts_with("-c statement_timeout=5000 -c lock_timeout=0 "), "{options}");
        assert!(options.contains(r#"-c search_path=app,\ "My\ Schema" "#), "{options}");
    }

    #[test]
    fn no_value_begins_another_option() {
        let check = |value, expect| assert_eq!(escaped(value), expect);
        check("a b", "a\\ b");
        check("a\t-c\nx=1", "a\\\t-c\\\nx=1");
        check("a\\", "a\\\\");
    }

    #[test]
    fn a_session_behind_a_pooler_gets_the_same() {
        assert_eq!(
            settings().set("ann's"),
            "SET SESSION client_encoding = 'UTF8'; SET SESSION application_name = 'ann''s'; \
             SET SESSION statement_timeout = '5000'; SET SESSION lock_timeout = '0'; \
             SET SESSION idle_in_transaction_session_timeout = '30000'; \
             SET SESSION search_path = 'app', 'My Schema'; \
             SET SESSION default_transaction_read_only = 'on'"
        );
        assert_eq!(
            settings().begin(),
            "BEGIN; SET LOCAL statement_timeout = '5000'; SET LOCAL lock_timeout = '0'; \
             SET LOCAL idle_in_transaction_session_timeout = '30000'; \
             SET LOCAL search_path = 'app', 'My Schema'; SET LOCAL transaction_read_only = on"
        );
    }

    #[test]
    fn nothing_in_a_list_of_names_ends_the_statement() {
        let check = |list, expect| assert_eq!(quoted_names(list), expect);
        check("App", "'app'");
        check("\"$user\", public", "'$user', 'public'");
        check("\"a,b\"", "'a,b'");
        check("x'; DROP TABLE t; --", "'x'';droptablet;--'");
        check("", "''");
    }

    #[test]
    fn a_short_limit_does_not_turn_it_off() {
        let check = |limit, expect: &str| assert_eq!(millis(limit), expect);
        check(Duration::from_micros(10), "1");
        check(Duration::ZERO, "0");
        check(Duration::MAX, "2147483647");
    }
}
