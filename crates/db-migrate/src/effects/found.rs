//! The effects of a statement while it is read: one per relation, with the strongest of all that is said about it. It
//! knows nothing of SQL.

use super::tree::{Name, Names};
use super::{Effect, LockLevel};

/// What has been found in a statement so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    effects: Vec<Effect>,
    created: Vec<Name>,
    hazard: Option<String>,
}

impl Found {
    /// Notes a lock. What is returned takes what else there is to say about the relation.
    pub(super) fn lock(&mut self, relation: &str, lock: LockLevel) -> &mut Effect {
        let index = self.effects.iter().position(|effect| effect.relation == relation);
        let index = index.unwrap_or_else(|| {
            self.effects.push(Effect::new(relation, lock));
            self.effects.len() - 1
        });
        let effect = &mut self.effects[index];
        effect.lock = effect.lock.max(lock);
        effect
    }

    /// Notes a relation that did not exist before.
    pub(super) fn create(&mut self, relation: &str) -> &mut Effect {
        self.created.push(Name::of(relation));
        self.lock(relation, LockLevel::AccessExclusive)
    }

    /// Notes a new name of a relation.
    pub(super) fn rename(&mut self, relation: &str, to: &str) {
        self.lock(relation, LockLevel::AccessExclusive)
            .warn("the old name is gone for programs that still use it");
        self.created.push(Name::of(to).renamed_from(relation));
    }

    /// Notes what concerns the statement as a whole.
    pub(super) fn warn(&mut self, hazard: &str) {
        append(&mut self.hazard, hazard);
    }

    /// What there is to report. `new` grows by what the statement creates.
    pub(super) fn finish(mut self, new: &mut Names) -> (Vec<Effect>, Option<String>) {
        let created = self.created.into_iter();
        let created: Vec<Name> = created.filter(|name| name.is_new_given(new)).collect();
        new.extend(created);
        for effect in &mut self.effects {
            effect.new = new.contains(&Name::of(&effect.relation));
        }
        (self.effects, self.hazard)
    }
}

impl Effect {
    fn new(relation: &str, lock: LockLevel) -> Self {
        let relation = relation.to_owned();
        Self { relation, lock, rewrites: false, scans: false, new: false, hazard: None }
    }

    pub(super) fn rewrites(&mut self) -> &mut Self {
        self.rewrites = true;
        self
    }

    pub(super) fn scans(&mut self) -> &mut Self {
        self.scans = true;
        self
    }

    pub(super) fn warn(&mut self, hazard: &str) -> &mut Self {
        append(&mut self.hazard, hazard);
        self
    }
}

fn append(all: &mut Option<String>, hazard: &str) {
    match all {
        None => *all = Some(hazard.to_owned()),
        Some(text) if text.contains(hazard) => {}
        Some(text) => {
            text.push_str("; ");
            text.push_str(hazard);
        }
    }
}
