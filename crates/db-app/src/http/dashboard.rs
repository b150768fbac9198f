//! The page for operators and its parts. They hold nothing of the service: what the page shows it asks `/api/live` for.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, not_found};

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The parts of the page by name, with their types.
const PARTS: [(&str, &str, &str); 10] = [
    ("app.js", SCRIPT, include_str!("dashboard/app.js")),
    ("chart.js", SCRIPT, include_str!("dashboard/chart.js")),
    ("dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("format.js", SCRIPT, include_str!("dashboard/format.js")),
    ("history.js", SCRIPT, include_str!("dashboard/history.js")),
    ("panels.js", SCRIPT, include_str!("dashboard/panels.js")),
    ("sqlstate.js", SCRIPT, include_str!("dashboard/sqlstate.js")),
    ("stream.js", SCRIPT, include_str!("dashboard/stream.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    ("theme.js", SCRIPT, include_str!("dashboard/theme.js")),
];

/// A page that shows the state of the database live
#[utoipa::path(get, path = "/dashboard", tag = "dashboard", responses(
    (status = 200, description = "the page", content_type = "text/html"),
))]
pub(super) async fn page() -> Response {
    served("text/html; charset=utf-8", include_str!("dashboard/index.html"))
}

/// A part of that page: a script or the style
#[utoipa::path(get, path = "/dashboard/{part}", tag = "dashboard",
    params(("part" = String, Path, description = "its name", example = "app.js")),
    responses((status = 200, description = "a script or a style sheet"),
    (status = 404, description = "there is none of this name", body = Problem)))]
pub(super) async fn part(name: Result<Path<String>, PathRejection>, request: Request) -> Response {
    // A name that is no text is none of ours either.
    let named = name.ok().and_then(|Path(name)| PARTS.iter().find(|(known, ..)| *known == name));
    match named {
        Some((_, kind, text)) => served(kind, text),
        None => not_found(request).await.into_response(),
    }
}

fn served(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // It changes with the program, and must fit it.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
