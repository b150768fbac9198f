//! How a component is checked. Plain values with their defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use db_core::Probe;

/// What a check says something about. Complete: the [summary](crate::view::summary) has exactly these three entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Whether the component can be reached and used.
    Connectivity,
    /// Whether the schema is the one that this program needs.
    SchemaIntegrity,
    /// Whether it is as quick, and has as much room, as it should.
    Performance,
}

/// A probe and how it is run.
#[derive(Clone)]
pub struct Check {
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) is_critical: bool,
    pub(crate) is_service: bool,
    pub(crate) parent: Option<String>,
    pub(crate) aspect: Option<Aspect>,
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
            parent: None,
            aspect: None,
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

    /// The component belongs to another one, named by its check: what is wrong here is wrong there too. The parent is never
    /// better than a critical part of it, and degraded when a part that is not critical is not well.
    ///
    /// A name that no check of the monitor has, or one that closes a circle, is logged when it starts and then ignored.
    #[must_use]
    pub fn part_of(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// What the check says something about. Default: [`Aspect::Connectivity`] for a service, [`Aspect::Performance`] for
    /// what is [internal](Self::internal) or [part of](Self::part_of) something.
    #[must_use]
    pub fn aspect(mut self, aspect: Aspect) -> Self {
        self.aspect = Some(aspect);
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

    pub(crate) fn name(&self) -> &str {
        self.probe.name()
    }

    pub(crate) fn aspect_or_default(&self) -> Aspect {
        let is_service = self.is_service && self.parent.is_none();
        self.aspect.unwrap_or(if is_service { Aspect::Connectivity } else { Aspect::Performance })
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.probe.name())
            .field("is_critical", &self.is_critical)
            .field("parent", &self.parent)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
