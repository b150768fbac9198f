//! The program `db` as a user runs it, on binaries of this machine.

mod commands;
mod migrate;
mod migrate_authoring;
pub(crate) mod program;
mod refusals;
mod serve;
mod standby;
