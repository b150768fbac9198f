//! What takes something away from programs that run, in a file that says it does not: `-- phase: expand` only adds, and
//! `-- phase: migrate` only moves data. Files without a phase promise nothing.

use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Stmt};

use crate::Phase;
use crate::lint::file::{File, verb};
use crate::lint::{Finding, Severity};

pub(in crate::lint) const ID: &str = "contract-in-expand";
const INSTEAD: &str = "a later file with `-- phase: contract`, once no program needs it any more";

pub(in crate::lint) fn check(file: &File<'_>) -> Vec<Finding> {
    let phase = match file.phase() {
        Some(Phase::Expand) => "expand",
        Some(Phase::Migrate) => "migrate",
        Some(Phase::Contract) | None => return Vec::new(),
    };
    // What the file creates is nothing to miss, nor is what it drops only to create it anew: a view with other columns.
    let known = file.statements.iter().filter(|statement| !file.is_about_new(statement));
    let taken = known.filter_map(|statement| {
        let narrowed = || narrowed(statement).filter(|_| phase == "expand");
        Some((statement, dropped(statement).or_else(narrowed)?))
    });
    taken
        .map(|(statement, what)| {
            let finding = file.finding(ID, Severity::Error, statement.syntax());
            let why =
                format!("{what} may break programs that run now, and the file says `-- phase: {phase}`");
            Finding { why, instead: INSTEAD.to_owned(), ..finding }
        })
        .collect()
}

fn dropped(statement: &Stmt) -> Option<&'static str> {
    Some(match statement {
        Stmt::DropTable(_) | Stmt::DropForeignTable(_) => "DROP TABLE",
        Stmt::DropView(_) | Stmt::DropMaterializedView(_) => "DROP VIEW",
        Stmt::DropFunction(_) | Stmt::DropProcedure(_) | Stmt::DropRoutine(_) | Stmt::DropAggregate(_) => {
            "DROP FUNCTION"
        }
        Stmt::DropType(_) | Stmt::DropDomain(_) => "DROP TYPE",
        Stmt::DropSchema(_) => "DROP SCHEMA",
        Stmt::DropSequence(_) => "DROP SEQUENCE",
        Stmt::DropExtension(_) => "DROP EXTENSION",
        Stmt::AlterTable(table) => table
            .actions()
            .find(|action| matches!(action, AlterTableAction::DropColumn(_)))
            .map(|_| "DROP COLUMN")?,
        _ => return None,
    })
}

fn narrowed(statement: &Stmt) -> Option<&'static str> {
    match statement {
        Stmt::AlterTable(table) => table.actions().find_map(|action| narrowed_table(&action)),
        Stmt::AlterType(_)
        | Stmt::AlterDomain(_)
        | Stmt::AlterView(_)
        | Stmt::AlterMaterializedView(_)
        | Stmt::AlterSequence(_)
        | Stmt::AlterSchema(_)
        | Stmt::AlterFunction(_)
        | Stmt::AlterProcedure(_) => {
            statement.syntax().children().any(|action| verb(&action) == "RENAME").then_some("RENAME")
        }
        _ => None,
    }
}

fn narrowed_table(action: &AlterTableAction) -> Option<&'static str> {
    match action {
        AlterTableAction::RenameColumn(_) | AlterTableAction::TableRenameTo(_) => Some("RENAME"),
        AlterTableAction::SetSchema(_) => Some("SET SCHEMA"),
        AlterTableAction::AddColumn(column) => {
            is_required(column).then_some("ADD COLUMN … NOT NULL without a default")
        }
        AlterTableAction::AlterColumn(column) => match column.option()? {
            AlterColumnOption::SetNotNull(_) => Some("SET NOT NULL"),
            AlterColumnOption::SetType(_) => Some("a new type"),
            AlterColumnOption::DropDefault(_) => Some("DROP DEFAULT"),
            _ => None,
        },
        _ => None,
    }
}

fn is_required(column: &ast::AddColumn) -> bool {
    use ast::Constraint::{DefaultConstraint, GeneratedConstraint, NotNullConstraint};
    let serial = column.ty().as_ref().is_some_and(crate::effects::volatility::is_serial);
    let has =
        |wanted: fn(&ast::Constraint) -> bool| column.constraints().any(|constraint| wanted(&constraint));
    has(|constraint| matches!(constraint, NotNullConstraint(_)))
        && !serial
        && !has(|constraint| matches!(constraint, DefaultConstraint(_) | GeneratedConstraint(_)))
}
