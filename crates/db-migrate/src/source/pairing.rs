//! From files to migrations: one layout for all, an up to every down, both halves together.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Part, Place, parts, place};
use super::{SourceError, half, markers, refused};
use crate::migration::split_stem;
use crate::{Migration, Migrations, Script};

/// Migrations, and how their files are named.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) migrations: Migrations,
    /// `None` when there are none.
    pub(crate) layout: Option<Layout>,
}

/// The files of one migration, name and text.
#[derive(Default)]
struct Pair {
    up: Option<(String, String)>,
    down: Option<(String, String)>,
    has_both: bool,
}

impl Loaded {
    /// From paths and texts, and the directories that are named like migrations, in which there may be no file.
    pub(super) fn from_files(
        files: Vec<(String, String)>,
        directories: Vec<String>,
    ) -> Result<Self, SourceError> {
        let mut directories: BTreeSet<String> = directories.into_iter().collect();
        let mut layouts = BTreeMap::<Layout, String>::new();
        let mut pairs = BTreeMap::<String, Pair>::new();
        let mut strays = Vec::new();
        for (file, text) in files {
            let top = file.split_once('/').map(|(top, _)| top);
            directories.extend(top.filter(|top| split_stem(top).is_some()).map(str::to_owned));
            let Some((directory, name)) = parts(&file) else {
                continue;
            };
            let Some(Place { layout, stem, part }) = place(directory, name, markers::are_in(&text))? else {
                strays.push(file);
                continue;
            };
            layouts.entry(layout).or_insert_with(|| file.clone());
            let pair = pairs.entry(stem).or_default();
            pair.has_both |= part == Part::Both;
            let slot = if part == Part::Down { &mut pair.down } else { &mut pair.up };
            if let Some((first, _)) = slot {
                return Err(SourceError::Duplicate { first: first.clone(), second: file });
            }
            *slot = Some((file, text));
        }

        let layout = one_layout(layouts)?;
        if layout.is_none_or(|layout| layout == Layout::Directory) {
            check_directories(&directories, &pairs, &strays)?;
        }
        let layout_or_ours = layout.unwrap_or(Layout::Suffix);
        let migrations = pairs.into_iter().map(|(stem, pair)| pair.into_migration(&stem, layout_or_ours));
        let migrations = Migrations::new(migrations.collect::<Result<Vec<_>, _>>()?)?;
        Ok(Self { migrations, layout })
    }
}

fn one_layout(layouts: BTreeMap<Layout, String>) -> Result<Option<Layout>, SourceError> {
    let mut layouts = layouts.into_iter();
    match (layouts.next(), layouts.next()) {
        (Some((_, first)), Some((_, second))) => Err(SourceError::Mixed { first, second }),
        (first, _) => Ok(first.map(|(layout, _)| layout)),
    }
}

/// Where each migration has a directory, nothing else may be named like one, and nothing else may be in it.
fn check_directories(
    directories: &BTreeSet<String>,
    pairs: &BTreeMap<String, Pair>,
    strays: &[String],
) -> Result<(), SourceError> {
    if let Some(directory) = directories.iter().find(|name| !pairs.contains_key(*name)) {
        return Err(SourceError::NoUp { directory: directory.clone() });
    }
    let is_in_migration =
        |file: &&String| parts(file).is_some_and(|(directory, _)| directories.contains(directory));
    match strays.iter().find(is_in_migration) {
        Some(file) => Err(SourceError::Name { file: file.clone() }),
        None => Ok(()),
    }
}

impl Pair {
    fn into_migration(self, stem: &str, layout: Layout) -> Result<Migration, SourceError> {
        let (up_file, down_file) = layout.files(stem);
        let Some((file, text)) = self.up else {
            return Err(SourceError::OrphanDown { file: down_file, expected: up_file });
        };
        if self.has_both {
            return both(stem, file, &text);
        }
        let up = half(&file, &text)?;
        let down = self.down.map(|(file, text)| half(&file, &text)).transpose()?;
        Migration::from_parts(stem, file, down_file, up, down)
    }
}

/// One file with both ways. Its lines are counted from the start of the file in both of them.
fn both(stem: &str, file: String, text: &str) -> Result<Migration, SourceError> {
    let sections = markers::divide(text).map_err(|(line, problem)| {
        let file = file.clone();
        SourceError::Marker { file, line, problem }
    })?;
    let up = Script::parse(&text[sections.up]).map_err(refused(&file))?;
    let Some((range, line)) = sections.down else {
        let missing = format!("the line -- migrate:down in {file}");
        return Migration::from_parts(stem, file, missing, up, None);
    };
    let top = Script::parse(&text[sections.top]).map_err(refused(&file))?;
    let down = Script::parse_section(&text[range], line, Some(top.directives())).map_err(refused(&file))?;
    Migration::from_parts(stem, file.clone(), file, up, Some(down))
}
