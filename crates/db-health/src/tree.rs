//! Which component is part of which, and what that means for its status. Pure.

use db_core::Status;

use crate::{Check, Component};

/// The links between components, by their places in the list of checks.
#[derive(Debug)]
pub(crate) struct Tree {
    parents: Vec<Option<usize>>,
    /// Parts before what they are part of.
    order: Vec<usize>,
}

impl Tree {
    /// Reads the links, and gives the places of those checks whose parent is none.
    pub(crate) fn new(checks: &[Check]) -> (Self, Vec<usize>) {
        let mut parents = vec![None; checks.len()];
        let mut refused = Vec::new();
        for (place, check) in checks.iter().enumerate() {
            let Some(name) = &check.parent else { continue };
            let parent = checks.iter().position(|other| other.name() == name);
            match parent.filter(|parent| !ancestors(&parents, *parent).any(|other| other == place)) {
                Some(parent) => parents[place] = Some(parent),
                None => refused.push(place),
            }
        }
        let mut order: Vec<_> = (0..parents.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(ancestors(&parents, *place).count()));
        (Self { parents, order }, refused)
    }

    pub(crate) fn parent(&self, place: usize) -> Option<usize> {
        self.parents[place]
    }

    /// The component itself, what it is part of, and so on.
    pub(crate) fn line(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        ancestors(&self.parents, place)
    }

    /// Lets each component have what is wrong in its parts.
    pub(crate) fn roll_up(&self, components: &mut [Component]) {
        for &place in &self.order {
            let Some(parent) = self.parents[place] else { continue };
            let (status, reason) = (components[place].weight(), components[place].reason);
            let parent = &mut components[parent];
            if status > parent.status {
                (parent.status, parent.reason) = (status, reason);
            }
        }
    }
}

impl Component {
    /// What its status means for the whole it belongs to.
    pub(crate) fn weight(&self) -> Status {
        self.weigh(self.status)
    }

    /// The same, without regard to its parts.
    pub(crate) fn own_weight(&self) -> Status {
        self.weigh(self.own_status)
    }

    fn weigh(&self, status: Status) -> Status {
        match status {
            Status::Unhealthy if !self.is_critical => Status::Degraded,
            status => status,
        }
    }
}

/// From `place` upwards. It ends because no link that closes a circle is ever taken in.
fn ancestors(parents: &[Option<usize>], place: usize) -> impl Iterator<Item = usize> + '_ {
    std::iter::successors(Some(place), |place| parents[*place])
}

#[cfg(test)]
mod tests {
    use Status::{Degraded, Healthy, Unhealthy};
    use db_core::Finding;

    use super::*;
    use crate::FnProbe;

    fn part(name: &str, parent: &str) -> Check {
        let check = Check::new(FnProbe::new(name, Finding::healthy));
        if parent.is_empty() { check } else { check.part_of(parent) }
    }

    /// What becomes of the statuses seen.
    fn rolled(checks: &[Check], seen: &[Status]) -> Vec<(Status, Option<&'static str>)> {
        let (tree, refused) = Tree::new(checks);
        assert!(refused.is_empty());
        let component = |(check, status): (&Check, &Status)| Component {
            is_critical: check.is_critical,
            ..Component::for_tests(check.name(), *status)
        };
        let mut components: Vec<_> = checks.iter().zip(seen).map(component).collect();
        tree.roll_up(&mut components);
        components.iter().map(|component| (component.status, component.reason)).collect()
    }

    #[test]
    fn a_parent_is_as_bad_as_its_worst_critical_part() {
        // What is in the middle comes first: the order of the list does not matter.
        let checks = [part("role", "postgres"), part("disk", "role"), part("postgres", "")];
        let seen = rolled(&checks, &[Healthy, Unhealthy, Healthy]);
        assert_eq!(seen, [(Unhealthy, Some("disk")); 3]);
        let seen = rolled(&checks, &[Healthy, Degraded, Unhealthy]);
        assert_eq!(seen, [(Degraded, Some("disk")), (Degraded, Some("disk")), (Unhealthy, Some("postgres"))]);
    }

    #[test]
    fn a_part_that_is_not_critical_only_degrades() {
        let checks = [part("postgres", ""), part("lag", "postgres").non_critical()];
        let seen = rolled(&checks, &[Healthy, Unhealthy]);
        assert_eq!(seen, [(Degraded, Some("lag")), (Unhealthy, Some("lag"))]);
    }

    #[test]
    fn parents_that_are_none() {
        let checks = [part("a", "b"), part("b", "a"), part("c", "nobody"), part("d", "d")];
        let (tree, refused) = Tree::new(&checks);
        assert_eq!(refused, [1, 2, 3]);
        assert_eq!((0..4).map(|place| tree.parent(place)).collect::<Vec<_>>(), [Some(1), None, None, None]);
    }
}
