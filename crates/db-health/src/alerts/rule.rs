//! What is looked at and from where on it is too much. A plain value: it remembers nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A figure, the border that it must not cross, and how patient to be.
#[derive(Clone)]
pub struct Rule {
    pub(super) name: String,
    measure: Arc<dyn Fn() -> Option<Reading> + Send + Sync>,
    is_above: bool,
    pub(super) threshold: f64,
    pub(super) unit: String,
    text: Option<String>,
    pub(super) fire_after: u32,
    pub(super) resolve_after: u32,
    pub(super) cool_down: Duration,
}

/// A figure at one moment, and what it belongs to when there are several.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub(super) value: f64,
    pub(super) subject: Option<String>,
}

impl Reading {
    /// A figure.
    #[must_use]
    pub fn new(value: f64) -> Self {
        Self { value, subject: None }
    }

    /// What it belongs to, such as the name of a server: it is put behind the text of the alert. Never a secret.
    #[must_use]
    pub fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

impl From<f64> for Reading {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl Rule {
    /// A rule that is broken while the figure is greater than `threshold`, which is in `unit`.
    ///
    /// `measure` is called at each look, and must neither block nor wait. `None` says that there is no figure now: the alert
    /// stays as it is.
    ///
    /// Fires after 3 looks in a row, is resolved after 3, and is told at most once in 5 minutes.
    #[must_use]
    pub fn above<R: Into<Reading>>(
        name: impl Into<String>,
        threshold: f64,
        unit: impl Into<String>,
        measure: impl Fn() -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            measure: Arc::new(move || measure().map(Into::into)),
            is_above: true,
            threshold,
            unit: unit.into(),
            text: None,
            fire_after: 3,
            resolve_after: 3,
            cool_down: Duration::from_secs(300),
        }
    }

    /// As [`Rule::above`], but broken while the figure is less than `threshold`.
    #[must_use]
    pub fn below<R: Into<Reading>>(
        name: impl Into<String>,
        threshold: f64,
        unit: impl Into<String>,
        measure: impl Fn() -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        let mut rule = Self::above(name, threshold, unit, measure);
        rule.is_above = false;
        rule
    }

    /// Another threshold, in the same unit.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// What is wrong while it fires, in words, for the person who is woken by it.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// How many looks in a row make it fire. Default 3; 0 counts as 1.
    #[must_use]
    pub fn fire_after(mut self, looks: u32) -> Self {
        self.fire_after = looks.max(1);
        self
    }

    /// How many looks in a row resolve it. Default 3; 0 counts as 1.
    #[must_use]
    pub fn resolve_after(mut self, looks: u32) -> Self {
        self.resolve_after = looks.max(1);
        self
    }

    /// How much time must lie between two messages that it fires. Default 5 min. What fires again sooner is told once the time is
    /// over, if it fires still; what was not told is not told as resolved either.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.cool_down = time;
        self
    }

    /// The figure now. What is not a number is none.
    pub(super) fn read(&self) -> Option<Reading> {
        (self.measure)().filter(|reading| reading.value.is_finite())
    }

    /// What is wrong while it fires; `subject` is what it is wrong with.
    pub(super) fn words(&self, subject: Option<&str>) -> String {
        let border = || {
            let side = if self.is_above { "above" } else { "below" };
            format!("{} is {side} {} {}", self.name, self.threshold, self.unit).trim_end().to_owned()
        };
        let text = self.text.clone().unwrap_or_else(border);
        subject.map_or_else(|| text.clone(), |subject| format!("{text}: {subject}"))
    }

    pub(super) fn is_broken_by(&self, value: f64) -> bool {
        if self.is_above { value > self.threshold } else { value < self.threshold }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .field("is_above", &self.is_above)
            .field("threshold", &self.threshold)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}
