//! What needs binaries of this machine: the program `db` as a user runs it, and clusters.

mod cluster;
mod commands;
mod migrate;
mod migrate_authoring;
pub(crate) mod program;
mod refusals;
mod routing;
mod serve;
mod standby;
