//! `NOT VALID` and `VALIDATE CONSTRAINT` of the same constraint in one transaction: the strong lock of the first is held
//! while the second reads every row, which is what the pair is there to avoid. A table that the file creates has no
//! rows.

use std::collections::HashSet;

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Stmt};

use crate::effects::tree::{folded, name_in, written};
use crate::lint::file::File;
use crate::lint::{Finding, Severity};

pub(in crate::lint) const ID: &str = "validate-in-same-transaction";
const WHY: &str = "the lock of ADD CONSTRAINT is held until the transaction ends, so NOT VALID spares nobody the wait while \
                   VALIDATE reads every row";
const INSTEAD: &str = "VALIDATE CONSTRAINT in the next file";

pub(in crate::lint) fn check(file: &File<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut added = HashSet::new();
    for statement in file.statements.iter().filter(|_| file.is_transaction()) {
        let Stmt::AlterTable(alter) = statement else { continue };
        if file.is_about_new(statement) {
            continue;
        }
        let Some(table) = name_in::<ast::TableNameRef>(alter.syntax()).map(|table| folded(&table)) else {
            continue;
        };
        for action in alter.actions() {
            match action {
                AlterTableAction::AddConstraint(action) => {
                    let constraint = action.constraint().filter(ast::Constraint::is_not_valid);
                    if let Some(name) = constraint.and_then(|constraint| constraint.constraint_name()) {
                        added.insert((table.clone(), folded(&written(name.syntax()))));
                    }
                }
                AlterTableAction::ValidateConstraint(action) => {
                    let name = name_in::<ast::ConstraintNameRef>(action.syntax()).unwrap_or_default();
                    if added.contains(&(table.clone(), folded(&name))) {
                        let finding = file.finding(ID, Severity::Warning, action.syntax());
                        findings.push(Finding {
                            why: WHY.to_owned(),
                            instead: INSTEAD.to_owned(),
                            ..finding
                        });
                    }
                }
                _ => {}
            }
        }
    }
    findings
}
