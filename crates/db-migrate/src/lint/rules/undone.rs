//! What a way down takes away: by name, with its table or its schema, or in a way that can not be seen. It only reads;
//! whether that is enough is `down_does_not_undo`'s to say.

use std::collections::HashSet;

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Stmt};

use crate::effects::tree::{Name, Names, all, find, folded, name_in, names_in, written};
use crate::lint::file::{File, verb};

/// What a file drops.
#[derive(Default)]
pub(super) struct Undone {
    /// Whatever is dropped, renamed or put back by `CREATE OR REPLACE`, of any kind.
    names: Names,
    schemas: HashSet<String>,
    columns: HashSet<(String, String)>,
    /// Something is dropped with all that depends on it.
    pub(super) cascades: bool,
    /// Code runs that can not be seen, so anything may be dropped.
    pub(super) unseen: bool,
}

impl Undone {
    pub(super) fn by(file: &File<'_>) -> Self {
        let mut undone = Self::default();
        for statement in &file.statements {
            undone.read(statement);
        }
        undone
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        let in_schema = name.schema.as_ref().is_some_and(|schema| self.schemas.contains(schema));
        in_schema || self.names.contains(name)
    }

    pub(super) fn has_column(&self, table: &Name, column: &str) -> bool {
        self.has(table) || self.columns.contains(&(table.name.clone(), column.to_owned()))
    }

    fn read(&mut self, statement: &Stmt) {
        let node = statement.syntax();
        let first_word = verb(node);
        let changes = matches!(first_word.as_str(), "DROP" | "ALTER");
        self.cascades |= changes && find::<ast::Cascade>(node).is_some();
        match statement {
            Stmt::Do(_) | Stmt::Call(_) | Stmt::DropOwned(_) | Stmt::Execute(_) => self.unseen = true,
            // A function that is called may drop things.
            Stmt::Select(_) => self.unseen |= find::<ast::CallExpr>(node).is_some(),
            Stmt::DropSchema(_) => {
                self.schemas.extend(names_in::<ast::SchemaRef>(node).iter().map(|name| folded(name)));
                self.names.extend(names_in::<ast::SchemaRef>(node).iter().map(|name| Name::of(name)));
            }
            Stmt::DropTrigger(_) => {
                self.names.extend(name_in::<ast::TriggerRef>(node).map(|name| Name::of(&name)))
            }
            Stmt::AlterTable(table) => self.read_alter(table),
            _ if first_word == "DROP" => {
                let names = all::<ast::PathRef>(node).map(|name| Name::of(&written(name.syntax())));
                self.names.extend(names);
            }
            // Under its old name it is gone; and a definition that is put back replaces the new one.
            _ if first_word == "ALTER" && node.children().any(|child| verb(&child) == "RENAME") => {
                self.names.extend(name_in::<ast::PathRef>(node).map(|name| Name::of(&name)));
            }
            _ if node.children().any(|child| ast::OrReplace::can_cast(child.kind())) => {
                self.names.extend(name_in::<ast::Path>(node).map(|name| Name::of(&name)));
                self.names.extend(name_in::<ast::Trigger>(node).map(|name| Name::of(&name)));
            }
            _ => {}
        }
    }

    fn read_alter(&mut self, statement: &ast::AlterTable) {
        let Some(table) = name_in::<ast::TableNameRef>(statement.syntax()).map(|name| Name::of(&name)) else {
            return;
        };
        for action in statement.actions() {
            let node = action.syntax();
            match &action {
                AlterTableAction::DropColumn(_) | AlterTableAction::RenameColumn(_) => {
                    let column = name_in::<ast::ColumnNameRef>(node).map(|name| folded(&name));
                    self.columns.extend(column.map(|column| (table.name.clone(), column)));
                }
                // The index behind a constraint goes with it.
                AlterTableAction::DropConstraint(_) => {
                    let name = name_in::<ast::ConstraintNameRef>(node);
                    self.names.extend(name.map(|name| Name::of(&name)));
                }
                AlterTableAction::TableRenameTo(_) | AlterTableAction::SetSchema(_) => {
                    self.names.extend([table.clone()]);
                }
                _ => {}
            }
        }
    }
}
