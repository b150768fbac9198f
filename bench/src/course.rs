//! The courses: which contestants meet at which workload, by how many tasks, and how far from the server.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::contestants::Name;
use crate::plan::{Plan, TASKS};
use crate::workload::Workload;

/// What pools in general are compared by.
const ALL: &[Name] = &Name::POOLS;
/// The same with the program that has no pool and is written in C, which takes the place of 20 tasks at most.
const ALL_AND_PGBENCH: &[Name] =
    &[Name::Ours, Name::Deadpool, Name::Bb8, Name::Sqlx, Name::Diesel, Name::Pgbench];
/// The pool that came nearest to ours so far, and the one with a driver of its own.
const FEW: &[Name] = &[Name::Ours, Name::Deadpool, Name::Sqlx];
/// Where each turn takes longer than the window.
const TWO: &[Name] = &[Name::Ours, Name::Deadpool];

/// How far away the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// On this machine.
    Near,
    /// Behind the [`DelayLine`](crate::delay::DelayLine): 1 ms more for each round trip, and a bit.
    Far,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) workload: Workload,
    pub(crate) tasks: usize,
    pub(crate) way: Way,
    /// Ours is the first.
    pub(crate) entrants: &'static [Name],
}

impl Course {
    /// All that there are, in the order in which a round has them.
    pub(crate) fn all() -> Vec<Self> {
        let near = |workload, tasks, entrants| Self { workload, tasks, way: Way::Near, entrants };
        let far = |workload, tasks| Self { workload, tasks, way: Way::Far, entrants: FEW };
        let mut all = Vec::new();
        for tasks in TASKS {
            all.push(near(Workload::Select, tasks, if tasks == 64 { ALL_AND_PGBENCH } else { ALL }));
        }
        all.extend(TASKS.map(|tasks| near(Workload::Transaction, tasks, ALL)));
        for workload in [Workload::MixedByTask, Workload::MixedByStatement] {
            all.extend([64, 1_000].map(|tasks| near(workload, tasks, TWO)));
        }
        all.extend([near(Workload::Batch, 64, FEW), near(Workload::Insert, 64, FEW)]);
        all.extend([far(Workload::Select, 1_000), far(Workload::Transaction, 64), far(Workload::Batch, 64)]);
        all
    }

    pub(crate) fn title(&self) -> String {
        let s = if self.tasks == 1 { "" } else { "s" };
        let way = match self.way {
            Way::Near => "",
            Way::Far => ", 1 ms away",
        };
        format!("{}, {} task{s}{way}", self.workload.title(), self.tasks)
    }

    /// How many rounds of this course a run has.
    pub(crate) fn rounds(&self, plan: &Plan) -> usize {
        if self.entrants.len() < Name::POOLS.len() { plan.rounds_of_few } else { plan.rounds }
    }
}

/// A part of a run that is no course, by its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Acquire,
    Observing,
    Allocations,
    Waiting,
}

impl Part {
    const ALL: [Self; 4] = [Self::Acquire, Self::Observing, Self::Allocations, Self::Waiting];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Acquire => "acquire and release alone",
            Self::Observing => "cost of observing",
            Self::Allocations => "allocations of one operation",
            Self::Waiting => "memory of waiting tasks",
        }
    }
}

/// What of all this is run: everything, or what has this text in its title.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice(Option<String>);

impl Choice {
    /// # Errors
    /// When nothing has the text in its title.
    pub(crate) fn new(only: Option<String>) -> Result<Self> {
        let this = Self(only);
        let titles: Vec<_> = Course::all().iter().map(Course::title).collect();
        let mut all = titles.iter().map(String::as_str).chain(Part::ALL.map(Part::title));
        let is_known = all.any(|title| this.has(title));
        ensure!(is_known, "no title has that in it; there are:\n{}\n{}", titles.join("\n"), {
            Part::ALL.map(Part::title).join("\n")
        });
        Ok(this)
    }

    pub(crate) fn courses(&self) -> Vec<Course> {
        Course::all().into_iter().filter(|course| self.has(&course.title())).collect()
    }

    pub(crate) fn has_part(&self, part: Part) -> bool {
        self.has(part.title())
    }

    fn has(&self, title: &str) -> bool {
        self.0.as_deref().is_none_or(|only| title.contains(only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_course_has_ours_first_and_a_title_of_its_own() {
        let all = Course::all();
        let mut titles: Vec<_> = all.iter().map(Course::title).collect();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), all.len());
        assert!(all.iter().all(|course| course.entrants[0] == Name::Ours));
        assert!(all.iter().all(|course| course.entrants.contains(&Name::Deadpool)));
    }

    #[test]
    fn a_choice_is_by_a_part_of_the_title() {
        let check = |only: Option<&str>, courses, parts| {
            let choice = Choice::new(only.map(str::to_owned)).expect("known");
            assert_eq!(choice.courses().len(), courses, "{only:?}");
            assert_eq!(
                Part::ALL.into_iter().filter(|part| choice.has_part(*part)).count(),
                parts,
                "{only:?}"
            );
        };
        check(None, 15, 4);
        check(Some("select by primary key, 64"), 1, 0);
        check(Some("1 ms away"), 3, 0);
        check(Some("memory"), 0, 1);
        assert!(Choice::new(Some("no such race".to_owned())).is_err());
    }
}
