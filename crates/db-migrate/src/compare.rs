//! Two catalogues side by side: what should be, and what is. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::ObjectKind;
use crate::catalogue::{Catalogue, Object};

/// One object that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// What it is.
    pub kind: ObjectKind,
    /// Its qualified name, for example `public.users.email`.
    pub name: String,
    /// What the check found.
    #[serde(flatten)]
    pub state: ObjectState,
}

/// What the check of an object found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectState {
    /// As declared.
    Ok,
    /// Declared by the migrations, but not there.
    Missing {
        /// Its definition by the migrations.
        expected: String,
    },
    /// There, but not as declared.
    Different {
        /// Its definition by the migrations.
        expected: String,
        /// Its definition in the database.
        actual: String,
    },
    /// There, in a schema that the migrations use, but declared by none.
    Unexpected {
        /// Its definition in the database.
        actual: String,
    },
}

impl Checked {
    /// Whether it is as declared.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state == ObjectState::Ok
    }
}

/// Every declared object, and what is there beyond them; ordered by kind and name.
pub(crate) fn compare(expected: &Catalogue, actual: &Catalogue) -> Vec<Checked> {
    let schemas: BTreeSet<&str> = expected.values().map(|object| object.schema.as_str()).collect();
    pair(expected, actual, |object| !object.incidental && schemas.contains(object.schema.as_str()))
}

/// The objects in which two states of one database differ. Nothing is anybody else's here: the database is scratch.
pub(crate) fn differences(expected: &Catalogue, actual: &Catalogue) -> Vec<Checked> {
    let mut checked = pair(expected, actual, |_| true);
    checked.retain(|object| !object.is_ok());
    checked
}

fn pair(expected: &Catalogue, actual: &Catalogue, is_ours: impl Fn(&Object) -> bool) -> Vec<Checked> {
    let keys: BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
    let check = |key: &(ObjectKind, String)| {
        let state = match (expected.get(key), actual.get(key)) {
            (Some(expected), Some(actual)) if same(&expected.definition, &actual.definition) => {
                ObjectState::Ok
            }
            (Some(expected), Some(actual)) => ObjectState::Different {
                expected: expected.definition.clone(),
                actual: actual.definition.clone(),
            },
            (Some(expected), None) => ObjectState::Missing { expected: expected.definition.clone() },
            (None, Some(actual)) if is_ours(actual) => {
                ObjectState::Unexpected { actual: actual.definition.clone() }
            }
            (None, _) => return None,
        };
        Some(Checked { kind: key.0, name: key.1.clone(), state })
    };
    keys.into_iter().filter_map(check).collect()
}

/// Files are sent as they are, so the body of a function has the line ends of the checkout that it came from.
fn same(expected: &str, actual: &str) -> bool {
    expected == actual || expected.replace("\r\n", "\n") == actual.replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(objects: &[(ObjectKind, &str, &str)]) -> Catalogue {
        let object = |(kind, name, definition): &(ObjectKind, &str, &str)| {
            let incidental = *kind == ObjectKind::Extension;
            let schema = name.split_once('.').map_or("", |(schema, _)| schema).to_owned();
            let object = Object { schema, definition: (*definition).to_owned(), incidental };
            ((*kind, (*name).to_owned()), object)
        };
        objects.iter().map(object).collect()
    }

    #[test]
    fn each_object_is_in_one_state() {
        use ObjectKind::{Column, Extension, Table};
        let expected = catalogue(&[
            (Table, "public.users", "table"),
            (Column, "public.users.email", "text NOT NULL"),
            (Column, "public.users.zone", "text"),
            (Extension, "citext", ""),
        ]);
        let actual = catalogue(&[
            (Table, "public.users", "table"),
            (Column, "public.users.zone", "integer"),
            (Column, "public.users.age", "integer"),
            (Table, "elsewhere.theirs", "table"),
            (Extension, "pg_stat_statements", ""),
        ]);
        let checked = compare(&expected, &actual);
        let text = serde_json::to_string(&checked).expect("json");
        let expect = r#"[
            {"kind":"extension","name":"citext","state":"missing","expected":""},
            {"kind":"table","name":"public.users","state":"ok"},
            {"kind":"column","name":"public.users.age","state":"unexpected","actual":"integer"},
            {"kind":"column","name":"public.users.email","state":"missing","expected":"text NOT NULL"},
            {"kind":"column","name":"public.users.zone","state":"different","expected":"text","actual":"integer"}
        ]"#;
        let expect: String = expect.lines().map(str::trim).collect();
        assert_eq!(text, expect);
    }

    #[test]
    fn line_ends_alone_are_no_difference() {
        let check = |expected: &str, actual: &str, expect| {
            assert_eq!(same(expected, actual), expect, "{expected:?} {actual:?}");
        };
        check("a\nb", "a\r\nb", true);
        check("a\r\nb\n", "a\nb\r\n", true);
        check("a\rb", "a\nb", false);
        check("a\nb", "a\n\nb", false);
    }

    #[test]
    fn in_a_scratch_database_everything_counts() {
        let before = catalogue(&[]);
        let after =
            catalogue(&[(ObjectKind::Table, "public.t", "table"), (ObjectKind::Extension, "citext", "")]);
        let states: Vec<_> = differences(&before, &after).into_iter().map(|checked| checked.name).collect();
        assert_eq!(states, ["citext", "public.t"]);
        assert!(compare(&before, &after).is_empty());
        assert!(differences(&after, &after).is_empty());
    }
}
