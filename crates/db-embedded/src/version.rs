//! The version of a PostgreSQL program, as it prints it. Not the server's number over the wire.

use std::cmp::Ordering;
use std::fmt;

/// Version of a PostgreSQL, such as 15.18 or 17beta1. Ordered by age, a pre-release before its release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    major: u32,
    text: String,
}

impl Version {
    /// The major version, such as 15. It decides which data folders can be opened.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The full version, such as `15.18`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Parses `15.18`. Versions before 10 are unknown here: they lack what we rely on.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let major = text[..digits(text)].parse().ok().filter(|major| *major >= 10)?;
        Some(Self { major, text: text.to_owned() })
    }

    /// Parses what `postgres --version` prints, such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    pub(crate) fn parse_output(output: &str) -> Option<Self> {
        Self::parse(output.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?)
    }

    /// Major, then 0 for a pre-release and 1 for a release, then the minor number.
    fn key(&self) -> (u32, u32, u32) {
        let rest = &self.text[digits(&self.text)..];
        match rest.strip_prefix('.') {
            Some(minor) => (self.major, 1, minor[..digits(minor)].parse().unwrap_or(0)),
            None => (self.major, u32::from(rest.is_empty()), 0),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key()).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Number of leading ASCII digits.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_program_prints() {
        fn check(output: &str, expect: Option<(u32, &str)>) {
            let found = Version::parse_output(output);
            assert_eq!(found.as_ref().map(|it| (it.major(), it.as_str())), expect, "{output:?}");
        }
        check("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, "15.18")));
        check("postgres (PostgreSQL) 17.0\n", Some((17, "17.0")));
        check("postgres (PostgreSQL) 18beta1\n", Some((18, "18beta1")));
        check("postgres (PostgreSQL) 9.6.24\n", None);
        check("postgres (EnterpriseDB) 15.1\n", None);
        check("postgres (PostgreSQL) \n", None);
        check("", None);
    }

    #[test]
    fn orders_by_age() {
        let sorted = ["10.23", "15.9", "15.18", "17beta2", "17.0", "17.10", "18devel", "18.0"];
        let versions: Vec<_> = sorted.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(versions.is_sorted(), "{versions:?}");
    }
}
