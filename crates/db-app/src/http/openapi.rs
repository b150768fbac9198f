//! The description of all endpoints, made from what stands beside each of them.

use axum::Json;
use axum::extract::OriginalUri;
use utoipa::openapi::Server;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{admin, dashboard, figures, health, live};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "db",
        description = "Health, figures and operation of the PostgreSQL layer. Everybody may learn a status; figures, error texts \
                       and the dashboard's data are for insiders: callers with the token, and callers on the machine itself \
                       without a proxy in between. What changes something needs the token."
    ),
    paths(
        health::health,
        health::live,
        health::ready,
        health::startup,
        health::db,
        figures::process,
        figures::database,
        live::live,
        dashboard::page,
        dashboard::part,
        admin::rotate,
        admin::pause,
        admin::resume,
        admin::resize,
        admin::drain,
        admin::restore,
        admin::cancel,
        description
    ),
    modifiers(&Token)
)]
struct Description;

#[cfg(feature = "prometheus")]
#[derive(OpenApi)]
#[openapi(paths(super::prometheus::metrics))]
struct WithPrometheus;

struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        description.components.get_or_insert_default().add_security_scheme("token", token);
    }
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "description", responses(
    (status = 200, description = "in OpenAPI 3.1", body = serde_json::Value),
))]
pub(super) async fn description(OriginalUri(asked): OriginalUri) -> Json<utoipa::openapi::OpenApi> {
    let mut description = Description::openapi();
    #[cfg(feature = "prometheus")]
    description.merge(WithPrometheus::openapi());
    // Nested in a service its paths are below another one.
    let below = asked.path().strip_suffix("/openapi.json").filter(|below| !below.is_empty());
    description.servers = below.map(|below| vec![Server::new(below)]);
    Json(description)
}
