//! A file as the rules see it: parsed once, with the places of its lines and the names that it creates. It judges
//! nothing.

use squawk_syntax::ast::{self, AstNode, Stmt};
use squawk_syntax::{Parse, SourceFile, SyntaxNode};

use super::{Finding, Severity};
use crate::effects::tree::{self, Name, Names, find, written};
use crate::{Directives, Phase, Script};

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// A file and what is known of it.
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) way: Way,
    pub(super) sql: &'a str,
    pub(super) directives: &'a Directives,
    pub(super) parse: Parse<SourceFile>,
    pub(super) statements: Vec<Stmt>,
    /// What the file creates, apart from routines.
    created: Names,
    /// Whether each statement works on nothing but what the file creates.
    about_new: Vec<bool>,
    /// Where each statement begins.
    starts: Vec<usize>,
    /// Where each line begins.
    lines: Vec<usize>,
    /// How many lines of the file are above this text: the way down may be the second half of a file.
    above: u32,
}

impl<'a> File<'a> {
    pub(super) fn of(name: &'a str, way: Way, script: &'a Script) -> Self {
        let mut file = Self::new(name, way, script.sql(), script.directives());
        if let Some(first) = script.statements().first() {
            file.above = first.line.saturating_sub(file.line_of(first.range.start));
        }
        file
    }

    pub(super) fn new(name: &'a str, way: Way, sql: &'a str, directives: &'a Directives) -> Self {
        let parse = SourceFile::parse(sql);
        let statements: Vec<Stmt> =
            parse.tree().stmts().filter(|statement| !matches!(statement, Stmt::EmptyStmt(_))).collect();
        let (created, about_new) = read_created(&statements);
        let starts = statements.iter().map(|statement| start(statement.syntax())).collect();
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
        Self { name, way, sql, directives, parse, statements, created, about_new, starts, lines, above: 0 }
    }

    /// Whether all of it is one transaction.
    pub(super) fn is_transaction(&self) -> bool {
        !self.directives.no_transaction
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.directives.phase
    }

    /// Whether the file itself creates what a name stands for.
    pub(super) fn creates(&self, name: &Name) -> bool {
        self.created.contains(name)
    }

    /// Whether everything that a statement works on is created by the file: then nobody else knows it yet. What it drops
    /// only to create it anew counts as well, a view with other columns for one; a table does not, as its rows are gone.
    pub(super) fn is_about_new(&self, statement: &Stmt) -> bool {
        self.index_at(start(statement.syntax())).is_some_and(|index| self.about_new[index])
    }

    /// The statement around a position.
    pub(super) fn statement_at(&self, offset: usize) -> Option<&Stmt> {
        self.statements.get(self.index_at(offset)?)
    }

    fn index_at(&self, offset: usize) -> Option<usize> {
        self.starts.partition_point(|start| *start <= offset).checked_sub(1)
    }

    fn line_of(&self, offset: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|begin| *begin <= offset)).unwrap_or(u32::MAX)
    }

    /// Line and column of a position.
    pub(super) fn place(&self, offset: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0);
        let column = self.sql.get(begin..offset).map_or(0, |before| before.chars().count()) + 1;
        (self.line_of(offset).saturating_add(self.above), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// A finding at a node.
    pub(super) fn finding(&self, rule: &str, severity: Severity, at: &SyntaxNode) -> Finding {
        self.finding_at(rule, severity, start(at))
    }

    /// A finding at a position in bytes.
    pub(super) fn finding_at(&self, rule: &str, severity: Severity, offset: usize) -> Finding {
        let (line, column) = self.place(offset);
        let statement = self.statement_at(offset).map(|statement| tree::excerpt(statement.syntax()));
        Finding {
            file: self.name.to_owned(),
            rule: rule.to_owned(),
            severity,
            line,
            column,
            statement: statement.unwrap_or_default(),
            why: String::new(),
            instead: String::new(),
        }
    }
}

/// Where a node begins, apart from the comments in front of it.
pub(super) fn start(node: &SyntaxNode) -> usize {
    let tokens = node.descendants_with_tokens().filter_map(|element| element.into_token());
    let first = tokens.into_iter().find(|token| !token.kind().is_trivia());
    first.map_or(node.text_range().start(), |token| token.text_range().start()).into()
}

/// The first word of a statement, in upper case.
pub(super) fn verb(node: &SyntaxNode) -> String {
    let tokens = node.descendants_with_tokens().filter_map(|element| element.into_token());
    let first = tokens.into_iter().find(|token| !token.kind().is_trivia());
    first.map(|token| token.text().to_ascii_uppercase()).unwrap_or_default()
}

/// What the statements create, and which of them are about nothing else.
fn read_created(statements: &[Stmt]) -> (Names, Vec<bool>) {
    // A function may have the name of a table, and is only ever dropped or altered as a function.
    let (routines, others): (Vec<_>, Vec<_>) = statements.iter().partition(|statement| is_routine(statement));
    let routines: Names = routines.into_iter().filter_map(created).collect();
    let all: Names = others.into_iter().filter_map(created).collect();
    let mut so_far = Names::default();
    let about_new = statements.iter().map(|statement| {
        let known = match statement {
            _ if is_routine(statement) => &routines,
            Stmt::DropTable(_) | Stmt::DropForeignTable(_) | Stmt::DropIndex(_) => &so_far,
            _ if verb(statement.syntax()) == "DROP" => &all,
            _ => &so_far,
        };
        let targets = targets(statement);
        let is_new = !targets.is_empty() && targets.iter().all(|target| known.contains(target));
        if !is_routine(statement) {
            so_far.extend(created(statement));
        }
        is_new
    });
    let about_new = about_new.collect();
    (all, about_new)
}

fn is_routine(statement: &Stmt) -> bool {
    matches!(
        statement,
        Stmt::CreateFunction(_)
            | Stmt::CreateProcedure(_)
            | Stmt::CreateAggregate(_)
            | Stmt::AlterFunction(_)
            | Stmt::AlterProcedure(_)
            | Stmt::AlterRoutine(_)
            | Stmt::AlterAggregate(_)
            | Stmt::DropFunction(_)
            | Stmt::DropProcedure(_)
            | Stmt::DropRoutine(_)
            | Stmt::DropAggregate(_)
    )
}

fn created(statement: &Stmt) -> Option<Name> {
    let node = statement.syntax();
    let creates = matches!(statement, Stmt::SelectInto(_)) || verb(node) == "CREATE";
    // A name that is defined is a path, one that is referred to is another kind of node.
    let name = creates.then(|| find::<ast::Path>(node))??;
    Some(Name::of(&written(name.syntax())))
}

fn targets(statement: &Stmt) -> Vec<Name> {
    let node = statement.syntax();
    let name = |node: &SyntaxNode| find::<ast::PathRef>(node).map(|path| Name::of(&written(path.syntax())));
    if verb(node) == "DROP" {
        return node.children().filter_map(|child| name(&child)).collect();
    }
    name(node).into_iter().collect()
}
