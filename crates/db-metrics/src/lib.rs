//! Metrics of the PostgreSQL layer by OpenTelemetry, under the names of its semantic conventions.
//!
//! ```
//! use std::sync::Arc;
//!
//! use db_core::Observer;
//! use db_metrics::{Metrics, PoolFigures};
//!
//! // From whichever provider the service has; without one everything is counted for nobody, and costs next to nothing.
//! let meter = opentelemetry::global::meter("shop");
//! let metrics = Metrics::new(&meter, "shop");
//! // What happens is told by whoever observes: give it to a pool, a cluster, retries.
//! let observer: Arc<dyn Observer> = Arc::new(metrics.clone());
//! // What is, is asked for when metrics are collected.
//! metrics.watch_pools(|| vec![PoolFigures::named("primary")]);
//! # drop(observer);
//! ```
//!
//! # Concepts
//! - [`Metrics`] is an [`Observer`](db_core::Observer): events become counters and histograms.
//! - **What is watched** is a closure that gives figures of the moment: [`PoolFigures`], [`ServerFigures`], and levels of
//!   components and alerts. It is called when metrics are collected and must neither block nor panic.
//! - **Bounded.** A statement is an attribute by its [summary](db_core::query_summary) only, of which 200 are told apart; the
//!   others are `other`. Codes of errors are SQLSTATEs or one of few words.
//! - **Names** are in [`names`], those of the conventions and our own beside them.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `bound` | no | series that are found once and not for each record (bound instruments) |
//!
//! The crate needs the API of OpenTelemetry only: exporting is whose service it is. Bound instruments are an experiment of
//! OpenTelemetry 0.33. `bound` alone changes nothing: the SDK needs its feature `experimental_metrics_bound_instruments`. Where
//! an SDK cannot bind, was built without that feature, has no room for another series, or has the series from another
//! [`Metrics`], each record looks for its series as without `bound`; nothing is lost. A series that is bound stays while its
//! [`Metrics`] do, also where differences are exported and others go when nothing is recorded. An SDK with that feature tells
//! figures of its own (`otel.sdk.*`) to the global provider, if the service has set one.
//!
//! # Foreign types in this API
//! `opentelemetry::metrics::Meter`.

mod attributes;
#[cfg(all(test, feature = "bound"))]
mod bound_tests;
mod instruments;
mod metrics;
pub mod names;
mod series;
mod statements;
#[cfg(test)]
mod tests;
mod watched;

pub use metrics::Metrics;
pub use watched::{LaneFigures, PoolFigures, ServerFigures};
