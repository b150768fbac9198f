//! `CREATE INDEX CONCURRENTLY IF NOT EXISTS`: an attempt that fails leaves an INVALID index, and the next one takes it
//! for done. Indexes that are not built concurrently leave nothing behind.

use squawk_syntax::ast::{AstNode, Stmt};

use crate::lint::file::File;
use crate::lint::{Finding, Severity};

pub(in crate::lint) const ID: &str = "concurrently-if-not-exists";
const WHY: &str =
    "if an earlier attempt failed, an INVALID index of this name exists, and IF NOT EXISTS takes it for done";
const INSTEAD: &str =
    "without IF NOT EXISTS: the runner looks for the INVALID rest of an attempt and builds it again";

pub(in crate::lint) fn check(file: &File<'_>) -> Vec<Finding> {
    let risky = |statement: &&Stmt| match statement {
        Stmt::CreateIndex(index) => index.concurrently_token().is_some() && index.if_not_exists().is_some(),
        _ => false,
    };
    let found = file.statements.iter().filter(risky);
    found
        .map(|statement| {
            let finding = file.finding(ID, Severity::Error, statement.syntax());
            Finding { why: WHY.to_owned(), instead: INSTEAD.to_owned(), ..finding }
        })
        .collect()
}
