//! A way down that leaves behind what the way up created, so that going up again fails. Looked at are tables, columns,
//! indexes, types, functions, triggers, views, sequences and schemas; what is dropped with its table or its schema counts
//! as undone. No way down at all is a decision, not a slip.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AlterTableAction, AstNode, Stmt};

use super::undone::Undone;
use crate::effects::tree::{Name, all, find, folded, name_in};
use crate::lint::file::File;
use crate::lint::{Finding, Severity};

pub(in crate::lint) const ID: &str = "down-does-not-undo";

pub(in crate::lint) fn check(up: &File<'_>, down: &File<'_>) -> Vec<Finding> {
    if down.statements.is_empty() {
        return if up.statements.is_empty() { Vec::new() } else { vec![empty(up, down)] };
    }
    let undone = Undone::by(down);
    // What the way up itself takes away again, or gives another name, is not there to be undone.
    let temporary = Undone::by(up);
    if undone.unseen {
        return Vec::new();
    }
    let left = up
        .statements
        .iter()
        .flat_map(|statement| created(up, statement))
        .filter(|created| !created.is_undone(&undone) && !temporary.has(&created.name));
    left.map(|created| {
        let what = format!("{} {}", created.kind.word(), created.label());
        let finding = up.finding(ID, Severity::Error, &created.at);
        let why = format!("{} leaves the {what} behind, so going up again fails", down.name);
        let instead = format!("drop the {what} in {}", down.name);
        Finding { why, instead, ..finding }
    })
    .collect()
}

fn empty(up: &File<'_>, down: &File<'_>) -> Finding {
    let why = format!("it is empty, so {} is recorded as taken back while all of it is still there", up.name);
    let instead = "statements that undo it; or no such file, if it can not be undone".to_owned();
    Finding { why, instead, statement: String::new(), ..down.finding_at(ID, Severity::Error, 0) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Column,
    Index,
    Type,
    Function,
    Trigger,
    View,
    Sequence,
    Schema,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Index => "index",
            Self::Type => "type",
            Self::Function => "function",
            Self::Trigger => "trigger",
            Self::View => "view",
            Self::Sequence => "sequence",
            Self::Schema => "schema",
        }
    }
}

/// Something that the way up creates.
struct Created {
    kind: Kind,
    name: Name,
    /// What it goes with: the table of a column, an index or a trigger, the parent of a partition, the owner of a
    /// sequence.
    with: Option<Name>,
    /// Columns that take it along.
    columns: Vec<String>,
    at: SyntaxNode,
}

impl Created {
    fn label(&self) -> String {
        let own = match &self.name.schema {
            Some(schema) => format!("{schema}.{}", self.name.name),
            None => self.name.name.clone(),
        };
        match (&self.with, self.kind) {
            (Some(table), Kind::Column) => format!("{}.{own}", table.name),
            (Some(table), Kind::Trigger) => format!("{own} on {}", table.name),
            _ => own,
        }
    }

    fn is_undone(&self, undone: &Undone) -> bool {
        if let (Some(table), Kind::Column) = (&self.with, self.kind) {
            return undone.has_column(table, &self.name.name);
        }
        // What hangs on something else may go with it, and what that is only the catalogue knows.
        let hangs =
            matches!(self.kind, Kind::View | Kind::Trigger | Kind::Index | Kind::Sequence | Kind::Function);
        undone.has(&self.name)
            || (hangs && undone.cascades)
            || self.with.as_ref().is_some_and(|with| {
                undone.has(with) || self.columns.iter().any(|column| undone.has_column(with, column))
            })
    }
}

fn created(up: &File<'_>, statement: &Stmt) -> Vec<Created> {
    let node = statement.syntax();
    let one = |kind: Kind, name: Option<String>| {
        let name = name.map(|name| Name::of(&name));
        name.map(|name| Created { kind, name, with: None, columns: Vec::new(), at: node.clone() })
    };
    // Whatever hangs on a new table is told with the table.
    let on_old = |created: Option<Created>, with: Option<Name>| {
        let with = with.filter(|with| !up.creates(with))?;
        created.map(|created| Created { with: Some(with), ..created })
    };
    let found = match statement {
        Stmt::CreateTable(table) if !is_temporary(node) => {
            let parent = table.partition_of().and_then(|of| name_in::<ast::TableNameRef>(of.syntax()));
            let with = parent.map(|parent| Name::of(&parent));
            if with.as_ref().is_some_and(|with| up.creates(with)) {
                return Vec::new();
            }
            one(Kind::Table, name_in::<ast::TableName>(node)).map(|created| Created { with, ..created })
        }
        Stmt::CreateTableAs(_) | Stmt::SelectInto(_) if !is_temporary(node) => {
            one(Kind::Table, name_in::<ast::TableName>(node))
        }
        Stmt::CreateView(_) | Stmt::CreateMaterializedView(_) if !is_temporary(node) => {
            one(Kind::View, name_in::<ast::View>(node))
        }
        Stmt::CreateType(_) => one(Kind::Type, name_in::<ast::TypeName>(node)),
        Stmt::CreateDomain(_) => one(Kind::Type, name_in::<ast::Domain>(node)),
        Stmt::CreateFunction(_) => one(Kind::Function, name_in::<ast::FunctionName>(node)),
        Stmt::CreateProcedure(_) => one(Kind::Function, name_in::<ast::ProcedureName>(node)),
        Stmt::CreateSequence(_) if !is_temporary(node) => {
            let owner = name_in::<ast::QualifiedColumnNameRef>(node).or_else(|| later_owner(up, node));
            let owner = owner.as_deref().and_then(|column| column.rsplit_once('.'));
            let created = one(Kind::Sequence, name_in::<ast::Sequence>(node));
            match owner {
                Some((table, column)) => on_old(created, Some(Name::of(table)))
                    .map(|created| Created { columns: vec![folded(column)], ..created }),
                None => created,
            }
        }
        // A schema that may have been there before is not this file's to drop.
        Stmt::CreateSchema(schema) if schema.if_not_exists().is_none() => {
            one(Kind::Schema, name_in::<ast::Schema>(node))
        }
        Stmt::CreateIndex(_) => {
            let table = name_in::<ast::TableNameRef>(node).map(|name| Name::of(&name));
            let list = find::<ast::PartitionItemList>(node);
            let columns = list
                .map(|list| all::<ast::NameRef>(list.syntax()).map(|name| folded(&name.text())).collect());
            on_old(one(Kind::Index, name_in::<ast::Index>(node)), table)
                .map(|created| Created { columns: columns.unwrap_or_default(), ..created })
        }
        Stmt::CreateTrigger(trigger) => {
            let on = trigger.on_relation().and_then(|on| name_in::<ast::RelationNameRef>(on.syntax()));
            on_old(one(Kind::Trigger, name_in::<ast::Trigger>(node)), on.map(|name| Name::of(&name)))
        }
        Stmt::AlterTable(table) => return columns(up, table),
        _ => None,
    };
    found.into_iter().collect()
}

/// The column that gets a sequence further down, as in dumps: there the sequence comes first and its table second.
fn later_owner(up: &File<'_>, sequence: &SyntaxNode) -> Option<String> {
    let name = Name::of(&name_in::<ast::Sequence>(sequence)?);
    up.statements.iter().find_map(|statement| {
        let Stmt::AlterSequence(alter) = statement else { return None };
        let altered = name_in::<ast::SequenceRef>(alter.syntax())?;
        Name::of(&altered).is(&name).then(|| name_in::<ast::QualifiedColumnNameRef>(alter.syntax()))?
    })
}

fn columns(up: &File<'_>, statement: &ast::AlterTable) -> Vec<Created> {
    let table = name_in::<ast::TableNameRef>(statement.syntax()).map(|name| Name::of(&name));
    let Some(table) = table.filter(|table| !up.creates(table)) else { return Vec::new() };
    let added = statement.actions().filter_map(|action| match action {
        AlterTableAction::AddColumn(column) => Some(column),
        _ => None,
    });
    added
        .filter_map(|column| {
            let name = Name::of(&name_in::<ast::ColumnName>(column.syntax())?);
            let at = column.syntax().clone();
            Some(Created { kind: Kind::Column, name, with: Some(table.clone()), columns: Vec::new(), at })
        })
        .collect()
}

fn is_temporary(node: &SyntaxNode) -> bool {
    // SELECT … INTO TEMP says it one level further down.
    node.children().any(|clause| {
        ast::Temp::can_cast(clause.kind())
            || (ast::IntoClause::can_cast(clause.kind()) && find::<ast::Temp>(&clause).is_some())
    })
}
