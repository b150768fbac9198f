//! Our own rules, one per file: an id, why it is wrong, what to write instead, and where it is. A rule that can not be
//! sure stays silent.

pub(super) mod concurrently_if_not_exists;
pub(super) mod contract_in_expand;
pub(super) mod down_does_not_undo;
mod enum_value_used;
mod undone;
mod validate_in_same_transaction;

use super::Finding;
use super::file::File;

/// The rules that look at one file.
const CHECKS: &[fn(&File<'_>) -> Vec<Finding>] = &[
    concurrently_if_not_exists::check,
    contract_in_expand::check,
    enum_value_used::check,
    validate_in_same_transaction::check,
];

/// What these rules find in a file.
pub(super) fn check(file: &File<'_>) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(file)).collect()
}

/// The ids of all of them.
pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    let ids = [
        concurrently_if_not_exists::ID,
        contract_in_expand::ID,
        down_does_not_undo::ID,
        enum_value_used::ID,
        validate_in_same_transaction::ID,
    ];
    ids.into_iter()
}
