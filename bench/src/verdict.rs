//! What ours is meant to reach against whom, and whether a run shows it. Judges only what was run, and decides nothing
//! else: a run that misses everything ends well.

use std::fmt;

use serde::Serialize;

use crate::contestants::Name;
use crate::course::Way;
use crate::report::{Report, Standings};
use crate::workload::Workload;

/// Where a ratio of ours to a peer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One aim.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) peer: Name,
    /// `None` if the peer did not run.
    pub(crate) ratio: Option<f64>,
    pub(crate) bound: Bound,
    pub(crate) is_met: bool,
}

#[derive(Clone, Copy)]
enum Figure {
    Throughput,
    /// Of the rounds' ratios as well, so that a disturbed round is one of many.
    P99,
}

type Aim = (Workload, usize, Way, Figure, Name, Bound);

/// Of the mixed load by statement only the latency: whoever has 20 connections can run 400 statements of 50 ms per second,
/// and with that 7,600 short ones. A window shows more than that only for as long as tasks have not drawn a long one yet.
const AIMS: &[Aim] = &[
    (Workload::Select, 64, Way::Near, Figure::Throughput, Name::Deadpool, Bound::AtLeast(1.8)),
    (Workload::Select, 1_000, Way::Near, Figure::Throughput, Name::Deadpool, Bound::AtLeast(2.0)),
    (Workload::Select, 64, Way::Near, Figure::Throughput, Name::Sqlx, Bound::AtLeast(3.0)),
    (Workload::Select, 1_000, Way::Near, Figure::Throughput, Name::Sqlx, Bound::AtLeast(3.0)),
    (Workload::Select, 64, Way::Near, Figure::Throughput, Name::Pgbench, Bound::AtLeast(1.1)),
    (Workload::Select, 64, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::Select, 1_000, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::MixedByTask, 64, Way::Near, Figure::Throughput, Name::Deadpool, Bound::AtLeast(1.5)),
    (Workload::MixedByTask, 1_000, Way::Near, Figure::Throughput, Name::Deadpool, Bound::AtLeast(1.5)),
    (Workload::MixedByTask, 64, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::MixedByTask, 1_000, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::MixedByStatement, 64, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::MixedByStatement, 1_000, Way::Near, Figure::P99, Name::Deadpool, Bound::AtMost(1.0)),
    (Workload::Select, 1_000, Way::Far, Figure::Throughput, Name::Deadpool, Bound::AtLeast(5.0)),
    (Workload::Batch, 64, Way::Far, Figure::Throughput, Name::Deadpool, Bound::AtLeast(2.0)),
    (Workload::Insert, 64, Way::Near, Figure::Throughput, Name::Deadpool, Bound::AtLeast(1.2)),
];

/// On everything that was run.
pub(crate) fn all(report: &Report) -> Vec<Verdict> {
    let of_races = AIMS.iter().filter_map(|aim| of_race(&report.races, *aim));
    of_races.chain(of_memory(report)).collect()
}

fn of_race(races: &[Standings], (workload, tasks, way, figure, peer, bound): Aim) -> Option<Verdict> {
    let is_meant = |race: &&Standings| (race.workload, race.tasks, race.way) == (workload, tasks, way);
    let race = races.iter().find(is_meant)?;
    let ratios = race.standing(peer).map(|standing| standing.ours_to_this);
    let (figure, ratio) = match figure {
        Figure::Throughput => ("throughput", ratios.map(|ratios| ratios.throughput)),
        Figure::P99 => ("p99", ratios.map(|ratios| ratios.p99_of_rounds)),
    };
    Some(Verdict::new(format!("{}: {figure}", race.title), peer, ratio, bound))
}

fn of_memory(report: &Report) -> Option<Verdict> {
    let of = |name| report.waiting.iter().find(|waiting| waiting.name == name);
    let (ours, peer) = (of(Name::Ours)?, of(Name::Deadpool)?);
    let what = format!("bytes of each of {} waiting tasks", ours.tasks);
    Some(Verdict::new(what, Name::Deadpool, Some(ours.bytes / peer.bytes), Bound::AtMost(1.0)))
}

impl Verdict {
    fn new(what: String, peer: Name, ratio: Option<f64>, bound: Bound) -> Self {
        let is_met = ratio.is_some_and(|ratio| match bound {
            Bound::AtLeast(least) => ratio >= least,
            Bound::AtMost(most) => ratio <= most,
        });
        Self { what, peer, ratio, bound, is_met }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer.package();
        let Some(ratio) = self.ratio else { return write!(f, "NONE  {}: {peer} did not run", self.what) };
        let verdict = if self.is_met { "PASS" } else { "MISS" };
        let (at, bound) = match self.bound {
            Bound::AtLeast(bound) => ("at least", bound),
            Bound::AtMost(bound) => ("at most", bound),
        };
        write!(f, "{verdict}  {} {ratio:.2} x {peer} ({at} {bound:.1})", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Course;

    #[test]
    fn a_verdict_as_a_line() {
        let check = |ratio, bound, expect: &str| {
            let verdict = Verdict::new("a race: throughput".to_owned(), Name::Deadpool, ratio, bound);
            assert_eq!(verdict.to_string(), expect);
        };
        let (least, most) = (Bound::AtLeast(1.8), Bound::AtMost(1.0));
        check(Some(1.8), least, "PASS  a race: throughput 1.80 x deadpool-postgres (at least 1.8)");
        check(Some(1.7), least, "MISS  a race: throughput 1.70 x deadpool-postgres (at least 1.8)");
        check(Some(1.0), most, "PASS  a race: throughput 1.00 x deadpool-postgres (at most 1.0)");
        check(Some(1.2), most, "MISS  a race: throughput 1.20 x deadpool-postgres (at most 1.0)");
        check(Some(f64::NAN), most, "MISS  a race: throughput NaN x deadpool-postgres (at most 1.0)");
        check(None, least, "NONE  a race: throughput: deadpool-postgres did not run");
    }

    /// An aim about what nobody runs would never be judged, and nobody would see it.
    #[test]
    fn every_aim_is_about_a_course() {
        for (workload, tasks, way, _, peer, _) in AIMS {
            let is_meant = |course: &Course| {
                (course.workload, course.tasks, course.way) == (*workload, *tasks, *way)
                    && course.entrants.contains(peer)
            };
            assert!(Course::all().iter().any(is_meant), "{workload:?}, {tasks}, {way:?}, {peer:?}");
        }
    }
}
