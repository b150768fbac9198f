//! Runs squawk's rules and drops what does not hold here: what a file does to its own new tables, and a few findings
//! that a closer look refutes. Which rules run at all is `squawk_rules`'s to say.

use std::collections::HashSet;

use squawk_linter::{Linter, Rule, Violation};
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode};

use super::file::{File, Way, start};
use super::squawk_rules::{About, On, Use, all, of};
use super::{Finding, Severity, ignored, rules};
use crate::Phase;
use crate::effects::volatility::{self, Volatility};

/// What squawk finds in a file. `own` is what our rules found: they speak first.
pub(super) fn check(file: &File<'_>, own: &[Finding]) -> Vec<Finding> {
    // This rule looks at every name in the tree, and hardly any file has one to find.
    let names = may_hold_long_names(file.sql);
    let runs = |rule: &Rule| matches!(of(*rule), Use::On(_)) && (names || *rule != Rule::IdentifierTooLong);
    let mut linter = Linter::from(all().filter(runs));
    // Squawk spares tables that a transaction creates by the last part of their name, and not in every rule. It is told
    // of no transaction, so that `is_of_interest` does it for all.
    linter.settings.assume_in_transaction = false;
    let violations = linter.lint(&file.parse, file.sql);
    let told = own.iter().filter(|finding| finding.rule == rules::contract_in_expand::ID);
    let told: HashSet<(u32, u32)> = told.map(|finding| (finding.line, finding.column)).collect();
    violations.iter().filter_map(|violation| finding(file, violation, &told)).collect()
}

fn finding(file: &File<'_>, violation: &Violation, told: &HashSet<(u32, u32)>) -> Option<Finding> {
    let range = violation.text_range;
    let offset = usize::from(range.start());
    if violation.code == Rule::UnusedIgnore {
        let word = file.sql.get(offset..range.end().into()).unwrap_or_default();
        return (!ignored::exists(word)).then(|| ignored::finding(file, word, offset));
    }
    let Use::On(on) = of(violation.code) else { return None };
    let root = file.parse.syntax_node();
    let element = root.covering_element(range);
    let node =
        element.into_node().or_else(|| root.token_at_offset(range.start()).right_biased()?.parent())?;
    if !is_of_interest(file, &on, offset, told) || !holds(violation.code, &node) {
        return None;
    }
    let mut finding = file.finding_at(&violation.code.to_string(), on.severity, offset);
    finding.why = if on.why.is_empty() { lower_case(&violation.message) } else { on.why.to_owned() };
    finding.instead = on.instead.to_owned();
    Some(finding)
}

/// Whether a rule matters where it fired.
fn is_of_interest(file: &File<'_>, on: &On, offset: usize, told: &HashSet<(u32, u32)>) -> bool {
    // A way down takes back: that it drops and blocks is understood, only what fails is news.
    if file.way == Way::Down && on.severity != Severity::Error {
        return false;
    }
    let Some(statement) = file.statement_at(offset) else { return true };
    let is_told = || told.contains(&file.place(start(statement.syntax())));
    match on.about {
        About::Any => true,
        About::Existing => !file.is_about_new(statement),
        About::Clients => {
            file.phase() != Some(Phase::Contract) && !file.is_about_new(statement) && !is_told()
        }
    }
}

/// Whether a finding survives a closer look.
fn holds(rule: Rule, node: &SyntaxNode) -> bool {
    match rule {
        // Squawk knows few expressions that are the same for each row; signs, parentheses and arguments are not among
        // them.
        Rule::AddingFieldWithDefault => node
            .ancestors()
            .find_map(ast::DefaultConstraint::cast)
            .and_then(|default| default.expr())
            .is_none_or(|expression| volatility::of(&expression) != Volatility::Stable),
        // Keys, unique ones and exclusions can not be NOT VALID, and foreign keys have a rule of their own.
        Rule::ConstraintMissingNotValid => {
            let added = node.ancestors().find_map(ast::AddConstraint::cast);
            matches!(added.and_then(|added| added.constraint()), Some(ast::Constraint::CheckConstraint(_)))
        }
        // A serial column has a default, though none is written.
        Rule::AddingRequiredField => !node
            .ancestors()
            .find_map(ast::AddColumn::cast)
            .and_then(|column| column.ty())
            .is_some_and(|ty| volatility::is_serial(&ty)),
        // An integer that counts something small is right; a key that grows with the table is not.
        Rule::PreferBigintOverInt => is_key(node),
        // "char" in quotes is the server's own type of one byte.
        Rule::BanCharField => !node.text().to_string().starts_with('"'),
        _ => true,
    }
}

fn is_key(node: &SyntaxNode) -> bool {
    let ty = node.ancestors().find_map(ast::Type::cast);
    let column = node
        .ancestors()
        .find(|node| ast::Column::can_cast(node.kind()) || ast::AddColumn::can_cast(node.kind()));
    let Some(column) = column else { return false };
    ty.as_ref().is_some_and(volatility::is_serial)
        || column.descendants().any(|node| {
            ast::PrimaryKeyConstraint::can_cast(node.kind()) || ast::GeneratedIdentity::can_cast(node.kind())
        })
}

/// Whether a name may be longer than the 63 bytes that the server keeps. In quotes anything is a name.
fn may_hold_long_names(sql: &str) -> bool {
    let ends = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'_';
    sql.contains('"') || sql.as_bytes().split(ends).any(|word| word.len() > 63)
}

/// Squawk's sentence as a fragment.
fn lower_case(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
