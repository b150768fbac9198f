//! The program killed by SIGKILL at every step of a run, what it leaves, and what the next run makes of that. `scene` is the
//! database, the files and the program, `found` looks and judges, the others choose the steps.

mod borders;
mod found;
mod inside;
mod scene;

pub(super) use found::{Line, Next, finish};
pub(super) use scene::{Files, Order, PATIENCE, Scene, all, named, settled_client};
