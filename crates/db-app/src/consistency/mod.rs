//! Read your writes over HTTP: a [tower](tower_layer::Layer) layer that takes a consistency token from a request, gives it to the
//! handler, and sends the newest one back. What a token stands for, and how two of them are joined, is known to `db-cluster`;
//! who keeps it between two requests is the caller's matter.
//!
//! ```no_run
//! use axum::Router;
//! use axum::extract::State;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use db_app::consistency::{Consistency, ConsistencyLayer};
//! use db_app::prelude::*;
//!
//! async fn count(State(db): State<Database>, consistency: Consistency) -> Result<String, StatusCode> {
//!     let orders: i64 = consistency.reads(&db).one("SELECT count(*) FROM orders", &[]).await.map_err(failed)?;
//!     Ok(orders.to_string())
//! }
//!
//! async fn order(State(db): State<Database>, consistency: Consistency) -> Result<StatusCode, StatusCode> {
//!     db.execute("INSERT INTO orders (item) VALUES ('tea')", &[]).await.map_err(failed)?;
//!     consistency.wrote_to(&db).await.map_err(failed)?;
//!     Ok(StatusCode::CREATED)
//! }
//!
//! fn failed(_: db_app::core::Error) -> StatusCode {
//!     StatusCode::SERVICE_UNAVAILABLE
//! }
//!
//! # fn example(db: Database) -> Router {
//! Router::new().route("/orders", get(count).post(order)).layer(ConsistencyLayer::new()).with_state(db)
//! # }
//! ```
//! The answer to `POST /orders` has a header `x-db-token`. Whoever sends it with `GET /orders`, to this process or to another one
//! with the same layer, sees the order, on a replica if one has it already.
//!
//! # Who carries it
//! A client sends the token of the last answer with the next request; a service that calls others for a request sends
//! [`Consistency::token`] with each call, and notes what comes back with [`Consistency::wrote`]. An answer repeats the token
//! of its request when nothing newer is known, so that only the newest has to be kept. A browser of another origin sees the header
//! when `Access-Control-Expose-Headers` names it.
//!
//! A token holds no secret. Whoever makes one up can send his own reads to the primary, or have them wait for one that does not
//! come; where that matters, take the header away from what strangers send.
//!
//! Foreign types in this API: `http::HeaderName`, the traits of `tower-layer` and `tower-service`, and axum's
//! `FromRequestParts` with its `ExtensionRejection`.

mod handle;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use handle::Consistency;
pub use layer::ConsistencyLayer;
pub use service::{ConsistencyService, ResponseFuture};
