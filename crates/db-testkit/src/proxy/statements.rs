//! Which requests of a client end a transaction by COMMIT, and which begin one. Reads texts only as far as needed; it is
//! no parser of SQL.

use std::collections::HashSet;

/// What a request of a client is, as far as faults are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// BEGIN or START TRANSACTION stands at its beginning, and it does not end in a COMMIT.
    Begin,
    /// It ends in a COMMIT.
    Commit,
    /// It begins and commits.
    Both,
    Other,
}

impl Request {
    pub(super) fn begins(self) -> bool {
        matches!(self, Self::Begin | Self::Both)
    }

    pub(super) fn commits(self) -> bool {
        matches!(self, Self::Commit | Self::Both)
    }
}

/// The prepared statements and portals of one session that would begin or commit.
#[derive(Debug, Default)]
pub(super) struct Statements {
    statements: Names,
    portals: Names,
}

#[derive(Debug, Default)]
struct Names {
    begin: HashSet<Vec<u8>>,
    commit: HashSet<Vec<u8>>,
}

impl Statements {
    /// What a message of the client asks for, header left out.
    pub(super) fn see(&mut self, tag: u8, body: &[u8]) -> Request {
        match tag {
            b'Q' => request(body),
            // Parse: the statement's name, its text.
            b'P' => {
                let (name, rest) = first_string(body);
                let (text, _) = first_string(rest);
                self.statements.set(name, request(text));
                Request::Other
            }
            // Bind: the portal's name, the statement's.
            b'B' => {
                let (portal, rest) = first_string(body);
                let (statement, _) = first_string(rest);
                let request = self.statements.of(statement);
                self.portals.set(portal, request);
                Request::Other
            }
            // Execute: the portal's name.
            b'E' => self.portals.of(first_string(body).0),
            // Close: which of both, and its name.
            b'C' => {
                let names =
                    if body.first() == Some(&b'S') { &mut self.statements } else { &mut self.portals };
                names.set(first_string(body.get(1..).unwrap_or_default()).0, Request::Other);
                Request::Other
            }
            _ => Request::Other,
        }
    }
}

impl Names {
    fn set(&mut self, name: &[u8], request: Request) {
        for (names, is_in) in [(&mut self.begin, request.begins()), (&mut self.commit, request.commits())] {
            if is_in {
                names.insert(name.to_vec());
            } else if !names.is_empty() {
                names.remove(name);
            }
        }
    }

    fn of(&self, name: &[u8]) -> Request {
        match (self.begin.contains(name), self.commit.contains(name)) {
            (true, true) => Request::Both,
            (true, false) => Request::Begin,
            (false, true) => Request::Commit,
            (false, false) => Request::Other,
        }
    }
}

/// Everything before the first zero, and everything after it.
fn first_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn request(text: &[u8]) -> Request {
    let text = without_trailing(text);
    match (begins(text), commits(text)) {
        (true, true) => Request::Both,
        (true, false) => Request::Begin,
        (false, true) => Request::Commit,
        (false, false) => Request::Other,
    }
}

fn begins(text: &[u8]) -> bool {
    let mut words = Words(text);
    let first = words.next();
    is(first, b"BEGIN") && !is(words.next(), b"ATOMIC")
        || is(first, b"START") && is(Words(text).nth(1), b"TRANSACTION")
}

/// Whether the last statement is a COMMIT. END is one only when it stands alone: bodies of functions end in it as well.
fn commits(text: &[u8]) -> bool {
    // Most texts end here, however long they are.
    let last = text.rsplit(|byte| !byte.is_ascii_alphabetic()).next();
    if ![&b"COMMIT"[..], b"WORK", b"TRANSACTION", b"CHAIN", b"END"].iter().any(|word| is(last, word)) {
        return false;
    }
    let start = text.iter().rposition(|byte| *byte == b';').map_or(0, |at| at + 1);
    let mut words = Words(&text[start..]);
    let first = words.next();
    let is_end_alone = start == 0 && is(first, b"END");
    if !is_end_alone && !is(first, b"COMMIT") {
        return false;
    }
    let mut next = words.next();
    if is(next, b"WORK") || is(next, b"TRANSACTION") {
        next = words.next();
    }
    // AND CHAIN, AND NO CHAIN. COMMIT PREPARED is the second phase of another transaction.
    next.is_none() || is(next, b"AND")
}

fn is(word: Option<&[u8]>, expected: &[u8]) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(expected))
}

/// The text without what ends it and means nothing: blanks, semicolons, a block comment, as tracers append one.
fn without_trailing(mut text: &[u8]) -> &[u8] {
    loop {
        while let [rest @ .., last] = text
            && (last.is_ascii_whitespace() || matches!(last, b';' | 0))
        {
            text = rest;
        }
        if !text.ends_with(b"*/") {
            return text;
        }
        let Some(start) = text.windows(2).rposition(|pair| pair == b"/*") else { return text };
        text = &text[..start];
    }
}

/// Words with blanks and comments between them.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut text = self.0.trim_ascii_start();
        loop {
            let (opening, closing): (&[u8], &[u8]) =
                if text.starts_with(b"/*") { (b"/*", b"*/") } else { (b"--", b"\n") };
            let Some(comment) = text.strip_prefix(opening) else { break };
            let end = comment.windows(closing.len()).position(|window| window == closing);
            text = end.map_or(&[][..], |end| comment[end + closing.len()..].trim_ascii_start());
        }
        let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        // What is no word stands for one that nothing is equal to.
        let end = end.unwrap_or(text.len()).max(usize::from(!text.is_empty()));
        self.0 = &text[end..];
        (end > 0).then(|| &text[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_by_their_text() {
        let check = |text: &str, expect| assert_eq!(request(text.as_bytes()), expect, "{text}");
        check("COMMIT", Request::Commit);
        check("commit;\n", Request::Commit);
        check("COMMIT\0", Request::Commit);
        check(" Commit Work ; ", Request::Commit);
        check("COMMIT TRANSACTION", Request::Commit);
        check("COMMIT AND NO CHAIN", Request::Commit);
        check("END", Request::Commit);
        check("END TRANSACTION;", Request::Commit);
        check("INSERT INTO t VALUES (1); COMMIT", Request::Commit);
        check("INSERT INTO t VALUES (1);COMMIT;;", Request::Commit);
        check("COMMIT /* trace='1' */", Request::Commit);
        check("/* why */ -- and how\n COMMIT", Request::Commit);
        check("BEGIN; INSERT INTO t VALUES (1); COMMIT", Request::Both);
        check("BEGIN", Request::Begin);
        check("begin isolation level serializable;", Request::Begin);
        check("START TRANSACTION READ ONLY", Request::Begin);
        check("BEGIN; INSERT INTO t VALUES (1)", Request::Begin);
        check("", Request::Other);
        check(";", Request::Other);
        check("COMMIT PREPARED 'x'", Request::Other);
        check("COMMITTED", Request::Other);
        check("SELECT 'COMMIT'", Request::Other);
        check("SELECT '; COMMIT'", Request::Other);
        check("SELECT 1 AS commit", Request::Other);
        check("SELECT CASE WHEN true THEN 1 END", Request::Other);
        check("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END", Request::Other);
        check("COMMIT; SELECT 1", Request::Other);
        check("ROLLBACK", Request::Other);
        check("/* open", Request::Other);
        check("-- COMMIT", Request::Other);
    }

    #[test]
    fn a_prepared_commit_counts_when_it_is_executed() {
        let mut statements = Statements::default();
        let mut check = |tag, body: &str, expect| {
            assert_eq!(statements.see(tag, body.as_bytes()), expect, "{} {body:?}", char::from(tag));
        };
        check(b'P', "s1\0COMMIT\0\0\0", Request::Other);
        check(b'B', "\0s1\0\0\0\0\0\0\0", Request::Other);
        check(b'E', "\0\0\0\0\0", Request::Commit);
        check(b'B', "p\0s1\0\0\0\0\0\0\0", Request::Other);
        check(b'E', "p\0\0\0\0\0", Request::Commit);
        check(b'C', "Pp\0", Request::Other);
        check(b'E', "p\0\0\0\0\0", Request::Other);
        check(b'P', "\0SELECT 1\0\0\0", Request::Other);
        check(b'B', "\0\0\0\0\0\0\0\0", Request::Other);
        check(b'E', "\0\0\0\0\0", Request::Other);
        check(b'C', "Ss1\0", Request::Other);
        check(b'B', "\0s1\0\0\0\0\0\0\0", Request::Other);
        check(b'E', "\0\0\0\0\0", Request::Other);
        check(b'P', "b\0BEGIN\0\0\0", Request::Other);
        check(b'B', "\0b\0\0\0\0\0\0\0", Request::Other);
        check(b'E', "\0\0\0\0\0", Request::Begin);
    }
}
