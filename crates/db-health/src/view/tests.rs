//! The shapes, by snapshots of what people and programs read, and that none tells a stranger more than fixed words.

use db_core::Finding;
use serde_json::json;

use super::*;
use crate::tree::Tree;
use crate::{Aspect, Check, FnProbe};

/// What an error of the driver may look like.
const DRIVERS_TEXT: &str = "could not connect to db.internal:5432: connection refused";

fn component(name: &str, status: Status, details: Value) -> Component {
    let Value::Object(details) = details else { panic!("figures") };
    let error = (status == Status::Unhealthy).then(|| DRIVERS_TEXT.to_owned());
    let reason = match status {
        Status::Healthy => None,
        Status::Degraded => Some("saturated"),
        Status::Unhealthy => Some("unreachable"),
    };
    let own = Component::for_tests(name, status);
    Component { details, error, reason, own_reason: reason, ..own }
}

/// A service with a database, of which there are two parts, and a pool that is full.
fn snapshot(postgres: Status) -> Snapshot {
    let server = component("postgres", postgres, json!({ "latency_ms": 0.4, "version": "17.2" }));
    let lag = component("lag", Status::Degraded, json!({ "lag_s": 12.5 }));
    let schema = component("schema", Status::Healthy, json!({}));
    let pool = component("pool", Status::Degraded, json!({ "utilization": 100.0, "waiting": 3 }));
    let own = |parent: &str| Some(parent.to_owned());
    let mut components = vec![
        server,
        Component {
            parent: own("postgres"),
            reason: Some("lag"),
            own_reason: Some("lag"),
            is_critical: false,
            aspect: Aspect::Performance,
            ..lag
        },
        Component { parent: own("postgres"), aspect: Aspect::SchemaIntegrity, ..schema },
        Component { is_service: false, is_critical: false, aspect: Aspect::Performance, ..pool },
    ];
    let check = |component: &Component| {
        let check = Check::new(FnProbe::new(component.name.clone(), Finding::healthy));
        component.parent.iter().fold(check, |check, parent| check.part_of(parent))
    };
    let (tree, _) = Tree::new(&components.iter().map(check).collect::<Vec<_>>());
    tree.roll_up(&mut components);
    Snapshot::for_tests(components)
}

fn starting() -> Snapshot {
    let mut snapshot = snapshot(Status::Unhealthy);
    snapshot.is_started = false;
    snapshot
}

fn shutting_down() -> Snapshot {
    let mut snapshot = snapshot(Status::Healthy);
    snapshot.is_shutting_down = true;
    snapshot
}

fn all(snapshot: &Snapshot, audience: Audience) -> Value {
    let advice = ["raise the pool's limit above 20".to_owned()];
    json!({
        "plain": plain(snapshot),
        "ready": ready(snapshot),
        "startup": startup(snapshot),
        "terminus": terminus(snapshot, audience),
        "summary": summary(snapshot, audience, &advice),
        "health_json": health_json(snapshot, audience, Some("1.2.0")),
    })
}

#[test]
fn up() {
    insta::assert_json_snapshot!("up_insider", all(&snapshot(Status::Healthy), Audience::Insider));
}

#[test]
fn down() {
    insta::assert_json_snapshot!("down_insider", all(&snapshot(Status::Unhealthy), Audience::Insider));
    insta::assert_json_snapshot!("down_stranger", all(&snapshot(Status::Unhealthy), Audience::Stranger));
}

#[test]
fn lifecycle() {
    insta::assert_json_snapshot!("starting_stranger", all(&starting(), Audience::Stranger));
    insta::assert_json_snapshot!("shutting_down_stranger", all(&shutting_down(), Audience::Stranger));
}

/// D10: what a stranger reads are names, statuses, times and fixed words.
#[test]
fn a_stranger_learns_no_figure_and_no_text_of_a_driver() {
    for snapshot in [snapshot(Status::Healthy), snapshot(Status::Unhealthy), starting(), shutting_down()] {
        let told = all(&snapshot, Audience::Stranger).to_string();
        for secret in [DRIVERS_TEXT, "db.internal", "refused", "17.2", "12.5", "0.4", "waiting\"", "raise"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        let insider = all(&snapshot, Audience::Insider).to_string();
        assert!(insider.contains("12.5"), "{insider}");
    }
}

#[test]
fn a_figure_does_not_pass_for_a_status() {
    let lies = json!({ "status": "up", "reason": "none", "message": "fine" });
    let entry = entry(&component("liar", Status::Unhealthy, lies), Audience::Insider);
    assert_eq!(entry, json!({ "status": "down", "reason": "unreachable", "message": DRIVERS_TEXT }));
}
