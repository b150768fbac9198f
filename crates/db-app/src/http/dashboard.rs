//! The page for operators and its parts. They hold nothing of the service: what the page shows it asks `/api/live` for.

use axum::http::header;
use axum::response::{IntoResponse, Response};

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
#[utoipa::path(get, path = "/dashboard", tag = "dashboard", responses((status = 200, content_type = "text/html")))]
pub(super) async fn page() -> Response {
    served("text/html; charset=utf-8", include_str!("dashboard/index.html"))
}

/// A part of the page; `None` when there is none of this name.
pub(super) fn part(name: &str) -> Option<Response> {
    PARTS.iter().find(|(known, ..)| *known == name).map(|(_, kind, text)| served(kind, text))
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
