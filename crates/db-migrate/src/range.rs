//! Which versions of the schema a program can work with. It says nothing of how the schema gets there.

use std::fmt;
use std::str::FromStr;

use crate::Version;

/// Versions of a schema, both ends included: `12..20`, `12..`, `..20` or `12` alone.
///
/// During a rollout two versions of a program run on one schema. Each says what it can work with, and is ready only then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRange {
    at_least: Option<Version>,
    at_most: Option<Version>,
}

/// Where a schema is, as seen from a [`SchemaRange`]. Complete: there is no fourth place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Migrations that are needed are not applied.
    Behind,
    /// The program can work with it.
    Within,
    /// Migrations are applied that the program cannot work with.
    Ahead,
}

/// The text is no range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of versions, expected such as 12..20, 12.., ..20 or 12")]
pub struct InvalidRange(String);

impl SchemaRange {
    /// Where a schema is whose newest applied migration this is.
    #[must_use]
    pub fn place(&self, newest: Option<&Version>) -> Place {
        let is_behind = match (&self.at_least, newest) {
            (None, _) => false,
            (Some(at_least), Some(newest)) => newest < at_least,
            (Some(at_least), None) => !at_least.is_zero(),
        };
        let is_ahead = matches!((&self.at_most, newest), (Some(at_most), Some(newest)) if newest > at_most);
        match (is_behind, is_ahead) {
            (true, _) => Place::Behind,
            (_, true) => Place::Ahead,
            _ => Place::Within,
        }
    }
}

impl FromStr for SchemaRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.to_owned());
        let version = |text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| invalid()),
        };
        let (at_least, at_most) = match text.split_once("..") {
            Some((at_least, at_most)) => (version(at_least)?, version(at_most)?),
            None => (version(text)?, version(text)?),
        };
        let is_empty = at_least.is_none() && at_most.is_none();
        let is_backwards = matches!((&at_least, &at_most), (Some(least), Some(most)) if least > most);
        if is_empty || is_backwards { Err(invalid()) } else { Ok(Self { at_least, at_most }) }
    }
}

impl fmt::Display for SchemaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_least, at_most } = self;
        if let Some(at_least) = at_least {
            write!(f, "{at_least}")?;
        }
        f.write_str("..")?;
        if let Some(at_most) = at_most {
            write!(f, "{at_most}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_behind_within_or_ahead() {
        let check = |range: &str, newest: &str, expect| {
            let range: SchemaRange = range.parse().expect(range);
            let newest: Option<Version> = newest.parse().ok();
            assert_eq!(range.place(newest.as_ref()), expect, "{range} {newest:?}");
        };
        check("12..20", "12", Place::Within);
        check("12..20", "020", Place::Within);
        check("12..20", "11", Place::Behind);
        check("12..20", "21", Place::Ahead);
        check("12..", "99999999999999999999999", Place::Within);
        check("12..", "", Place::Behind);
        check("..20", "", Place::Within);
        check("..20", "21", Place::Ahead);
        check("12", "12", Place::Within);
        check("12", "13", Place::Ahead);
        check("0..", "", Place::Within);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", "..", "20..12", "a..b", "1...2", "v1.."] {
            assert!(bad.parse::<SchemaRange>().is_err(), "{bad:?}");
        }
        assert_eq!(" 1 .. 20 ".parse::<SchemaRange>().expect("range").to_string(), "1..20");
    }
}
