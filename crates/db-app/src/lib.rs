//! The composed PostgreSQL layer: one [`Database`] with configuration, pool, health and migrations, ready to be
//! embedded in a service or run as the program `db`.
//!
//! ```no_run
//! use db_app::prelude::*;
//!
//! #[derive(FromRow)]
//! struct User {
//!     email: String,
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let db = Database::open(Config::from_env()?).await?;
//!     let users: Vec<User> = db.query("SELECT email FROM users WHERE zone = $1", &[&"north"]).await?;
//!     println!("{} users, first {:?}", users.len(), users.first().map(|user| &user.email));
//!     db.tx(async |tx| tx.execute("UPDATE users SET zone = 'south'", &[]).await).await?;
//!     let routes = db_app::http::health_routes(&db, None);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     axum::serve(listener, routes).await?;
//!     Ok(())
//! }
//! ```
//!
//! # Concepts
//! - [`Config`] knows every variable, its source and its limits.
//! - [`Database`] has the verbs of [`Query`](db_core::Query), [`Database::tx`], [`Database::batch`], [`Database::health`] and
//!   [`Database::stats`]. [`Database::builder`] adds checks, alerts, observers and migrations of the service's own.
//! - [`http`] serves health, figures, metrics and a dashboard; [`telemetry`] exports metrics and traces.
//! - [`consistency`] carries over HTTP what a request wrote, so that the next one reads it.
//! - Without a server given, one is [started](db_embedded) for the current directory.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `program` | yes | the program `db` and what only it needs, with all features but `download` |
//! | `prometheus` | with `program` | `/metrics`, by the exporter of OpenTelemetry for Prometheus |
//! | `bound` | with `otlp` and `prometheus` | metrics find their series once and not for each record |
//! | `otlp` | with `program` | metrics and traces are sent by OTLP over HTTP |
//! | `webhook` | with `program` | alerts are sent by HTTP, signed |
//! | `redis` | with `program` | a Redis is looked at |
//! | `download` | no | a known build of PostgreSQL is fetched when the machine has none |

mod aside;
mod batch;
mod builder;
mod checks;
mod commenting;
pub mod config;
pub mod consistency;
mod database;
mod doubts;
mod embedded;
pub mod http;
mod lanes;
mod migrations_watch;
mod observed;
mod observing;
mod opening;
mod operating;
mod reading;
mod recommending;
mod replicas;
mod resolve;
mod retrying;
mod schema;
#[cfg(any(feature = "otlp", feature = "prometheus"))]
pub mod telemetry;
mod transact;
mod tx_options;
mod watched;

pub use builder::Builder;
pub use config::Config;
pub use database::Database;
pub use db_cluster::{ConsistencyToken, EndpointStats, Preference};
pub use db_core as core;
pub use db_health as health;
pub use db_pool::{Isolation, Tx};
pub use db_retry::Resolution;
pub use migrations_watch::{MigrationFigures, MigrationLine};
pub use opening::{OpenError, StopError};
pub use operating::NoSuchServer;
pub use reading::Reads;
pub use retrying::Retrying;
pub use tx_options::{Resolver, TxOptions};

/// What an embedding service needs in scope.
pub mod prelude {
    pub use db_core::prelude::*;

    pub use crate::{Config, Database, Isolation, Resolver, Tx, TxOptions};
}

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
