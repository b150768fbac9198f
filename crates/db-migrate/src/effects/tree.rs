//! Small helpers over squawk's syntax tree: finding nodes, and names as the server compares them. No rule of SQL lives
//! here.

use std::collections::HashMap;

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::AstNode;

/// How much of a statement an excerpt shows, in characters.
const EXCERPT: usize = 100;

/// All nodes of a kind beneath a node, itself included.
pub(crate) fn all<N: AstNode>(node: &SyntaxNode) -> impl Iterator<Item = N> + use<N> {
    node.descendants().filter_map(N::cast)
}

/// The first node of a kind beneath a node, itself included.
pub(crate) fn find<N: AstNode>(node: &SyntaxNode) -> Option<N> {
    all(node).next()
}

/// The text of a node without white space and comments: for names.
pub(crate) fn written(node: &SyntaxNode) -> String {
    let tokens = node.descendants_with_tokens().filter_map(|element| element.into_token());
    tokens.filter(|token| !token.kind().is_trivia()).map(|token| token.text().to_owned()).collect()
}

/// The name in the first node of a kind.
pub(crate) fn name_in<N: AstNode>(node: &SyntaxNode) -> Option<String> {
    find::<N>(node).map(|name| written(name.syntax())).filter(|name| !name.is_empty())
}

/// The names in all nodes of a kind.
pub(crate) fn names_in<N: AstNode>(node: &SyntaxNode) -> Vec<String> {
    all::<N>(node).map(|name| written(name.syntax())).filter(|name| !name.is_empty()).collect()
}

/// A statement on one line, without its comments and shortened.
pub(crate) fn excerpt(statement: &SyntaxNode) -> String {
    let mut line = String::new();
    let tokens = statement.descendants_with_tokens().filter_map(|element| element.into_token());
    for token in tokens {
        // Whatever follows is not shown, and may be a million rows.
        if line.len() > EXCERPT * 4 {
            break;
        }
        if token.kind().is_trivia() {
            line.push(' ');
        } else {
            line.extend(token.text().chars().take(EXCERPT + 1));
        }
    }
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(';').trim_end();
    if line.chars().count() <= EXCERPT {
        return line.to_owned();
    }
    let short: String = line.chars().take(EXCERPT - 1).collect();
    format!("{}…", short.trim_end())
}

/// The name of an object, folded as the server folds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Its schema, if the text says one.
    pub(crate) schema: Option<String>,
    /// Its own name.
    pub(crate) name: String,
    renamed_from: Option<String>,
}

impl Name {
    /// Reads a name as it is written, for example `public."Users"`.
    pub(crate) fn of(written: &str) -> Self {
        let mut parts = parts(written);
        let name = parts.pop().unwrap_or_default();
        Self { schema: parts.pop(), name, renamed_from: None }
    }

    /// Says that the name belongs to what had another one before.
    pub(crate) fn renamed_from(mut self, written: &str) -> Self {
        self.renamed_from = Some(written.to_owned());
        self
    }

    /// Whether what the name stands for is new, if `new` is: a new name does not make a new table.
    pub(crate) fn is_new_given(&self, new: &Names) -> bool {
        self.renamed_from.as_ref().is_none_or(|from| new.contains(&Self::of(from)))
    }

    /// Whether both may mean the same object: without a schema, a name stands for the object in any.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let schemas = self.schema.as_ref().zip(other.schema.as_ref());
        self.name == other.name && schemas.is_none_or(|(a, b)| a == b)
    }
}

/// Names, to be asked for what may mean the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashMap<String, Vec<Name>>);

impl Names {
    /// Whether one of them may mean the same object.
    pub(crate) fn contains(&self, name: &Name) -> bool {
        self.0.get(&name.name).is_some_and(|same| same.iter().any(|other| other.is(name)))
    }
}

impl Extend<Name> for Names {
    fn extend<I: IntoIterator<Item = Name>>(&mut self, names: I) {
        for name in names {
            let same = self.0.entry(name.name.clone()).or_default();
            if !same.contains(&name) {
                same.push(name);
            }
        }
    }
}

impl FromIterator<Name> for Names {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        let mut all = Self::default();
        all.extend(names);
        all
    }
}

/// The last part of a name, folded.
pub(crate) fn folded(written: &str) -> String {
    Name::of(written).name
}

fn parts(written: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(part) = parts.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                part.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ if quoted => part.push(character),
            _ => part.push(character.to_ascii_lowercase()),
        }
    }
    parts
}
