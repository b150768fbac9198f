//! What creating a table does to the tables it mentions. The new table itself blocks nobody.

use squawk_syntax::ast::{self, AstNode};

use super::found::Found;
use super::lock::LockLevel::{AccessExclusive, AccessShare, ShareRowExclusive, ShareUpdateExclusive};
use super::tree::{Name, all, name_in, names_in};

pub(super) fn create(statement: &ast::CreateTable, found: &mut Found) {
    let Some(table) = name_in::<ast::TableName>(statement.syntax()) else { return };
    found.create(&table);
    if let Some(parent) = statement.partition_of().and_then(|of| name_in::<ast::TableNameRef>(of.syntax())) {
        found
            .lock(&parent, AccessExclusive)
            .warn("a default partition is scanned; creating the table first and attaching it locks less");
    }
    for parent in
        statement.inherits().map(|of| names_in::<ast::TableNameRef>(of.syntax())).unwrap_or_default()
    {
        found.lock(&parent, ShareUpdateExclusive);
    }
    if let Some(arguments) = statement.table_arg_list() {
        for like in all::<ast::LikeClause>(arguments.syntax()) {
            if let Some(source) = name_in::<ast::RelationNameRef>(like.syntax()) {
                found.lock(&source, AccessShare);
            }
        }
        let keys = all::<ast::ForeignKeyConstraint>(arguments.syntax()).map(|key| key.syntax().clone());
        let references = all::<ast::ReferencesConstraint>(arguments.syntax()).map(|key| key.syntax().clone());
        for key in keys.chain(references) {
            let to = name_in::<ast::TableNameRef>(&key);
            if let Some(to) = to.filter(|to| !Name::of(to).is(&Name::of(&table))) {
                found.lock(&to, ShareRowExclusive);
            }
        }
    }
}
