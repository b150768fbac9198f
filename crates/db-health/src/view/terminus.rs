//! The shape of the health libraries that users of other platforms know.

use db_core::Status;
use serde_json::{Map, Value, json};

use super::{Audience, entry};
use crate::Snapshot;

/// The form of the health libraries that many services use: `status` (`ok`, `error` or `shutting_down`), `info` (what is up),
/// `error` (what is down) and `details` (both).
#[must_use]
pub fn terminus(snapshot: &Snapshot, audience: Audience) -> Value {
    let (mut info, mut error, mut details) = (Map::new(), Map::new(), Map::new());
    for component in &snapshot.components {
        let entry = entry(component, audience);
        let side = if component.status == Status::Unhealthy { &mut error } else { &mut info };
        side.insert(component.name.clone(), entry.clone());
        details.insert(component.name.clone(), entry);
    }
    let status = match snapshot.is_ready() {
        true => "ok",
        false if snapshot.is_shutting_down() => "shutting_down",
        false => "error",
    };
    json!({
        "status": status,
        "health": snapshot.status(),
        "timestamp": snapshot.at,
        "info": info,
        "error": error,
        "details": details,
    })
}
