//! How long everything takes. Fixed times, so that a run ends by itself whatever it measures.

use std::time::Duration;

/// Connections of each pool.
pub(crate) const CONNECTIONS: u32 = 20;

/// How long a caller may wait for a connection. Longer than anything here takes: waiting is measured, not cut off.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many tasks run at once: no contention, three for each connection, fifty for each connection.
pub(crate) const TASKS: [usize; 3] = [1, 64, 1_000];

/// The extent of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// How often each contestant runs each course that all pools enter.
    pub(crate) rounds: usize,
    /// How often those of the other courses.
    pub(crate) rounds_of_few: usize,
    pub(crate) warm_up: Duration,
    /// How long operations are begun and counted.
    pub(crate) window: Duration,
    /// Batches of each contestant when acquiring is measured.
    pub(crate) batches: usize,
    /// Pairs of runs when the cost of observing is measured.
    pub(crate) pairs: usize,
    /// The window of each of these.
    pub(crate) pair_window: Duration,
    /// The whole run is given up after this.
    pub(crate) limit: Duration,
}

impl Plan {
    /// Under three minutes.
    pub(crate) fn quick() -> Self {
        Self {
            name: "quick",
            rounds: 3,
            rounds_of_few: 3,
            warm_up: Duration::from_millis(150),
            window: Duration::from_millis(400),
            batches: 200,
            pairs: 7,
            pair_window: Duration::from_millis(400),
            limit: Duration::from_secs(6 * 60),
        }
    }

    /// Under 20 minutes. Many short rounds rather than few long ones: what else the machine does then disturbs a few rounds
    /// of everybody, not the only one of somebody. A multiple of five lets five of them have each place in the order equally
    /// often, a multiple of three three of them.
    pub(crate) fn full() -> Self {
        Self {
            name: "full",
            rounds: 15,
            rounds_of_few: 9,
            warm_up: Duration::from_millis(200),
            window: Duration::from_secs(1),
            batches: 1_000,
            pairs: 40,
            pair_window: Duration::from_millis(600),
            limit: Duration::from_secs(30 * 60),
        }
    }
    /// The same with another number of rounds.
    pub(crate) fn with_rounds(self, rounds: usize) -> Self {
        Self { rounds, rounds_of_few: rounds, ..self }
    }
}
