//! Damping of an alert. Pure: fed with what was read and when, it says whether to tell somebody.

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::notice::{Alert, AlertState, Notice, NoticeState, Teller};
use super::rule::{Reading, Rule};

/// What is remembered of a rule between looks.
#[derive(Debug)]
pub(super) struct Tracker {
    state: AlertState,
    since: Timestamp,
    value: Option<f64>,
    /// What was wrong when something last was: its end is told by the same name.
    subject: Option<String>,
    /// Looks in a row that speak for another state.
    against: u32,
    /// Whether somebody was told that it fires, and is owed its end.
    is_told: bool,
    told: Option<Instant>,
}

impl Tracker {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            state: AlertState::Ok,
            since: at,
            value: None,
            subject: None,
            against: 0,
            is_told: false,
            told: None,
        }
    }

    /// Takes in what was read; no reading changes nothing. Returns what is to be told, if anything.
    pub(super) fn feed(
        &mut self,
        rule: &Rule,
        reading: Option<Reading>,
        now: Instant,
        at: Timestamp,
    ) -> Option<NoticeState> {
        let Reading { value, subject } = reading?;
        let is_broken = rule.is_broken_by(value);
        self.value = Some(value);
        if is_broken {
            self.subject = subject;
        }
        match (self.state, is_broken) {
            (AlertState::Ok, false) => None,
            (AlertState::Pending, false) => {
                self.enter(AlertState::Ok, at);
                None
            }
            (AlertState::Ok | AlertState::Pending, true) => {
                self.against += 1;
                if self.against >= rule.fire_after {
                    self.enter(AlertState::Firing, at);
                    return self.fires(rule, now);
                }
                if self.state == AlertState::Ok {
                    (self.state, self.since) = (AlertState::Pending, at);
                }
                None
            }
            (AlertState::Firing, true) => {
                self.against = 0;
                self.fires(rule, now)
            }
            (AlertState::Firing, false) => {
                self.against += 1;
                if self.against < rule.resolve_after {
                    return None;
                }
                self.enter(AlertState::Ok, at);
                std::mem::take(&mut self.is_told).then_some(NoticeState::Resolved)
            }
        }
    }

    /// The alert as it stands.
    pub(super) fn show(&self, rule: &Rule) -> Alert {
        Alert {
            name: rule.name.clone(),
            state: self.state,
            since: self.since,
            value: self.value,
            threshold: rule.threshold,
            unit: rule.unit.clone(),
            text: rule.words(self.subject.as_deref().filter(|_| self.state != AlertState::Ok)),
        }
    }

    /// The message about it.
    pub(super) fn tell(&self, rule: &Rule, state: NoticeState, at: Timestamp, teller: &Teller) -> Notice {
        Notice {
            id: Uuid::now_v7().to_string(),
            alert: rule.name.clone(),
            state,
            value: self.value.unwrap_or(rule.threshold),
            threshold: rule.threshold,
            unit: rule.unit.clone(),
            text: rule.words(self.subject.as_deref()),
            at,
            service: teller.service.clone(),
            instance: teller.instance.clone(),
        }
    }

    fn enter(&mut self, state: AlertState, at: Timestamp) {
        (self.state, self.since, self.against) = (state, at, 0);
    }

    /// Tells that it fires, unless that is told already or was told too recently.
    fn fires(&mut self, rule: &Rule, now: Instant) -> Option<NoticeState> {
        let is_cool = self.told.is_none_or(|told| now.saturating_duration_since(told) >= rule.cool_down);
        if self.is_told || !is_cool {
            return None;
        }
        (self.is_told, self.told) = (true, Some(now));
        Some(NoticeState::Firing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use AlertState::{Firing, Ok, Pending};

    use super::*;

    fn rule() -> Rule {
        Rule::above("pool_utilization", 80.0, "%", || None::<f64>)
            .fire_after(3)
            .resolve_after(2)
            .cool_down(Duration::from_secs(10))
    }

    /// Feeds a look a second; a minus is a look without a figure.
    fn run(rule: &Rule, values: &str) -> (Vec<AlertState>, String) {
        let (begin, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut tracker = Tracker::new(at);
        let mut told = String::new();
        let states = values.chars().enumerate().map(|(second, value)| {
            let reading = match value {
                '-' => None,
                '^' => Some(Reading::new(91.0)),
                _ => Some(Reading::new(80.0)),
            };
            told.push(match tracker.feed(rule, reading, begin + Duration::from_secs(second as u64), at) {
                Some(NoticeState::Firing) => 'F',
                Some(NoticeState::Resolved) => 'R',
                None => '.',
            });
            tracker.state
        });
        (states.collect(), told)
    }

    /// E10: above `^`, at the border `_`; told `F` and `R`.
    #[test]
    fn what_is_told() {
        let check = |values, expect| assert_eq!(run(&rule(), values).1, expect, "{values}");
        check("______", "......");
        check("^^____", "......");
        check("^^^^^^", "..F...");
        check("^^_^^_^^_", ".........");
        check("^^^_^_^_^", "..F......");
        check("^^^__^", "..F.R.");
        check("^^^_-_", "..F..R");
        check("^-^-^-", "....F.");
        check("^^^-----__", "..F......R");
        // The second firing is too soon: neither it nor its end is told.
        check("^^^__^^^__", "..F.R.....");
        // It lasts until the time is over: then it is told, and so is its end.
        check("^^^__^^^^^^^^^__", "..F.R.......F..R");
        // But not by a look at which nothing is wrong.
        check("^^^__^^^^^^^_^__", "..F.R........F.R");
        // As long as it flaps, a firing and an end at most for each time.
        check("^^^__^^^__^^^__^^^__^^^__^^^__", "..F.R.......F.R.......F.R.....");
    }

    #[test]
    fn states() {
        let check = |values, expect: &[AlertState]| assert_eq!(run(&rule(), values).0, expect, "{values}");
        check("_^^_", &[Ok, Pending, Pending, Ok]);
        check("^^^_^__", &[Pending, Pending, Firing, Firing, Firing, Firing, Ok]);
        check("-^-", &[Ok, Pending, Pending]);
    }

    #[test]
    fn a_border_may_be_one_from_below() {
        let rule = Rule::below("idle", 1.0, "connections", || None::<f64>);
        assert!(rule.is_broken_by(0.0) && !rule.is_broken_by(1.0));
        assert_eq!(rule.words(None), "idle is below 1 connections");
        let unread = Rule::above("lag", 1.0, "s", || Some(f64::NAN));
        assert_eq!(unread.read(), None);
    }

    #[test]
    fn since_is_when_the_state_began() {
        let (rule, second) = (rule(), |second| Timestamp::from_second(second).expect("a time"));
        let mut tracker = Tracker::new(second(0));
        let mut since = |at, value: f64| {
            let reading = Some(Reading::new(value).of("primary"));
            tracker.feed(&rule, reading, Instant::now(), second(at));
            let shown = tracker.show(&rule);
            let text = "pool_utilization is above 80 %";
            let expect = if shown.state == Ok { text.to_owned() } else { format!("{text}: primary") };
            assert_eq!(shown.text, expect);
            (shown.state, shown.since.as_second())
        };
        assert_eq!(since(1, 0.0), (Ok, 0));
        assert_eq!(since(2, 90.0), (Pending, 2));
        assert_eq!(since(3, 90.0), (Pending, 2));
        assert_eq!(since(4, 90.0), (Firing, 4));
        assert_eq!(since(5, 0.0), (Firing, 4));
        assert_eq!(since(6, 0.0), (Ok, 6));
        let teller = Teller { service: "orders".to_owned(), instance: "1".to_owned() };
        let end = tracker.tell(&rule, NoticeState::Resolved, second(6), &teller);
        assert_eq!((&*end.text, end.value), ("pool_utilization is above 80 %: primary", 0.0));
    }
}
