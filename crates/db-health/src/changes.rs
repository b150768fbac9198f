//! What has changed since somebody last asked. No queue: a listener that is slow sees the sum of what it missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use db_core::Status;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Snapshot;
use crate::monitor::{Beat, Inner};

/// A result may become too old without any look: how often that is checked while nothing else happens.
const AGE_CHECK: Duration = Duration::from_secs(1);

/// A status that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The name of the component; `None` for the whole.
    pub component: Option<String>,
    /// What it was; `None` before the first look, for the whole before all first looks.
    pub from: Option<Status>,
    /// What it is.
    pub to: Status,
    /// The fixed word for what is wrong.
    pub reason: Option<&'static str>,
    /// When it was noticed.
    pub at: Timestamp,
}

/// The changes from the moment on when it was made by [`Monitor::changes`](crate::Monitor::changes).
///
/// It needs no memory for what nobody fetches: a listener that comes back late gets the difference between what it saw
/// last and what is now.
#[derive(Debug)]
pub struct Changes {
    inner: Arc<Inner>,
    beat: watch::Receiver<Beat>,
    seen: Seen,
    pending: VecDeque<Change>,
}

impl Changes {
    pub(crate) fn new(inner: Arc<Inner>, beat: watch::Receiver<Beat>) -> Self {
        let mut seen = Seen::default();
        seen.compare(&inner.snapshot());
        Self { inner, beat, seen, pending: VecDeque::new() }
    }

    /// Waits for the next change; `None` when the monitor has been stopped.
    ///
    /// The whole comes after the components that changed with it. A result that becomes too old is noticed within 1 s.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Some(change);
            }
            let is_stopped = self.beat.borrow_and_update().is_stopped;
            self.pending.extend(self.seen.compare(&self.inner.snapshot()));
            if self.pending.is_empty() {
                if is_stopped {
                    return None;
                }
                // Whichever comes first: there is something to compare.
                timeout(AGE_CHECK, self.beat.changed()).await.ok();
            }
        }
    }
}

/// What a listener knows. Pure.
#[derive(Debug, Default)]
struct Seen {
    components: Vec<Option<Status>>,
    whole: Option<Status>,
}

impl Seen {
    /// Takes in what is now and gives the differences.
    fn compare(&mut self, snapshot: &Snapshot) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut note = |component: Option<&str>, seen: &mut Option<Status>, now: Option<Status>, reason| {
            let from = std::mem::replace(seen, now);
            if let Some(to) = now.filter(|_| from != now) {
                let component = component.map(str::to_owned);
                changes.push(Change { component, from, to, reason, at: snapshot.at });
            }
        };
        self.components.resize(snapshot.components.len(), None);
        for (seen, component) in self.components.iter_mut().zip(&snapshot.components) {
            let now = component.age.map(|_| component.status);
            note(Some(&component.name), seen, now, component.reason);
        }
        let have_all_looked = snapshot.components.iter().all(|component| component.age.is_some());
        let whole = Some(snapshot.status()).filter(|_| have_all_looked || snapshot.is_shutting_down());
        note(None, &mut self.whole, whole, snapshot.reason());
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Component;

    fn snapshot(statuses: &[(&str, Status)]) -> Snapshot {
        let component = |(name, status): &(&str, Status)| Component::for_tests(name, *status);
        Snapshot::for_tests(statuses.iter().map(component).collect())
    }

    #[test]
    fn only_what_differs_and_the_whole_last() {
        let mut seen = Seen::default();
        let first = seen.compare(&snapshot(&[("a", Status::Healthy), ("b", Status::Healthy)]));
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(|change| change.from.is_none()));
        assert_eq!(seen.compare(&snapshot(&[("a", Status::Healthy), ("b", Status::Healthy)])), []);

        let changes = seen.compare(&snapshot(&[("a", Status::Healthy), ("b", Status::Unhealthy)]));
        let told: Vec<_> = changes.iter().map(|it| (it.component.as_deref(), it.from, it.reason)).collect();
        let from = Some(Status::Healthy);
        assert_eq!(told, [(Some("b"), from, Some("b")), (None, from, Some("b"))]);
    }

    #[test]
    fn nothing_is_claimed_before_the_first_look() {
        let mut starting = snapshot(&[("a", Status::Unhealthy)]);
        starting.components[0].age = None;
        assert_eq!(Seen::default().compare(&starting), []);
        starting.is_shutting_down = true;
        let whole = Seen::default().compare(&starting);
        assert_eq!((whole.len(), whole[0].reason), (1, Some("shutting_down")));
    }
}
