//! A value that is added to an enum and used later in the same transaction: the server refuses it (55P04). It may be
//! used at once if the transaction also creates the type. Text in functions is not looked at, as it is not run.

use std::collections::HashSet;

use squawk_syntax::ast::{self, AlterTypeAction, AstNode, Stmt};

use crate::effects::tree::all;
use crate::lint::file::File;
use crate::lint::{Finding, Severity};

pub(in crate::lint) const ID: &str = "enum-value-used-in-same-transaction";
const INSTEAD: &str = "ADD VALUE in a file of its own, and use the value in the next one";

pub(in crate::lint) fn check(file: &File<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut added = HashSet::new();
    for statement in file.statements.iter().filter(|_| file.is_transaction()) {
        match statement {
            Stmt::AlterType(alter) => {
                if let Some(AlterTypeAction::AddValue(value)) = alter.action()
                    && !file.is_about_new(statement)
                {
                    added.extend(value.literal().and_then(|literal| literal.string_value()));
                }
            }
            Stmt::CommentOn(_) | Stmt::CreateFunction(_) | Stmt::CreateProcedure(_) | Stmt::Set(_) => {}
            Stmt::Do(block) if !added.is_empty() => {
                let body = block.syntax().text().to_string();
                let used = added.iter().find(|value| body.contains(&format!("'{value}'")));
                findings.extend(used.map(|value| finding(file, block.syntax(), value)));
            }
            _ if added.is_empty() => {}
            _ => {
                let literals = all::<ast::Literal>(statement.syntax());
                let used = literals.filter_map(|literal| Some((literal.string_value()?, literal)));
                let used = used.filter(|(value, _)| added.contains(value));
                findings.extend(used.map(|(value, literal)| finding(file, literal.syntax(), &value)));
            }
        }
    }
    findings
}

fn finding(file: &File<'_>, at: &squawk_syntax::SyntaxNode, value: &str) -> Finding {
    let why = format!(
        "'{value}' is added to an enum by the same transaction; if this is that value, the server refuses it before that has ended"
    );
    Finding { why, instead: INSTEAD.to_owned(), ..file.finding(ID, Severity::Warning, at) }
}
