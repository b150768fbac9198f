//! What reading and writing rows does, also within `WITH` and as the source of another statement. Functions that a query
//! calls, and triggers that it fires, are not seen.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode};

use super::found::Found;
use super::lock::LockLevel::{AccessShare, RowExclusive, RowShare};
use super::tree::{Name, all, folded, name_in, names_in, written};

/// Reads everything in a query or a statement that writes rows.
pub(super) fn read(query: &SyntaxNode, found: &mut Found) {
    write(query, found);
    let common: Vec<String> = names_in::<ast::CteName>(query).iter().map(|name| folded(name)).collect();
    let is_table = |name: &String| {
        let name = Name::of(name);
        let system = name.name.starts_with("pg_") || name.schema.as_deref() == Some("information_schema");
        !system && (name.schema.is_some() || !common.contains(&name.name))
    };
    for item in all::<ast::RelationFromItem>(query) {
        if let Some(table) = name_in::<ast::RelationNameRef>(item.syntax()).filter(is_table) {
            found.lock(&table, AccessShare);
        }
    }
    for item in all::<ast::Table>(query) {
        if let Some(table) = name_in::<ast::RelationNameRef>(item.syntax()).filter(is_table) {
            found.lock(&table, AccessShare);
        }
    }
    for clause in all::<ast::LockingClause>(query) {
        let from =
            clause.syntax().parent().and_then(|select| select.children().find_map(ast::FromClause::cast));
        let Some(from) = from else { continue };
        for item in all::<ast::RelationFromItem>(from.syntax()) {
            if let Some(table) = name_in::<ast::RelationNameRef>(item.syntax()).filter(is_table) {
                found.lock(&table, RowShare);
            }
        }
    }
}

fn write(query: &SyntaxNode, found: &mut Found) {
    // One walk for all four: a statement may hold a million rows.
    for node in query.descendants() {
        if let Some(insert) = ast::Insert::cast(node.clone()) {
            if let Some(table) = insert.relation_name_ref() {
                found.lock(&written(table.syntax()), RowExclusive);
            }
        } else if let Some(update) = ast::Update::cast(node.clone()) {
            let table =
                update.relation_name().and_then(|name| name_in::<ast::RelationNameRef>(name.syntax()));
            let Some(table) = table else { continue };
            let effect = found.lock(&table, RowExclusive);
            if update.where_clause_or_current_of().is_none() {
                effect
                    .scans()
                    .warn("writes every row: writers of the same rows wait until the transaction ends");
            }
        } else if let Some(delete) = ast::Delete::cast(node.clone()) {
            let table =
                delete.relation_name().and_then(|name| name_in::<ast::RelationNameRef>(name.syntax()));
            let Some(table) = table else { continue };
            let effect = found.lock(&table, RowExclusive);
            if delete.where_clause_or_current_of().is_none() {
                effect.scans().warn("deletes every row");
            }
        } else if let Some(merge) = ast::Merge::cast(node) {
            let table =
                merge.table_relation_name().and_then(|name| name_in::<ast::TableNameRef>(name.syntax()));
            if let Some(table) = table {
                found.lock(&table, RowExclusive);
            }
        }
    }
}
