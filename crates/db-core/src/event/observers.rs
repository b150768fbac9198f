//! Several observers as one. What they do with what they hear is theirs.

use std::fmt;
use std::sync::Arc;

use super::{
    Abandoned, AcquireFailed, Acquired, BreakerChanged, Closed, CommitResolved, ConnectFailed, Connected,
    EndpointChanged, Executed, GaveUp, HighUse, Leaked, Observer, ReadMoved, Released, Retried,
};

/// Tells each of several observers, in their order.
///
/// ```
/// use std::sync::Arc;
///
/// use db_core::{Log, Observer, Observers};
///
/// let observer: Arc<dyn Observer> = Arc::new(Observers::new([Arc::new(Log) as Arc<dyn Observer>]));
/// # drop(observer);
/// ```
#[derive(Clone, Default)]
pub struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// These, told in this order.
    pub fn new(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        Self(observers.into_iter().collect())
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("count", &self.0.len()).finish()
    }
}

/// One method for each event, so that none is forgotten when there are more.
macro_rules! pass_on {
    ($($method:ident: $event:ident),* $(,)?) => {
        impl Observer for Observers {
            $(fn $method(&self, event: &$event<'_>) {
                for observer in self.0.iter() {
                    observer.$method(event);
                }
            })*
        }
    };
}

pass_on! {
    connected: Connected,
    connect_failed: ConnectFailed,
    acquired: Acquired,
    acquire_failed: AcquireFailed,
    high_use: HighUse,
    released: Released,
    closed: Closed,
    leaked: Leaked,
    executed: Executed,
    abandoned: Abandoned,
    retried: Retried,
    gave_up: GaveUp,
    breaker_changed: BreakerChanged,
    commit_resolved: CommitResolved,
    endpoint_changed: EndpointChanged,
    read_moved: ReadMoved,
}
