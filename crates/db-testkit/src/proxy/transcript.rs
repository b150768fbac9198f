//! What the client of one connection asked for, as text. Understands no SQL.

use std::collections::HashMap;

/// The texts of a session's statements, and of the one that comes next.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    statements: HashMap<Vec<u8>, String>,
    next: String,
}

impl Transcript {
    /// Takes a message of the client, header left out. Gives the text of a request where one ends.
    pub(super) fn see(&mut self, tag: u8, body: &[u8]) -> Option<String> {
        let (first, rest) = first_string(body);
        match tag {
            b'Q' => return Some(text(first)),
            b'F' => return Some("function call".to_owned()),
            b'S' => return Some(std::mem::take(&mut self.next)),
            // Parse: the statement's name, its text.
            b'P' => {
                let sql = text(first_string(rest).0);
                self.next = format!("prepare: {sql}");
                self.statements.insert(first.to_vec(), sql);
            }
            // Bind: the portal's name, the statement's.
            b'B' => self.next = self.statements.get(first_string(rest).0).cloned().unwrap_or_default(),
            // Close: which of both, and its name.
            b'C' => self.next = "close".to_owned(),
            _ => {}
        }
        None
    }
}

/// Everything before the first zero, and everything after it.
fn first_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_text_of_its_statement() {
        let mut transcript = Transcript::default();
        let mut check = |tag, body: &str, expect: Option<&str>| {
            assert_eq!(
                transcript.see(tag, body.as_bytes()).as_deref(),
                expect,
                "{} {body:?}",
                char::from(tag)
            );
        };
        check(b'Q', "SELECT 1\0", Some("SELECT 1"));
        check(b'P', "s1\0SELECT $1\0\0\0", None);
        check(b'S', "", Some("prepare: SELECT $1"));
        check(b'B', "\0s1\0\0\0", None);
        check(b'E', "\0\0\0\0\0", None);
        check(b'S', "", Some("SELECT $1"));
        check(b'C', "Ss1\0", None);
        check(b'S', "", Some("close"));
        check(b'S', "", Some(""));
    }
}
