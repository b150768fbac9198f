//! Health, figures, the dashboard and what operators may do, as routes that a service nests, or as a service of their own.
//! Everybody may learn a status; the rest is for insiders: those who send the token, or connect from the machine itself without
//! a proxy in between.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use db_app::http::Routes;
//! use db_app::prelude::*;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Database::open(Config::from_env()?).await?;
//! let own = axum::Router::new(); // what the service itself does
//! let routes = own.nest("/ops", Routes::new(&db).router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! // With the address of the caller, so that callers on the machine itself are known.
//! axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(()) }
//! ```

mod admin;
mod audience;
mod body;
mod dashboard;
mod figures;
mod health;
mod live;
mod openapi;
mod problem;
#[cfg(feature = "prometheus")]
mod prometheus;
mod server;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use db_core::SecretString;

use self::state::Shared;
use crate::Database;

pub use server::serve;

/// What is worth showing when the service starts; `/openapi.json` describes all endpoints.
pub const ENDPOINTS: &[&str] = &[
    "/dashboard",
    "/openapi.json",
    "/metrics",
    "/api/metrics/db",
    "/health/metrics",
    "/health/startup",
    "/health/live",
    "/health/ready",
    "/health",
    "/health/db",
];

/// The largest body of a request, in bytes. What operators send is a name and a number.
const BODY: usize = 16 * 1024;

/// What the routes are made of.
#[derive(Clone, Debug)]
pub struct Routes {
    database: Database,
    token: Option<SecretString>,
    #[cfg(feature = "prometheus")]
    registry: Option<::prometheus::Registry>,
}

impl Routes {
    /// Routes over this database, whose details are for callers on the machine itself.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            token: None,
            #[cfg(feature = "prometheus")]
            registry: None,
        }
    }

    /// The token that makes an insider of whoever sends it, and an operator.
    #[must_use]
    pub fn token(mut self, token: Option<SecretString>) -> Self {
        self.token = token;
        self
    }

    /// The registry that `/metrics` shows; without one it answers 404.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn registry(mut self, registry: ::prometheus::Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// All endpoints, to be nested or merged into a service's own.
    ///
    /// Serve with `into_make_service_with_connect_info::<SocketAddr>()`, as [`serve`] does, to give details to callers on the
    /// machine itself; otherwise only the token opens them.
    pub fn router(self) -> Router {
        let router = health_endpoints()
            .route("/health/metrics", get(figures::process))
            .route("/api/metrics/db", get(figures::database))
            .route("/api/live", get(live::live))
            .route("/api/admin/rotate", post(admin::rotate))
            .route("/api/admin/pause", post(admin::pause))
            .route("/api/admin/resume", post(admin::resume))
            .route("/api/admin/resize", post(admin::resize))
            .route("/api/admin/drain", post(admin::drain))
            .route("/api/admin/restore", post(admin::restore))
            .route("/api/admin/cancel", post(admin::cancel))
            .route("/dashboard", get(dashboard::page))
            .route("/dashboard/{part}", get(dashboard::part))
            .route("/openapi.json", get(openapi::description));
        #[cfg(feature = "prometheus")]
        let router = router.route("/metrics", get(prometheus::metrics));
        router
            .layer(DefaultBodyLimit::max(BODY))
            .method_not_allowed_fallback(problem::method_not_allowed)
            .with_state(self.into_state())
    }

    /// All endpoints as a service of their own: what there is not is answered in the same shape as other errors.
    pub fn service(self) -> Router {
        self.router().fallback(problem::not_found)
    }

    fn into_state(self) -> Arc<Shared> {
        Arc::new(Shared::new(
            self.database,
            self.token,
            #[cfg(feature = "prometheus")]
            self.registry,
        ))
    }
}

/// `/health`, `/health/live`, `/health/ready`, `/health/startup` and `/health/db` alone, as by [`Routes::router`].
pub fn health_routes(database: &Database, token: Option<SecretString>) -> Router {
    health_endpoints()
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(Routes::new(database).token(token).into_state())
}

fn health_endpoints() -> Router<Arc<Shared>> {
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/startup", get(health::startup))
        .route("/health/db", get(health::db))
}
