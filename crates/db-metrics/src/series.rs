//! Histograms at fixed attributes: what every statement and every checkout is recorded by. Which attributes these are is not
//! known here.
//!
//! Why bound? The SDK looks for the series of a record by hashing and comparing all attributes under a lock that all threads share. A
//! handle that is bound to the attributes has found it once.
//!
//! Why not bind always? An SDK that cannot bind gives handles that count nothing, and so does ours when it was built without its
//! feature. It cannot be asked, but seen: who means to count by a handle keeps the attributes. So does not the SDK that has
//! no room for another series; then each record asks again, and has its own series once there is room.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;

#[cfg(feature = "bound")]
use std::sync::{Arc, OnceLock};

#[cfg(feature = "bound")]
use opentelemetry::Value;
#[cfg(feature = "bound")]
use opentelemetry::metrics::BoundHistogram;

/// One series of a histogram. It is bound by its first record and not before: series without a record are exported too.
#[derive(Debug)]
pub(crate) struct Series<T> {
    histogram: Histogram<T>,
    #[cfg(feature = "bound")]
    bound: OnceLock<Option<BoundHistogram<T>>>,
}

impl<T: Clone> Series<T> {
    pub(crate) fn of(histogram: &Histogram<T>) -> Self {
        Self {
            histogram: histogram.clone(),
            #[cfg(feature = "bound")]
            bound: OnceLock::new(),
        }
    }

    /// Records a value; `attributes` are the same each time.
    pub(crate) fn record(&self, value: T, attributes: &[KeyValue]) {
        #[cfg(feature = "bound")]
        if let Some(bound) = self.bound.get_or_init(|| bind(&self.histogram, attributes)) {
            return bound.record(value);
        }
        self.histogram.record(value, attributes);
    }

    #[cfg(all(test, feature = "bound"))]
    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.bound.get(), Some(Some(_)))
    }
}

/// A handle that counts; `None` where that cannot be told.
#[cfg(feature = "bound")]
fn bind<T>(histogram: &Histogram<T>, attributes: &[KeyValue]) -> Option<BoundHistogram<T>> {
    let (last, others) = attributes.split_last()?;
    let Value::String(text) = &last.value else { return None };
    // A text of which nobody has a clone yet. The last attribute is the one that tells series apart.
    let witness: Arc<str> = Arc::from(text.as_str());
    let last = KeyValue::new(last.key.clone(), Arc::clone(&witness));
    let attributes: Vec<_> = others.iter().cloned().chain([last]).collect();
    let bound = histogram.bind(&attributes);
    drop(attributes);
    (Arc::strong_count(&witness) > 1).then_some(bound)
}
