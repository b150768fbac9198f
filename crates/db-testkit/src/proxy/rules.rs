//! Decides which fault strikes. Pure: it is told what happened, and knows no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fault::{Trigger, Which};
use super::{Direction, End, Fault};

/// Something that a fault may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
    /// A client sent a COMMIT.
    Commit,
    /// The server said that it committed.
    Acknowledgement,
    /// A client asked for something that a ReadyForQuery answers.
    Request,
    /// The server begins to answer that.
    Answer,
    /// As many bytes have passed as this rule wanted.
    Reached(u64),
}

/// A fault that strikes a connection.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    pub(super) end: End,
    pub(super) fired: Arc<AtomicU64>,
}

/// After how many bytes a rule wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) rule: u64,
    pub(super) direction: Direction,
    pub(super) after: u64,
    pub(super) from_begin: bool,
}

/// The faults that were injected and may still strike.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    last: u64,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    trigger: Trigger,
    end: End,
    chooser: Chooser,
    fired: Arc<AtomicU64>,
}

impl Rules {
    /// Gives the rule's number, and where its strikes are counted.
    pub(super) fn add(&mut self, fault: Fault) -> (u64, Arc<AtomicU64>) {
        self.last += 1;
        let fired = Arc::<AtomicU64>::default();
        self.rules.push(Rule {
            number: self.last,
            trigger: fault.trigger,
            end: fault.end,
            chooser: Chooser::new(fault.which),
            fired: Arc::clone(&fired),
        });
        (self.last, fired)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.rules.retain(|rule| rule.number != number);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Every rule that this concerns counts it; of those that would strike the oldest does.
    pub(super) fn decide(&mut self, occurrence: Occurrence) -> Option<Strike> {
        let mut strike = None;
        for rule in &mut self.rules {
            let is_concerned = match (rule.trigger, occurrence) {
                (Trigger::Commit, Occurrence::Commit)
                | (Trigger::Acknowledgement, Occurrence::Acknowledgement)
                | (Trigger::Request, Occurrence::Request)
                | (Trigger::Answer, Occurrence::Answer) => true,
                (Trigger::Bytes { .. }, Occurrence::Reached(number)) => number == rule.number,
                _ => false,
            };
            if is_concerned && rule.chooser.hits() && strike.is_none() {
                strike = Some(Strike { end: rule.end, fired: Arc::clone(&rule.fired) });
            }
        }
        self.rules.retain(|rule| !rule.chooser.is_done());
        strike
    }

    pub(super) fn limits(&self) -> impl Iterator<Item = Limit> {
        self.rules.iter().filter_map(|rule| match rule.trigger {
            Trigger::Bytes { direction, after, from_begin } => {
                Some(Limit { rule: rule.number, direction, after, from_begin })
            }
            _ => None,
        })
    }
}

impl Strike {
    pub(super) fn has_fired(&self) {
        self.fired.fetch_add(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
enum Chooser {
    Every,
    /// So many are left, the one that it strikes included.
    Left(u64),
    Sometimes(f64, Box<StdRng>),
}

impl Chooser {
    fn new(which: Which) -> Self {
        match which {
            Which::Every => Self::Every,
            Which::Nth(n) => Self::Left(n.max(1)),
            Which::Sometimes { probability, seed } => {
                // What is no number never strikes.
                let probability = if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) };
                Self::Sometimes(probability, Box::new(StdRng::seed_from_u64(seed)))
            }
        }
    }

    fn hits(&mut self) -> bool {
        match self {
            Self::Every => true,
            Self::Left(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Self::Sometimes(probability, random) => random.random_bool(*probability),
        }
    }

    fn is_done(&self) -> bool {
        matches!(self, Self::Left(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the first ten COMMITs these faults strike.
    fn struck(faults: &[Fault]) -> Vec<u32> {
        let mut rules = Rules::default();
        faults.iter().for_each(|fault| drop(rules.add(*fault)));
        (1..=10).filter(|_| rules.decide(Occurrence::Commit).is_some()).collect()
    }

    const NONE: [u32; 0] = [];

    #[test]
    fn the_chosen_ones_are_struck() {
        let lost = Fault::lost_commit;
        assert_eq!(struck(&[]), NONE);
        assert_eq!(struck(&[lost()]), (1..=10).collect::<Vec<_>>());
        assert_eq!(struck(&[lost().nth(3)]), [3]);
        assert_eq!(struck(&[lost().nth(0)]), [1]);
        assert_eq!(struck(&[lost().nth(3), lost().nth(5)]), [3, 5]);
        assert_eq!(struck(&[lost().nth(3), lost().nth(3)]), [3]);
        assert_eq!(struck(&[lost().sometimes(0.0, 7)]), NONE);
        assert_eq!(struck(&[lost().sometimes(f64::NAN, 7)]), NONE);
        assert_eq!(struck(&[lost().sometimes(2.0, 7)]).len(), 10);
        assert_eq!(struck(&[Fault::lost_acknowledgement()]), NONE);
        assert_eq!(struck(&[Fault::cut_after(Direction::ToServer, 1)]), NONE);
    }

    #[test]
    fn a_seed_repeats_its_decisions() {
        let with = |seed| struck(&[Fault::lost_commit().sometimes(0.5, seed)]);
        assert_eq!(with(1), with(1));
        assert!((2..20).any(|seed| with(seed) != with(1)));
    }

    #[test]
    fn a_rule_that_is_done_or_withdrawn_is_gone() {
        let mut rules = Rules::default();
        let (first, _) = rules.add(Fault::cut_after(Direction::ToClient, 5).nth(1));
        let (second, _) = rules.add(Fault::cut_after(Direction::ToClient, 6).from_begin());
        assert_eq!(rules.limits().count(), 2);
        assert!(rules.decide(Occurrence::Reached(first)).is_some());
        let left = Limit { rule: second, direction: Direction::ToClient, after: 6, from_begin: true };
        assert_eq!(rules.limits().collect::<Vec<_>>(), [left]);
        rules.remove(second);
        assert_eq!(rules.limits().count(), 0);
    }
}
