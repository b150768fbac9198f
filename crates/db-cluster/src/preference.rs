//! Where a read may go.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a read may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preference {
    /// To the primary only.
    Primary,
    /// To a replica; to the primary when no replica is fit. The default.
    #[default]
    PreferReplica,
    /// To a replica only: the primary is not to be burdened, and no answer is better than that.
    ReplicaOnly,
}

/// The text names no preference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown read preference {given:?}, expected primary, prefer-replica or replica-only")]
pub struct UnknownPreference {
    /// What was given.
    pub given: String,
}

const NAMES: [(Preference, &str); 3] = [
    (Preference::Primary, "primary"),
    (Preference::PreferReplica, "prefer-replica"),
    (Preference::ReplicaOnly, "replica-only"),
];

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(preference, _)| preference == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Preference {
    type Err = UnknownPreference;

    fn from_str(text: &str) -> Result<Self, UnknownPreference> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(preference, _)| *preference).ok_or_else(|| UnknownPreference { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (preference, name) in NAMES {
            assert_eq!((name.parse(), preference.to_string()), (Ok(preference), name.to_owned()));
        }
        let error = "secondary".parse::<Preference>().expect_err("another house's word");
        let expect =
            "unknown read preference \"secondary\", expected primary, prefer-replica or replica-only";
        assert_eq!(error.to_string(), expect);
    }
}
