//! How a component is checked. Plain values with their defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use db_core::Probe;

/// A probe and how it is run.
#[derive(Clone)]
pub struct Check {
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) is_critical: bool,
    pub(crate) is_service: bool,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fail_after: u32,
    pub(crate) recover_after: u32,
}

impl Check {
    /// A critical check every 2 s with a time limit of 1 s, unhealthy after 3 failures, well again after 2 successes.
    #[must_use]
    pub fn new(probe: impl Probe + 'static) -> Self {
        Self {
            probe: Arc::new(probe),
            is_critical: true,
            is_service: true,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fail_after: 3,
            recover_after: 2,
        }
    }

    /// The service can live without this component: when it is unhealthy the whole is degraded.
    #[must_use]
    pub fn non_critical(mut self) -> Self {
        self.is_critical = false;
        self
    }

    /// The component is a part of this process, such as a pool: it is left out of the list of services.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.is_service = false;
        self
    }

    /// The pause between two looks. Default 2 s; less than 1 ms counts as 1 ms.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The time limit of one look. Default 1 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many failures in a row make it unhealthy. Default 3; 0 counts as 1.
    #[must_use]
    pub fn fail_after(mut self, failures: u32) -> Self {
        self.fail_after = failures.max(1);
        self
    }

    /// How many successes in a row make it well again. Default 2; 0 counts as 1.
    #[must_use]
    pub fn recover_after(mut self, successes: u32) -> Self {
        self.recover_after = successes.max(1);
        self
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.probe.name())
            .field("is_critical", &self.is_critical)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
