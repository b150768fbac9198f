//! The settings of lanes, each with its default and the reason for it.

use std::time::Duration;

/// How single statements may share connections: see the [crate documentation](crate#lanes).
///
/// A lane is one of the pool's connections, on which short statements of many callers are in flight at the same time. There is
/// nothing to choose for most: what is short is learned. [`LaneSettings::off`] gives each statement a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneSettings {
    /// The most connections that are lanes at one time, of those that the pool may have; never more than a quarter of these.
    /// Default 4: the server runs the statements of one lane one after the other, so that as many processors as lanes work on
    /// them; more lanes mean fewer statements in each write and read. Zero turns lanes off.
    pub max: u32,
    /// The most statements in flight on one lane, those included that wait for it, at least 1. Default 256: a thousand callers on four
    /// lanes. How many are in flight is learned; the others wait for whichever lane has room first.
    pub depth: u32,
    /// How long the first of those may have waited until others have connections of their own, while the pool has some that are
    /// free. Default 50 ms: nobody waits much longer than that behind others. Above zero.
    pub wait: Duration,
    /// A statement that took no longer is short, beyond the way to the server and back. Default 2 ms: a statement by an index takes
    /// a tenth of that, and a busy machine may add the rest. Above zero.
    pub short: Duration,
    /// A statement that takes longer on a lane has its next runs on connections of its own, unless it was well a thousand times before.
    /// While one takes half as long, its lane takes no others. Default 50 ms: what a busy machine adds now and then is not held
    /// against a statement, and to be tried out again costs more than such a wait.
    pub slow: Duration,
    /// `statement_timeout` on a lane, or that of the pool if that is shorter. Default 200 ms. What is stopped by it had no effect,
    /// and is run again on a connection of its own, with the pool's time-out: its caller does not notice. Those behind
    /// it waited for so long, at the most. Above zero.
    pub timeout: Duration,
    /// How often a statement must have been short on connections of its own before it uses lanes, at least 1. Default 8; four
    /// times as often, up to 64 times, after each time that it was slow soon after. A run that was not short takes back two.
    pub trial: u32,
    /// A result of more bytes has the statement's next runs on connections of its own. Default 64 KiB: the results on a lane pass
    /// through one task.
    pub max_bytes: usize,
}

impl LaneSettings {
    /// No lanes: each statement has a connection of its own.
    #[must_use]
    pub fn off() -> Self {
        Self { max: 0, ..Self::default() }
    }

    /// What must be positive and is not.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        let zero = [
            ("lanes.depth", self.depth == 0),
            ("lanes.wait", self.wait.is_zero()),
            ("lanes.short", self.short.is_zero()),
            ("lanes.timeout", self.timeout.is_zero()),
            ("lanes.trial", self.trial == 0),
        ];
        zero.into_iter().find(|(_, is_zero)| *is_zero).map(|(field, _)| field)
    }
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            max: 4,
            depth: 256,
            wait: Duration::from_millis(50),
            short: Duration::from_millis(2),
            slow: Duration::from_millis(50),
            timeout: Duration::from_millis(200),
            trial: 8,
            max_bytes: 64 * 1024,
        }
    }
}
