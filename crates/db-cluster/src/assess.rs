//! Who is the primary, who is a replica fit for reads, and who is neither: from what the endpoints say of themselves, one
//! sighting after the other. Pure: the moments are passed in, and what is to be done about a change is the caller's.
//!
//! - The highest timeline that was ever seen counts, also on a standby, who has it from a primary. What claims to be a primary on a
//!   lower one is the old one, whether or not the new one can be seen at the moment.
//! - One missed look is chance, two are not.
//! - A replica that was sent away for its lag comes back when it has kept to half of the limit for a while.

use std::time::Duration;

use tokio::time::Instant;

use crate::Lsn;
use crate::lag::{Lag, Track};
use crate::sighting::{Role, Sighting};
use crate::standing::{Reason, Standing};

/// When a replica is too far behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) lag: Duration,
    pub(crate) lag_bytes: u64,
}

/// What is known of all endpoints.
#[derive(Debug)]
pub(crate) struct Assessor {
    limits: Limits,
    known: Vec<Known>,
    /// Of the first endpoint that was seen.
    system: Option<u64>,
    /// The highest that was seen.
    timeline: u32,
    track: Track,
    /// Who is or was the primary.
    incumbent: Option<usize>,
    /// The timeline on which it is or was that.
    led: u32,
}

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) standing: Standing,
    /// Since when it is what it is.
    pub(crate) since: Instant,
    /// What it said last, while it answers.
    pub(crate) sighting: Option<Sighting>,
    pub(crate) lag: Option<Lag>,
    /// What it was when it answered last.
    pub(crate) last_role: Option<Role>,
    /// The last run that was seen, and the highest timeline in it. A standby whose receiver has ended with the primary shows that
    /// of its last checkpoint again, which may be from before the promotion that it has followed since.
    run: Option<(i64, u32)>,
    missed: u32,
    /// Looks in a row at which its lag was well within the limit.
    steady: u32,
}

/// An endpoint is not any more what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) index: usize,
    pub(crate) from: Standing,
    pub(crate) to: Standing,
}

/// Looks that may be missed.
const MISSES: u32 = 1;

/// Looks at which a replica must keep to half of the limit before it takes reads again.
const STEADY: u32 = 3;

impl Assessor {
    pub(crate) fn new(endpoints: usize, limits: Limits, now: Instant) -> Self {
        let unknown = Known {
            standing: Standing::Unknown,
            since: now,
            sighting: None,
            lag: None,
            last_role: None,
            run: None,
            missed: 0,
            steady: STEADY,
        };
        let known = vec![unknown; endpoints];
        Self { limits, known, system: None, timeline: 0, track: Track::default(), incumbent: None, led: 0 }
    }

    pub(crate) fn known(&self) -> &[Known] {
        &self.known
    }

    /// The system identifier of the cluster, once somebody was seen.
    pub(crate) fn system(&self) -> Option<u64> {
        self.system
    }

    /// The last moment at which the primary had no more than this; none when it is not known.
    pub(crate) fn had_all_at(&self, replayed: Lsn) -> Option<Instant> {
        self.track.had_all_at(replayed)
    }

    /// The timeline of an endpoint in this run, which shows this one at the moment.
    pub(crate) fn highest(&self, index: usize, run: i64, timeline: u32) -> u32 {
        let seen = self.known[index].run.filter(|(seen, _)| *seen == run);
        seen.map_or(timeline, |(_, highest)| highest.max(timeline))
    }

    /// Whether an endpoint leads to another server than before, which took its place: nobody comes to a later timeline while he takes
    /// writes.
    pub(crate) fn is_replaced(&self, index: usize, sighting: &Sighting) -> bool {
        self.incumbent == Some(index) && sighting.role == Role::Primary && sighting.timeline > self.led
    }

    /// An endpoint has answered a question that was asked at `now`.
    pub(crate) fn saw(&mut self, index: usize, mut sighting: Sighting, now: Instant) -> Vec<Change> {
        sighting.timeline = self.highest(index, sighting.run, sighting.timeline);
        let known = &mut self.known[index];
        known.run = Some((sighting.run, sighting.timeline));
        (known.sighting, known.last_role, known.missed) = (Some(sighting), Some(sighting.role), 0);
        if *self.system.get_or_insert(sighting.system) == sighting.system {
            self.timeline = self.timeline.max(sighting.timeline);
        }
        self.assess(index, now)
    }

    /// An endpoint has not answered.
    pub(crate) fn missed(&mut self, index: usize, now: Instant) -> Vec<Change> {
        let known = &mut self.known[index];
        known.missed = known.missed.saturating_add(1);
        if known.missed <= MISSES && known.standing != Standing::Unknown {
            return Vec::new();
        }
        (known.sighting, known.lag) = (None, None);
        self.assess(index, now)
    }

    fn assess(&mut self, looked_at: usize, now: Instant) -> Vec<Change> {
        let primary = self.choose_primary();
        if let Some((index, sighting)) = primary {
            if sighting.timeline > self.led || self.incumbent != Some(index) {
                (self.led, self.incumbent) = (sighting.timeline, Some(index));
                // Places of another history say nothing about this one.
                self.track = Track::default();
            }
            if index == looked_at {
                self.track.record(sighting.lsn, now);
            }
        }
        self.measure(looked_at, now);
        let primary = primary.map(|(index, _)| index);
        let mut changes = Vec::new();
        for index in 0..self.known.len() {
            let (from, to) = (self.known[index].standing, self.standing(index, primary));
            if from != to {
                let known = &mut self.known[index];
                (known.standing, known.since) = (to, now);
                changes.push(Change { index, from, to });
            }
        }
        changes
    }

    /// Among those who take writes the one of the highest timeline; of several the one that it was, else the first. On the same
    /// timeline nobody takes the place of one that is only out of sight, but for another way to the same server.
    fn choose_primary(&self) -> Option<(usize, Sighting)> {
        let seen = self.known.iter().enumerate().filter_map(|(index, known)| Some((index, known.sighting?)));
        seen.filter(|(_, sighting)| sighting.role == Role::Primary && Some(sighting.system) == self.system)
            .filter(|(index, sighting)| {
                let stepped_down = |other: usize| self.known[other].last_role != Some(Role::Primary);
                let may_follow = self.incumbent.is_none_or(|other| {
                    other == *index || stepped_down(other) || self.leads_to(other, sighting.run)
                });
                sighting.timeline == self.timeline && (sighting.timeline > self.led || may_follow)
            })
            .max_by_key(|(index, sighting)| {
                (sighting.timeline, self.incumbent == Some(*index), std::cmp::Reverse(*index))
            })
    }

    /// Whether an endpoint was the server of this run when it was seen last.
    fn leads_to(&self, index: usize, run: i64) -> bool {
        self.known[index].run.is_some_and(|(seen, _)| seen == run)
    }

    fn measure(&mut self, index: usize, now: Instant) {
        let known = &mut self.known[index];
        let standby = known.sighting.filter(|sighting| sighting.role == Role::Standby);
        known.lag = standby.and_then(|seen| self.track.lag(seen.lsn, seen.replay_age, now));
        let within = |lag: Lag, part: u32| {
            lag.time <= self.limits.lag / part && lag.bytes <= self.limits.lag_bytes / u64::from(part)
        };
        known.steady = match known.lag {
            // Nobody writes that we know of.
            None => STEADY,
            Some(lag) if !within(lag, 1) => 0,
            Some(_) if known.steady >= STEADY => STEADY,
            Some(lag) if within(lag, 2) => known.steady + 1,
            Some(_) => 0,
        };
    }

    fn standing(&self, index: usize, primary: Option<usize>) -> Standing {
        let known = &self.known[index];
        let Some(sighting) = known.sighting else {
            return if known.missed == 0 { Standing::Unknown } else { Standing::Out(Reason::Unreachable) };
        };
        if Some(sighting.system) != self.system {
            return Standing::Out(Reason::OtherCluster);
        }
        match sighting.role {
            _ if primary == Some(index) => Standing::Primary,
            _ if sighting.timeline < self.timeline => Standing::Out(Reason::OldTimeline),
            Role::Primary if primary.is_some_and(|primary| self.leads_to(primary, sighting.run)) => {
                Standing::Out(Reason::SameServer)
            }
            Role::Primary => Standing::Out(Reason::SecondPrimary),
            Role::Standby if known.steady < STEADY => Standing::Out(Reason::Lag),
            Role::Standby => Standing::Replica,
        }
    }
}

#[cfg(test)]
#[path = "assess_tests.rs"]
mod tests;
