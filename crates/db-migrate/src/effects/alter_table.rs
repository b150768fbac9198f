//! What `ALTER TABLE` does to the table and to those it points to. Locks as in the server's `AlterTableGetLockLevel`.

use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Constraint};

use super::found::Found;
use super::lock::LockLevel::{AccessExclusive, AccessShare, ShareRowExclusive, ShareUpdateExclusive};
use super::tree::{all, find, name_in, written};
use super::volatility::{self, Volatility};

pub(super) fn read(statement: &ast::AlterTable, found: &mut Found) {
    if statement.all_in_tablespace().is_some() {
        found.warn("moves every table of a tablespace: which ones can not be seen from here");
        return;
    }
    let Some(table) = name_in::<ast::TableRelationName>(statement.syntax())
        .and_then(|_| name_in::<ast::TableNameRef>(statement.syntax()))
    else {
        return;
    };
    for action in statement.actions() {
        read_action(&table, &action, found);
    }
}

fn read_action(table: &str, action: &AlterTableAction, found: &mut Found) {
    match action {
        AlterTableAction::AddColumn(column) => add_column(table, column, found),
        AlterTableAction::AddConstraint(added) => {
            if let Some(constraint) = added.constraint() {
                add_constraint(table, &constraint, found);
            }
        }
        AlterTableAction::AlterColumn(column) => alter_column(table, column, found),
        AlterTableAction::ValidateConstraint(_) => {
            found
                .lock(table, ShareUpdateExclusive)
                .scans()
                .warn("if it is a foreign key, the table it points to is locked ROW SHARE");
        }
        AlterTableAction::ClusterOn(_)
        | AlterTableAction::ResetOptions(_)
        | AlterTableAction::SetOptions(_)
        | AlterTableAction::SetWithoutCluster(_) => {
            found.lock(table, ShareUpdateExclusive);
        }
        AlterTableAction::DisableTrigger(_)
        | AlterTableAction::EnableTrigger(_)
        | AlterTableAction::EnableAlwaysTrigger(_)
        | AlterTableAction::EnableReplicaTrigger(_) => {
            found.lock(table, ShareRowExclusive);
        }
        AlterTableAction::SetLogged(_)
        | AlterTableAction::SetUnlogged(_)
        | AlterTableAction::SetAccessMethod(_)
        | AlterTableAction::SetTablespace(_) => {
            found.lock(table, AccessExclusive).rewrites();
        }
        AlterTableAction::AttachPartition(attached) => {
            found
                .lock(table, ShareUpdateExclusive)
                .warn("a default partition is locked ACCESS EXCLUSIVE and scanned as well");
            if let Some(partition) = name_in::<ast::TableNameRef>(attached.syntax()) {
                found
                    .lock(&partition, AccessExclusive)
                    .scans()
                    .warn("it is scanned unless a valid CHECK already implies the bounds");
            }
        }
        AlterTableAction::DetachPartition(detached) => {
            let gentle = detached.detach_partition_option().is_some();
            found.lock(table, if gentle { ShareUpdateExclusive } else { AccessExclusive });
            if let Some(partition) = name_in::<ast::TableNameRef>(detached.syntax()) {
                found.lock(&partition, AccessExclusive);
            }
        }
        AlterTableAction::InheritTable(parent) => {
            found.lock(table, AccessExclusive);
            if let Some(parent) = name_in::<ast::TableNameRef>(parent.syntax()) {
                found.lock(&parent, ShareUpdateExclusive);
            }
        }
        AlterTableAction::NoInheritTable(parent) => {
            found.lock(table, AccessExclusive);
            if let Some(parent) = name_in::<ast::TableNameRef>(parent.syntax()) {
                found.lock(&parent, AccessShare);
            }
        }
        AlterTableAction::DropConstraint(_) => {
            found
                .lock(table, AccessExclusive)
                .warn("if it is a foreign key, the table it points to is locked ACCESS EXCLUSIVE as well");
        }
        AlterTableAction::DropColumn(column) => {
            let effect = found.lock(table, AccessExclusive);
            effect.warn("programs that name the column fail, and its data is gone");
            if matches!(column.drop_behavior(), Some(ast::DropBehavior::Cascade(_))) {
                effect.warn("CASCADE also drops views and constraints that use the column");
            }
        }
        AlterTableAction::RenameColumn(_) => {
            found.lock(table, AccessExclusive).warn("the old name is gone for programs that still use it");
        }
        AlterTableAction::TableRenameTo(renamed) => match name_in::<ast::TableName>(renamed.syntax()) {
            Some(to) => found.rename(table, &to),
            None => {
                found.lock(table, AccessExclusive);
            }
        },
        _ => {
            found.lock(table, AccessExclusive);
        }
    }
}

fn add_column(table: &str, column: &ast::AddColumn, found: &mut Found) {
    let effect = found.lock(table, AccessExclusive);
    let mut filled = false;
    if column.ty().as_ref().is_some_and(volatility::is_serial) {
        effect.rewrites().warn("the column takes its values from a sequence");
        filled = true;
    }
    // A default decides whether rows are visited for the other constraints, and may stand behind them.
    for constraint in column.constraints() {
        match constraint {
            Constraint::DefaultConstraint(default) => {
                let Some(expression) = default.expr() else { continue };
                filled |= !is_null(&expression);
                match volatility::of(&expression) {
                    Volatility::Stable => {}
                    Volatility::Volatile(function) => {
                        effect.rewrites().warn(&format!("{function}() is evaluated for each row"));
                    }
                    Volatility::Unknown(function) => {
                        let hazard = format!("rewrites unless {function}() is declared STABLE or IMMUTABLE");
                        effect.rewrites().warn(&hazard);
                    }
                }
            }
            Constraint::GeneratedConstraint(_) => {
                effect.rewrites().warn("the values of the column are computed for each row");
                filled = true;
            }
            _ => {}
        }
    }
    for constraint in column.constraints() {
        match constraint {
            Constraint::NotNullConstraint(_) if !filled => {
                effect.scans().warn("fails if the table has rows, as the column has no default");
            }
            Constraint::CheckConstraint(_) => {
                effect.scans();
            }
            Constraint::PrimaryKeyConstraint(_) | Constraint::UniqueConstraint(_) => {
                effect.scans().warn("builds an index while nobody reads or writes");
            }
            _ => {}
        }
    }
    for reference in all::<ast::ReferencesConstraint>(column.syntax()) {
        // Without a default the column is NULL everywhere, and the server knows it.
        if filled {
            found.lock(table, AccessExclusive).scans();
        }
        point_to(table, reference.syntax(), found);
    }
}

fn is_null(expression: &ast::Expr) -> bool {
    written(expression.syntax()).eq_ignore_ascii_case("null")
}

fn add_constraint(table: &str, constraint: &Constraint, found: &mut Found) {
    let checked = !constraint.is_not_valid();
    match constraint {
        Constraint::ForeignKeyConstraint(_) | Constraint::ReferencesConstraint(_) => {
            found.lock(table, ShareRowExclusive).scans |= checked;
            point_to(table, constraint.syntax(), found);
        }
        Constraint::PrimaryKeyConstraint(key) if key.using_index().is_some() => {
            found
                .lock(table, AccessExclusive)
                .warn("scans the table unless its columns are NOT NULL already");
        }
        Constraint::UniqueConstraint(unique) if unique.using_index().is_some() => {
            found.lock(table, AccessExclusive);
        }
        Constraint::PrimaryKeyConstraint(_)
        | Constraint::UniqueConstraint(_)
        | Constraint::ExcludeConstraint(_) => {
            found.lock(table, AccessExclusive).scans().warn("builds an index while nobody reads or writes");
        }
        _ => found.lock(table, AccessExclusive).scans |= checked,
    }
}

/// Locks the table that a foreign key points to.
fn point_to(table: &str, constraint: &squawk_syntax::SyntaxNode, found: &mut Found) {
    if let Some(to) = name_in::<ast::TableNameRef>(constraint).filter(|to| to != table) {
        found.lock(&to, ShareRowExclusive);
    }
}

fn alter_column(table: &str, column: &ast::AlterColumn, found: &mut Found) {
    match column.option() {
        Some(
            AlterColumnOption::SetStatistics(_)
            | AlterColumnOption::SetOptions(_)
            | AlterColumnOption::ResetOptions(_),
        ) => {
            found.lock(table, ShareUpdateExclusive);
        }
        Some(AlterColumnOption::SetNotNull(_)) => {
            found
                .lock(table, AccessExclusive)
                .scans()
                .warn("scans unless a valid CHECK (… IS NOT NULL) proves it already");
        }
        Some(AlterColumnOption::SetType(change)) => {
            let to = change.ty().map(|ty| ty.syntax().text().to_string()).unwrap_or_default();
            let effect = found.lock(table, AccessExclusive).rewrites();
            effect.warn(&if find::<ast::UsingExpr>(change.syntax()).is_some() {
                format!("rewrites unless USING leaves the value as it is; indexes on the column are rebuilt for {to}")
            } else {
                format!("rewrites unless {to} stores what the old type stored (a longer varchar, varchar to text)")
            });
        }
        _ => {
            found.lock(table, AccessExclusive);
        }
    }
}
