//! Counts what the layer says of retries and resolved COMMITs. It listens to the log, which is what an operator has.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};

/// So many of each since [`Events::listen`].
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Attempts after the first.
    pub(crate) retried: AtomicU64,
    /// COMMITs of which a resolver said that they took effect.
    pub(crate) committed: AtomicU64,
    /// COMMITs of which a resolver said that they did not.
    pub(crate) rolled_back: AtomicU64,
}

impl Events {
    /// Listens on this thread until the guard is dropped: a test's runtime has only this one.
    pub(crate) fn listen() -> (Arc<Self>, DefaultGuard) {
        let events = Arc::<Self>::default();
        let filter = Targets::new().with_target("db::retry", LevelFilter::INFO);
        let counting = Counting(Arc::clone(&events)).with_filter(filter);
        (events, tracing::subscriber::set_default(tracing_subscriber::registry().with(counting)))
    }
}

struct Counting(Arc<Events>);

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let counter = match (text.message.as_str(), text.outcome.as_str()) {
            ("trying again", _) if text.operation != "resolve a COMMIT" => &self.0.retried,
            ("asked what became of a COMMIT", "Executed") => &self.0.committed,
            ("asked what became of a COMMIT", "RolledBack") => &self.0.rolled_back,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The fields that matter here.
#[derive(Default)]
struct Text {
    message: String,
    outcome: String,
    operation: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "outcome" => self.outcome = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "operation" {
            value.clone_into(&mut self.operation);
        }
    }
}
