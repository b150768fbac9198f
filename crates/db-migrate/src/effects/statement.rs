//! What each kind of statement does, apart from `ALTER TABLE`, `CREATE TABLE` and queries, which are long enough for
//! files of their own. A kind that is not listed takes no lock on a table.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, Stmt};

use super::found::Found;
use super::lock::LockLevel::{
    self, AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive,
    ShareUpdateExclusive,
};
use super::tree::{find, name_in, names_in};
use super::{alter_table, query, table};

const UNSEEN: &str = "what it does can not be seen from here";

pub(super) fn read(statement: &Stmt, found: &mut Found) {
    let node = statement.syntax();
    match statement {
        Stmt::AlterTable(statement) => alter_table::read(statement, found),
        Stmt::CreateTable(statement) => table::create(statement, found),
        Stmt::CreateSchema(statement) => {
            for element in statement.schema_elements() {
                if let ast::SchemaElement::CreateTable(element) = element {
                    table::create(&element, found);
                }
            }
        }
        Stmt::CreateIndex(_) | Stmt::DropIndex(_) | Stmt::AlterIndex(_) | Stmt::Reindex(_) => {
            index(statement, found);
        }
        Stmt::CreateTableAs(_) | Stmt::SelectInto(_) => {
            create::<ast::TableName>(node, found);
            query::read(node, found);
        }
        Stmt::CreateMaterializedView(_) => {
            create::<ast::View>(node, found);
            query::read(node, found);
        }
        Stmt::CreateView(statement) => {
            if statement.or_replace().is_some() {
                lock_all::<ast::View>(node, AccessExclusive, found);
            } else {
                create::<ast::View>(node, found);
            }
            query::read(node, found);
        }
        Stmt::CreateSequence(_) => create::<ast::Sequence>(node, found),
        Stmt::Refresh(statement) => refresh(statement, found),
        Stmt::CreateTrigger(statement) => {
            if let Some(on) = statement.on_relation() {
                lock_all::<ast::RelationNameRef>(on.syntax(), ShareRowExclusive, found);
            }
        }
        Stmt::CreateRule(statement) => {
            if let Some(on) = statement.rule_on().and_then(|on| on.relation_name_ref()) {
                lock_all::<ast::RelationNameRef>(on.syntax(), AccessExclusive, found);
            }
        }
        Stmt::AlterTrigger(_) | Stmt::DropTrigger(_) | Stmt::AlterRule(_) | Stmt::DropRule(_) => {
            lock_all::<ast::RelationNameRef>(node, AccessExclusive, found);
        }
        Stmt::CreatePolicy(_) | Stmt::AlterPolicy(_) | Stmt::DropPolicy(_) => {
            if let Some(on) = find::<ast::OnTable>(node) {
                lock_all::<ast::TableNameRef>(on.syntax(), AccessExclusive, found);
            }
        }
        Stmt::CreateStatistics(_) => lock_all::<ast::TableNameRef>(node, ShareUpdateExclusive, found),
        Stmt::AlterView(_) | Stmt::AlterMaterializedView(_) => {
            lock_all::<ast::ViewRef>(node, AccessExclusive, found);
        }
        Stmt::AlterSequence(statement) => {
            let only_options = statement
                .actions()
                .all(|action| matches!(action, ast::AlterSequenceAction::SequenceOption(_)));
            let level = if only_options { ShareRowExclusive } else { AccessExclusive };
            if let Some(sequence) = name_in::<ast::SequenceRef>(node) {
                found.lock(&sequence, level);
            }
        }
        Stmt::DropTable(_) | Stmt::DropView(_) | Stmt::DropMaterializedView(_) | Stmt::DropSequence(_) => {
            drop_relation(statement, found);
        }
        Stmt::DropForeignTable(_) => lock_all::<ast::TableNameRef>(node, AccessExclusive, found),
        Stmt::AlterForeignTable(_) => {
            if let Some(table) = name_in::<ast::TableNameRef>(node) {
                found.lock(&table, AccessExclusive);
            }
        }
        Stmt::Truncate(statement) => {
            for table in names_in::<ast::TableNameRef>(node) {
                found.lock(&table, AccessExclusive).warn("empties the table");
            }
            if matches!(statement.drop_behavior(), Some(ast::DropBehavior::Cascade(_))) {
                found.warn("CASCADE also empties every table that points to these");
            }
        }
        Stmt::Vacuum(_) | Stmt::Cluster(_) | Stmt::Analyze(_) => maintain(statement, found),
        Stmt::CommentOn(statement) => comment(statement, found),
        Stmt::Lock(statement) => {
            let mode = statement.lock_mode_clause().and_then(|clause| clause.lock_mode());
            lock_all::<ast::RelationNameRef>(node, mode.as_ref().map_or(AccessExclusive, named), found);
        }
        Stmt::Copy(statement) => {
            let from = matches!(statement.copy_direction(), Some(ast::CopyDirection::CopyFrom(_)));
            match statement.copy_table() {
                Some(table) => {
                    let level = if from { RowExclusive } else { AccessShare };
                    lock_all::<ast::TableNameRef>(table.syntax(), level, found);
                }
                None => query::read(node, found),
            }
        }
        Stmt::Select(_)
        | Stmt::CompoundSelect(_)
        | Stmt::ParenSelect(_)
        | Stmt::Table(_)
        | Stmt::Values(_)
        | Stmt::Insert(_)
        | Stmt::Update(_)
        | Stmt::Delete(_)
        | Stmt::Merge(_)
        | Stmt::Explain(_)
        | Stmt::Declare(_)
        | Stmt::Prepare(_) => query::read(node, found),
        Stmt::AlterDomain(statement) => {
            use ast::AlterDomainAction::{AddConstraint, SetNotNull, ValidateConstraint};
            if matches!(statement.action(), Some(AddConstraint(_) | SetNotNull(_) | ValidateConstraint(_))) {
                found.warn("locks every table with a column of this domain SHARE and scans it");
            }
        }
        Stmt::Do(_) | Stmt::Call(_) | Stmt::Execute(_) | Stmt::AlterExtension(_) => found.warn(UNSEEN),
        _ => {
            if find::<ast::Cascade>(node).is_some() && is_drop(node) {
                found.warn(
                    "CASCADE also drops what depends on it, with an ACCESS EXCLUSIVE lock on each table",
                );
            }
        }
    }
}

fn lock_all<N: AstNode>(node: &SyntaxNode, level: LockLevel, found: &mut Found) {
    for relation in names_in::<N>(node) {
        found.lock(&relation, level);
    }
}

fn create<N: AstNode>(node: &SyntaxNode, found: &mut Found) {
    if let Some(relation) = name_in::<N>(node) {
        found.create(&relation);
    }
}

fn is_drop(node: &SyntaxNode) -> bool {
    node.first_token().is_some_and(|token| token.text().eq_ignore_ascii_case("drop"))
}

fn index(statement: &Stmt, found: &mut Found) {
    let node = statement.syntax();
    match statement {
        Stmt::CreateIndex(statement) => {
            let Some(on) = statement.table_relation_name() else { return };
            let Some(table) = name_in::<ast::TableNameRef>(on.syntax()) else { return };
            if statement.concurrently_token().is_some() {
                found.lock(&table, ShareUpdateExclusive).scans().warn(
                    "waits for every transaction that is older, and leaves an INVALID index if it fails",
                );
            } else {
                found.lock(&table, Share).scans().warn("writers wait while the index is built");
            }
        }
        Stmt::DropIndex(statement) => {
            let concurrently = statement.concurrently_token().is_some();
            for index in names_in::<ast::IndexRef>(node) {
                if concurrently {
                    found
                        .lock(&index, ShareUpdateExclusive)
                        .warn("its table is locked likewise; waits for every transaction that uses it");
                } else {
                    found.lock(&index, AccessExclusive).warn("its table is locked likewise");
                }
            }
        }
        Stmt::AlterIndex(statement) => {
            let Some(index) =
                statement.index_ref().and_then(|index| name_in::<ast::IndexRef>(index.syntax()))
            else {
                return found.warn(UNSEEN);
            };
            match statement.action() {
                Some(ast::AlterIndexAction::SetTablespace(_)) => {
                    found.lock(&index, AccessExclusive).rewrites();
                }
                _ => {
                    found.lock(&index, ShareUpdateExclusive);
                }
            }
        }
        Stmt::Reindex(statement) => reindex(statement, found),
        _ => {}
    }
}

fn reindex(statement: &ast::Reindex, found: &mut Found) {
    let concurrently = statement.is_concurrently();
    let level = |plain| if concurrently { ShareUpdateExclusive } else { plain };
    match statement.reindex_target() {
        Some(ast::ReindexTarget::ReindexTargetTable(target)) => {
            for table in names_in::<ast::TableNameRef>(target.syntax()) {
                let effect = found.lock(&table, level(Share)).scans();
                if !concurrently {
                    effect.warn(
                        "its indexes are locked ACCESS EXCLUSIVE one by one, so that most queries wait",
                    );
                }
            }
        }
        Some(ast::ReindexTarget::ReindexTargetIndex(target)) => {
            for index in names_in::<ast::IndexRef>(target.syntax()) {
                let effect = found.lock(&index, level(AccessExclusive)).rewrites().scans();
                effect.warn(&format!("its table is locked {}", level(Share)));
            }
        }
        _ => found.warn("rebuilds every index in turn: which ones can not be seen from here"),
    }
}

fn refresh(statement: &ast::Refresh, found: &mut Found) {
    let Some(view) = name_in::<ast::ViewRef>(statement.syntax()) else { return };
    let effect = if statement.concurrently_token().is_some() {
        found.lock(&view, Exclusive).scans()
    } else {
        found.lock(&view, AccessExclusive).rewrites()
    };
    effect.warn("the tables of its query are read, and locked ACCESS SHARE");
}

fn drop_relation(statement: &Stmt, found: &mut Found) {
    let node = statement.syntax();
    let mut relations = names_in::<ast::ViewRef>(node);
    relations.extend(names_in::<ast::SequenceRef>(node));
    for relation in relations {
        found.lock(&relation, AccessExclusive);
    }
    for table in names_in::<ast::TableNameRef>(node) {
        found.lock(&table, AccessExclusive).warn(
            "its data is gone; tables that its foreign keys point to are locked ACCESS EXCLUSIVE as well",
        );
    }
    if find::<ast::Cascade>(node).is_some() {
        found.warn("CASCADE also drops what depends on it");
    }
}

fn maintain(statement: &Stmt, found: &mut Found) {
    let node = statement.syntax();
    let tables = names_in::<ast::TableNameRef>(node);
    if tables.is_empty() {
        found.warn("works on every table of the database");
    }
    for table in &tables {
        match statement {
            Stmt::Vacuum(vacuum) if !vacuum.is_full() => {
                found.lock(table, ShareUpdateExclusive).scans();
            }
            Stmt::Analyze(_) => {
                found.lock(table, ShareUpdateExclusive);
            }
            _ => {
                found
                    .lock(table, AccessExclusive)
                    .rewrites()
                    .warn("needs room for a second copy of the table");
            }
        }
    }
}

fn comment(statement: &ast::CommentOn, found: &mut Found) {
    use ast::CommentObject as On;
    let Some(object) = statement.comment_object() else { return };
    let node = object.syntax();
    match &object {
        On::ObjectTable(_) | On::ObjectForeignTable(_) => {
            lock_all::<ast::TableNameRef>(node, ShareUpdateExclusive, found);
        }
        On::ObjectView(_) | On::ObjectMaterializedView(_) => {
            lock_all::<ast::ViewRef>(node, ShareUpdateExclusive, found);
        }
        On::ObjectIndex(_) => lock_all::<ast::IndexRef>(node, ShareUpdateExclusive, found),
        On::ObjectSequence(_) => lock_all::<ast::SequenceRef>(node, ShareUpdateExclusive, found),
        On::ObjectColumn(_) => {
            let column = name_in::<ast::QualifiedColumnNameRef>(node).unwrap_or_default();
            if let Some((table, _)) = column.rsplit_once('.') {
                found.lock(table, ShareUpdateExclusive);
            }
        }
        // The object is found through its table, which is only looked at.
        On::ObjectConstraint(_) | On::ObjectPolicy(_) => {
            lock_all::<ast::TableNameRef>(node, AccessShare, found);
        }
        On::ObjectTrigger(_) | On::ObjectRule(_) => {
            lock_all::<ast::RelationNameRef>(node, AccessShare, found);
        }
        _ => {}
    }
}

fn named(mode: &ast::LockMode) -> LockLevel {
    match mode {
        ast::LockMode::AccessShare(_) => AccessShare,
        ast::LockMode::RowShare(_) => RowShare,
        ast::LockMode::RowExclusive(_) => RowExclusive,
        ast::LockMode::ShareUpdateExclusive(_) => ShareUpdateExclusive,
        ast::LockMode::Share(_) => Share,
        ast::LockMode::ShareRowExclusive(_) => ShareRowExclusive,
        ast::LockMode::Exclusive(_) => Exclusive,
        ast::LockMode::AccessExclusive(_) => AccessExclusive,
    }
}
