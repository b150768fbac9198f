//! Comments behind statements that say who sent them, as SQLCommenter specifies. Only for statements that are sent as text: one that
//! has a name on the server is not sent again. What a comment says is the caller's to decide.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use db_core::has_comment;

/// Says who sends a statement: names with values, asked for each statement that is sent as text
/// ([`Settings::commenter`](crate::Settings::commenter)). Equal are clones of one.
///
/// It is called on the caller's task and must neither block nor panic. Whatever it gives, the comment ends where it should: all
/// but letters, digits and `-._~` is encoded.
///
/// ```
/// use db_pool::{Commenter, Settings};
///
/// let mut settings = Settings::default();
/// settings.commenter = Some(Commenter::new(|| vec![("application", "shop".to_owned())]));
/// ```
#[derive(Clone)]
pub struct Commenter(Arc<dyn Fn() -> Vec<(&'static str, String)> + Send + Sync>);

impl Commenter {
    /// One that says what `tags` gives. Nothing is added to a statement for which it gives nothing.
    pub fn new(tags: impl Fn() -> Vec<(&'static str, String)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tags))
    }

    /// The statement with a comment behind it, before its last semicolon. One that has a comment stays as it is.
    pub(crate) fn comment<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        // What ends in these is no quoted text, or one that the server refuses in any case.
        let statement = sql.trim_end_matches(|c: char| c == ';' || c.is_ascii_whitespace());
        if statement.is_empty() || has_comment(sql) {
            return Cow::Borrowed(sql);
        }
        let mut tags = (self.0)();
        if tags.is_empty() {
            return Cow::Borrowed(sql);
        }
        tags.sort_unstable();
        let mut text = String::with_capacity(sql.len() + 128);
        text.push_str(statement);
        for (number, (name, value)) in tags.iter().enumerate() {
            text.push_str(if number == 0 { " /*" } else { "," });
            encode(name, &mut text);
            text.push_str("='");
            encode(value, &mut text);
            text.push('\'');
        }
        text.push_str("*/");
        text.push_str(&sql[statement.len()..]);
        Cow::Owned(text)
    }
}

/// The statement as `commenter` has it, if there is one.
pub(crate) fn commented<'s>(commenter: Option<&Commenter>, sql: &'s str) -> Cow<'s, str> {
    commenter.map_or(Cow::Borrowed(sql), |commenter| commenter.comment(sql))
}

/// Encodes as in a URL, quotes, slashes and asterisks included.
fn encode(text: &str, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            let digit = |of: u8| char::from(DIGITS[usize::from(of)]);
            to.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

impl PartialEq for Commenter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Commenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commenter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[(&'static str, &str)], sql: &str, expect: &str) {
        let tags: Vec<_> = tags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let commenter = Commenter::new(move || tags.clone());
        assert_eq!(commenter.comment(sql), expect);
    }

    /// The example of the specification, as far as its keys are ours to choose.
    #[test]
    fn comments_are_those_of_the_specification() {
        let traceparent = "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01";
        check(
            &[("traceparent", traceparent), ("route", "/polls 1000"), ("db_driver", "django")],
            "SELECT * FROM polls_question",
            "SELECT * FROM polls_question /*db_driver='django',route='%2Fpolls%201000',\
             traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/",
        );
    }

    #[test]
    fn a_comment_goes_behind_the_statement() {
        let check = |sql, expect| check(&[("a", "b")], sql, expect);
        check("SELECT 1", "SELECT 1 /*a='b'*/");
        check("SELECT 1;", "SELECT 1 /*a='b'*/;");
        check("SELECT 1; SELECT 2 ;\n", "SELECT 1; SELECT 2 /*a='b'*/ ;\n");
        check("SELECT ';--x' ", "SELECT ';--x' /*a='b'*/ ");
        check("SELECT $$ /* $$", "SELECT $$ /* $$ /*a='b'*/");
        // Nothing to say anything of, or something said already.
        for sql in ["", " ; ", "SELECT 1 -- x", "SELECT 1 -- x;\n", "/* x */ SELECT 1", "SELECT 1 /*a='c'*/"]
        {
            check(sql, sql);
        }
    }

    #[test]
    fn nothing_is_added_where_nothing_is_said() {
        check(&[], "SELECT 1;", "SELECT 1;");
        assert_eq!(commented(None, "SELECT 1"), "SELECT 1");
    }

    #[test]
    fn nobody_gets_out_of_a_comment() {
        check(
            &[("a", "*/; DROP TABLE t; /*"), ("b'", "'\\'\0\n%é")],
            "SELECT 1",
            "SELECT 1 /*a='%2A%2F%3B%20DROP%20TABLE%20t%3B%20%2F%2A',b%27='%27%5C%27%00%0A%25%C3%A9'*/",
        );
    }
}
