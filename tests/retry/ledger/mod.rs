//! A ledger that finds what was lost or doubled: workers transfer money while something goes wrong, log outside of the
//! database what they meant and what they were told, and in the end the two are compared. It injects no fault itself.

mod case;
mod events;
mod judge;
mod load;
mod report;
mod worker;

pub(crate) use case::{Belief, Case, Effort, Order, Way, alone, open};
pub(crate) use events::Events;
pub(crate) use load::Load;
pub(crate) use report::{Report, publish};
