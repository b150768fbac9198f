//! Tables of sightings and what follows from them.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    assessor: Assessor,
    now: Instant,
    /// How often all servers were started; each start of each is another run.
    starts: i64,
}

impl Scene {
    fn new(endpoints: usize) -> Self {
        let limits = Limits { lag: SECOND * 10, lag_bytes: 1_000 };
        let now = Instant::now();
        Self { assessor: Assessor::new(endpoints, limits, now), now, starts: 1 }
    }

    fn saw(&mut self, index: usize, role: Role, timeline: u32, lsn: u64) -> &mut Self {
        self.saw_of(7, index, role, timeline, lsn)
    }

    fn saw_of(&mut self, system: u64, index: usize, role: Role, timeline: u32, lsn: u64) -> &mut Self {
        self.saw_at(index, self.run_of(index), Sighting { system, ..sighting(role, timeline, lsn) })
    }

    /// An endpoint leads to the server of this run.
    fn saw_at(&mut self, index: usize, run: i64, sighting: Sighting) -> &mut Self {
        self.assessor.saw(index, Sighting { run, ..sighting }, self.now);
        self
    }

    fn run_of(&self, index: usize) -> i64 {
        self.starts * 100 + i64::try_from(index).expect("few")
    }

    /// All servers are started anew.
    fn restart(&mut self) -> &mut Self {
        self.starts += 1;
        self
    }

    fn missed(&mut self, index: usize) -> &mut Self {
        self.assessor.missed(index, self.now);
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    #[track_caller]
    fn is(&mut self, expect: &[&str]) -> &mut Self {
        let all = self.assessor.known().iter().map(|known| known.standing.to_string());
        assert_eq!(all.collect::<Vec<_>>(), expect);
        self
    }
}

fn sighting(role: Role, timeline: u32, lsn: u64) -> Sighting {
    let lsn = Lsn::new(lsn);
    Sighting { system: 7, run: 0, timeline, role, lsn, inserted: lsn, replay_age: None, sees_receiver: true }
}

use Role::{Primary, Standby};

#[test]
fn roles_come_from_the_servers() {
    let mut scene = Scene::new(3);
    scene.is(&["unknown", "unknown", "unknown"]);
    scene.saw(0, Standby, 1, 10).saw(1, Primary, 1, 10).is(&["replica", "primary", "unknown"]);
    scene.missed(2).is(&["replica", "primary", "out (unreachable)"]);
    scene.saw(2, Standby, 1, 10).is(&["replica", "primary", "replica"]);
}

#[test]
fn one_missed_look_is_chance() {
    let mut scene = Scene::new(2);
    scene.saw(0, Primary, 1, 10).saw(1, Standby, 1, 10);
    scene.missed(0).missed(1).is(&["primary", "replica"]);
    scene.saw(0, Primary, 1, 10).missed(0).is(&["primary", "replica"]);
    scene.missed(0).missed(1).is(&["out (unreachable)", "out (unreachable)"]);
    scene.saw(0, Primary, 1, 10).saw(1, Standby, 1, 10).is(&["primary", "replica"]);
}

#[test]
fn replicas_serve_on_while_nobody_is_primary() {
    let mut scene = Scene::new(2);
    scene.saw(1, Standby, 1, 10).is(&["unknown", "replica"]);
    scene.saw(0, Primary, 1, 10).missed(0).missed(0).after(SECOND * 3_600);
    scene.saw(1, Standby, 1, 10).is(&["out (unreachable)", "replica"]);
}

#[test]
fn the_highest_timeline_counts() {
    let mut scene = Scene::new(3);
    scene.saw(0, Primary, 1, 10).saw(1, Standby, 1, 10).saw(2, Standby, 1, 10);
    scene.missed(0).missed(0).saw(1, Primary, 2, 11);
    scene.is(&["out (unreachable)", "primary", "out (old_timeline)"]);
    scene.saw(2, Standby, 2, 11).is(&["out (unreachable)", "primary", "replica"]);
    // The old one comes back as if nothing had been, and has written more than the new one.
    scene.saw(0, Primary, 1, 99).is(&["out (old_timeline)", "primary", "replica"]);
    // Also while the new one is not to be seen.
    scene.missed(1).missed(1).is(&["out (old_timeline)", "out (unreachable)", "replica"]);
    scene.saw(0, Primary, 1, 100).is(&["out (old_timeline)", "out (unreachable)", "replica"]);
    scene.saw(0, Standby, 2, 11).saw(1, Primary, 2, 12).is(&["replica", "primary", "replica"]);
}

/// The primary of a second timeline is gone, and with it the receivers; no standby has made a checkpoint since.
#[test]
fn within_a_run_no_standby_goes_back() {
    let mut scene = Scene::new(3);
    scene.saw(0, Primary, 1, 10).saw(1, Standby, 1, 10).saw(2, Standby, 1, 10);
    scene.missed(0).missed(0).saw(1, Primary, 2, 11).saw(2, Standby, 2, 11).saw(0, Standby, 2, 11);
    scene.is(&["replica", "primary", "replica"]).missed(1).missed(1);
    scene.saw(2, Standby, 1, 12).saw(0, Standby, 1, 12).is(&["replica", "out (unreachable)", "replica"]);
    // Also when it was out of sight itself.
    scene.missed(2).missed(2).saw(2, Standby, 1, 12).is(&["replica", "out (unreachable)", "replica"]);
    let [this, next] = [100, 200].map(|run| scene.assessor.highest(2, run + 2, 1));
    assert_eq!((this, next), (2, 1));
    // One that was started anew may have been made from an old copy.
    scene.restart().saw(2, Standby, 1, 12).is(&["replica", "out (unreachable)", "out (old_timeline)"]);
    scene.saw(2, Standby, 2, 12).is(&["replica", "out (unreachable)", "replica"]);
}

/// The new primary is out of our sight, and its standby is not.
#[test]
fn a_standby_proves_a_promotion() {
    let mut scene = Scene::new(3);
    scene.saw(0, Primary, 1, 10).saw(2, Standby, 2, 11);
    scene.is(&["out (old_timeline)", "unknown", "replica"]);
    scene.saw(1, Primary, 2, 11).is(&["out (old_timeline)", "primary", "replica"]);
    let mut scene = Scene::new(2);
    scene.saw(0, Primary, 1, 10).saw_of(8, 1, Standby, 5, 10).is(&["primary", "out (other_cluster)"]);
}

/// A name, a pooler or a proxy that leads elsewhere.
#[test]
fn the_server_behind_an_endpoint_is_replaced_by_one_of_a_later_timeline() {
    let mut scene = Scene::new(1);
    let check = |scene: &Scene, role, timeline, expect| {
        let is_replaced = scene.assessor.is_replaced(0, &sighting(role, timeline, 10));
        assert_eq!(is_replaced, expect, "{role:?} of {timeline}");
    };
    check(&scene, Primary, 1, false);
    scene.saw(0, Primary, 1, 10);
    check(&scene, Primary, 1, false);
    check(&scene, Standby, 2, false);
    check(&scene, Primary, 2, true);
    // It may be seen while it is not promoted yet.
    scene.saw_at(0, 9, sighting(Standby, 1, 10));
    check(&scene, Primary, 2, true);
}

/// Two poolers before one server, or two names of it.
#[test]
fn another_way_to_the_primary_takes_the_place_of_the_first() {
    let mut scene = Scene::new(3);
    let primary = || sighting(Primary, 1, 10);
    scene.saw_at(0, 5, primary()).saw_at(1, 5, primary()).saw_at(2, 6, primary());
    scene.is(&["primary", "out (same_server)", "out (second_primary)"]);
    scene.missed(0).missed(0).is(&["out (unreachable)", "primary", "out (second_primary)"]);
    scene.saw_at(0, 5, primary()).is(&["out (same_server)", "primary", "out (second_primary)"]);
}

#[test]
fn of_two_primaries_the_one_stays_that_it_was() {
    let mut scene = Scene::new(2);
    scene.saw(1, Primary, 1, 10).saw(0, Primary, 1, 10).is(&["out (second_primary)", "primary"]);
    let mut scene = Scene::new(2);
    scene.saw(0, Primary, 1, 10).saw(1, Primary, 1, 99).is(&["primary", "out (second_primary)"]);
    // Being out of sight is no reason to write elsewhere, a promotion or a step down is.
    scene.missed(0).missed(0).is(&["out (unreachable)", "out (second_primary)"]);
    scene.saw(0, Primary, 1, 11).is(&["primary", "out (second_primary)"]);
    scene.saw(0, Standby, 1, 11).is(&["replica", "primary"]);
    scene.saw(0, Primary, 2, 12).is(&["primary", "out (old_timeline)"]);
}

#[test]
fn another_cluster_is_none_of_ours() {
    let mut scene = Scene::new(3);
    scene.saw(0, Primary, 1, 10).saw_of(8, 1, Standby, 1, 10).saw_of(8, 2, Primary, 9, 10);
    scene.is(&["primary", "out (other_cluster)", "out (other_cluster)"]);
}

#[test]
fn whoever_lags_goes_and_comes_back_when_it_keeps_up() {
    let mut scene = Scene::new(2);
    scene.saw(0, Primary, 1, 100).saw(1, Standby, 1, 100).after(SECOND).saw(0, Primary, 1, 200);
    scene.after(SECOND * 10).saw(1, Standby, 1, 100).is(&["primary", "replica"]);
    scene.after(SECOND).saw(1, Standby, 1, 100).is(&["primary", "out (lag)"]);
    // Within the limit is not yet good.
    scene.saw(0, Primary, 1, 300).after(SECOND * 8).saw(0, Primary, 1, 400);
    scene.saw(1, Standby, 1, 200).is(&["primary", "out (lag)"]);
    for _ in 0..2 {
        scene.saw(1, Standby, 1, 400).is(&["primary", "out (lag)"]);
    }
    scene.saw(1, Standby, 1, 400).is(&["primary", "replica"]);
    // By bytes alone as well.
    scene.saw(0, Primary, 1, 1_401).saw(1, Standby, 1, 400).is(&["primary", "out (lag)"]);
}

#[test]
fn a_change_is_told_once() {
    let mut scene = Scene::new(2);
    let now = scene.now;
    scene.saw(0, Primary, 1, 10).saw(1, Standby, 1, 10);
    assert_eq!(scene.assessor.missed(0, now), []);
    let from = Standing::Primary;
    let to = Standing::Out(Reason::Unreachable);
    assert_eq!(scene.assessor.missed(0, now), [Change { index: 0, from, to }]);
    assert_eq!(scene.assessor.missed(0, now), []);
}
