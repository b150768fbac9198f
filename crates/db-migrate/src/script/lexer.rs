//! The tokens of a file with their places. It only takes text apart; what the tokens mean together is `split`'s.

use std::ops::Range;

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use super::refusal::{Open, Refusal};

/// A token and its place.
#[derive(Clone, Debug)]
pub(crate) struct Lexeme<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    /// The line on which it begins, from 1.
    pub(crate) line: u32,
}

impl Lexeme<'_> {
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// White space and comments: nothing that the server sees.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. })
    }

    /// Whether it is this word, outside of quotes. Words of SQL are ASCII.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Ident && self.text.eq_ignore_ascii_case(word)
    }

    pub(crate) fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }
}

/// Goes through a text once, from its start to its end.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    tokens: Box<dyn Iterator<Item = squawk_lexer::Token> + 'a>,
    offset: usize,
    newlines: u32,
}

impl<'a> Lexer<'a> {
    /// `text` begins on line `first_line` of its file.
    pub(crate) fn new(text: &'a str, first_line: u32) -> Self {
        let newlines = first_line.saturating_sub(1);
        Self { text, tokens: Box::new(tokenize(text)), offset: 0, newlines }
    }

    /// An `E'…'` string goes on in the next line as an escape string, though the part there has no `E`. The lexer takes that
    /// part for a plain string, so it would end at the quote of a `\'`.
    fn take_continuations(&mut self) {
        let begin = self.offset;
        while let Some(part) = continuation(&self.text[self.offset..]) {
            self.offset += part;
        }
        if self.offset > begin {
            self.tokens = Box::new(tokenize(&self.text[self.offset..]));
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Lexeme<'a>, (u32, Refusal)>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.tokens.next()?;
        let (start, line) = (self.offset, self.newlines.saturating_add(1));
        self.offset += token.len as usize;
        if let TokenKind::Literal { kind: LiteralKind::EscStr { terminated: true } } = token.kind {
            self.take_continuations();
        }
        let text = &self.text[start..self.offset];
        self.newlines = self.newlines.saturating_add(newlines(text));
        if let Some(open) = left_open(token.kind) {
            return Some(Err((line, Refusal::Unterminated(open))));
        }
        Some(Ok(Lexeme { kind: token.kind, text, start, line }))
    }
}

fn left_open(kind: TokenKind) -> Option<Open> {
    match kind {
        TokenKind::BlockComment { terminated: false } => Some(Open::Comment),
        TokenKind::QuotedIdent { terminated: false, .. } => Some(Open::Identifier),
        TokenKind::Literal { kind } => match kind {
            LiteralKind::Str { terminated: false }
            | LiteralKind::NationalStr { terminated: false }
            | LiteralKind::ByteStr { terminated: false }
            | LiteralKind::BitStr { terminated: false }
            | LiteralKind::UnicodeEscStr { terminated: false }
            | LiteralKind::EscStr { terminated: false } => Some(Open::String),
            LiteralKind::DollarQuotedString { terminated: false } => Some(Open::DollarQuote),
            _ => None,
        },
        _ => None,
    }
}

/// How many bytes of `rest` belong to the escape string in front of it: white space with at least one line end, line
/// comments among it, and one more string. `None` when the string ended.
fn continuation(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut at, mut is_next_line) = (0, false);
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => is_next_line = true,
            b' ' | b'\t' | 0x0B | 0x0C => {}
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                continue;
            }
            b'\'' if is_next_line => break,
            _ => return None,
        }
        at += 1;
    }
    at += 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Line ends of Unix, Windows, and a CR by itself, which ends a comment for the server as well.
pub(crate) fn newlines(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let is_end = |(at, byte): (usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let count = bytes.iter().enumerate().filter(|end| is_end(*end)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
