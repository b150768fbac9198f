//! The lines that divide a file into its way up and its way down: `-- migrate:up`, `-- migrate:down`, or those of goose.
//! They count only where they are comments, so not within a string or the body of a function.

use std::ops::Range;

use squawk_lexer::{BOM, TokenKind};

use crate::script::{Lexeme, Lexer};

/// What is wrong with the marker lines of a file. The text goes on after `file:line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerProblem {
    /// The way down is first, or the only one.
    #[error("begins the way down, but no line above it (-- migrate:up) begins the way up")]
    NoUp,
    /// The same marker again.
    #[error("begins the same way a second time: one file is one migration")]
    Twice,
    /// The way up below the way down.
    #[error("begins the way up, but the way down is above it: put it below")]
    DownFirst,
    /// SQL that belongs to neither way.
    #[error("is SQL in front of the line that begins the way up (-- migrate:up)")]
    InFront,
    /// The file is one half by its name already.
    #[error("divides a file that holds one way only by its name")]
    Unexpected,
}

/// The two ways in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sections {
    /// What is above both; comments only.
    pub(super) top: Range<usize>,
    /// With the top and the marker.
    pub(super) up: Range<usize>,
    /// With the marker, and the line on which it is.
    pub(super) down: Option<(Range<usize>, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Marker {
    Up,
    Down,
}

/// Whether a text has marker lines.
pub(super) fn are_in(text: &str) -> bool {
    all(text).iter().any(|found| matches!(found, Found::Marker(..)))
}

/// The first marker line of a text that may have none.
pub(super) fn must_be_absent(text: &str) -> Option<(u32, MarkerProblem)> {
    all(text).into_iter().find_map(|found| match found {
        Found::Marker(_, _, line) => Some((line, MarkerProblem::Unexpected)),
        Found::Sql(_) => None,
    })
}

/// Divides a text; a byte order mark is at the start of the way up.
pub(super) fn divide(text: &str) -> Result<Sections, (u32, MarkerProblem)> {
    let (mut up, mut down): (Option<usize>, Option<(usize, u32)>) = (None, None);
    for found in all(text) {
        match found {
            Found::Sql(line) if up.is_none() => return Err((line, MarkerProblem::InFront)),
            Found::Sql(_) => {}
            Found::Marker(Marker::Up, _, line) if up.is_some() => {
                let problem = if down.is_some() { MarkerProblem::DownFirst } else { MarkerProblem::Twice };
                return Err((line, problem));
            }
            Found::Marker(Marker::Up, start, _) => up = Some(start),
            Found::Marker(Marker::Down, _, line) if up.is_none() => return Err((line, MarkerProblem::NoUp)),
            Found::Marker(Marker::Down, _, line) if down.is_some() => {
                return Err((line, MarkerProblem::Twice));
            }
            Found::Marker(Marker::Down, start, line) => down = Some((start, line)),
        }
    }
    let end = down.map_or(text.len(), |(start, _)| start);
    let down = down.map(|(start, line)| (start..text.len(), line));
    Ok(Sections { top: 0..up.unwrap_or(0), up: 0..end, down })
}

enum Found {
    /// The first SQL of the file, or the first below a marker.
    Sql(u32),
    /// Where the line begins, as a byte and as a line.
    Marker(Marker, usize, u32),
}

/// What matters to this file, in order. What is left open is reported when the text is split into statements.
fn all(text: &str) -> Vec<Found> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("migrate:") && !lower.contains("+goose") {
        return Vec::new();
    }
    let sql = text.strip_prefix(BOM).unwrap_or(text);
    let before = text.len() - sql.len();
    let mut found = Vec::new();
    let mut is_first_on_line = true;
    for lexeme in Lexer::new(sql, 1).map_while(Result::ok) {
        match lexeme.kind {
            TokenKind::Whitespace => is_first_on_line |= lexeme.text.contains(['\n', '\r']),
            TokenKind::LineComment if is_first_on_line => {
                if let Some(marker) = marker(&lexeme) {
                    found.push(Found::Marker(marker, lexeme.start + before, lexeme.line));
                }
                is_first_on_line = false;
            }
            _ => {
                if !lexeme.is_blank() && !matches!(found.last(), Some(Found::Sql(_))) {
                    found.push(Found::Sql(lexeme.line));
                }
                is_first_on_line = false;
            }
        }
    }
    found
}

/// What stands behind the word is an option, which is read with the directives.
fn marker(comment: &Lexeme<'_>) -> Option<Marker> {
    let words: Vec<String> =
        comment.text.trim_start_matches("--").split_whitespace().map(str::to_ascii_lowercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["migrate:up", ..] | ["+goose", "up"] => Some(Marker::Up),
        ["migrate:down", ..] | ["+goose", "down"] => Some(Marker::Down),
        _ => None,
    }
}
