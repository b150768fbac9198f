//! What needs binaries of this machine: the program `db` as a user runs it. Tests in `redis` need
//! `redis-server` as well.

mod alerted;
mod bench;
mod commands;
mod consistency;
mod doctor;
mod migrate;
mod migrate_authoring;
mod moving;
pub(crate) mod program;
mod redis;
mod refusals;
mod serve;
mod shutting_down;
mod standby;
mod stats;
mod stats_of_service;
mod watching;
