//! The operators' shape: what is asked first (can it be reached, is the schema right, is it quick), and what to do.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Audience, entry, with_lifecycle};
use crate::{Aspect, Component, Snapshot};

/// Overall status, time, `checks` with `connectivity`, `schema_integrity` and `performance`, and recommendations in words.
///
/// A check is `null` when nothing looks at it; else it has a `status` and the `reasons` for it. An insider also gets the
/// figures of each component in `components`; recommendations are for insiders only, as they may name figures.
#[must_use]
pub fn summary(snapshot: &Snapshot, audience: Audience, recommendations: &[String]) -> Value {
    let mut answer = json!({
        "status": snapshot.status(),
        "timestamp": snapshot.at,
        "checks": {
            "connectivity": aspect(snapshot, Aspect::Connectivity),
            "schema_integrity": aspect(snapshot, Aspect::SchemaIntegrity),
            "performance": aspect(snapshot, Aspect::Performance),
        },
        "recommendations": [],
    });
    if audience == Audience::Insider {
        let components: Map<String, Value> = snapshot
            .components
            .iter()
            .map(|component| (component.name.clone(), entry(component, audience)))
            .collect();
        answer["components"] = components.into();
        answer["recommendations"] = recommendations.into();
    }
    with_lifecycle(snapshot, answer)
}

/// By what each component is itself: a part that is slow says nothing about whether the whole of it can be reached.
fn aspect(snapshot: &Snapshot, aspect: Aspect) -> Value {
    let of = || snapshot.components.iter().filter(|component| component.aspect == aspect);
    let Some(status) = of().map(Component::own_weight).max() else { return Value::Null };
    let reasons: BTreeSet<_> = of().filter_map(|component| component.own_reason).collect();
    json!({ "status": status, "reasons": reasons })
}
