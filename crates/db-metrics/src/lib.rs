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
//! None. The crate needs the API of OpenTelemetry only: exporting is whose service it is.
//!
//! # Foreign types in this API
//! `opentelemetry::metrics::Meter`.

mod attributes;
mod instruments;
mod metrics;
pub mod names;
mod statements;
#[cfg(test)]
mod tests;
mod watched;

pub use metrics::Metrics;
pub use watched::{LaneFigures, PoolFigures, ServerFigures};
