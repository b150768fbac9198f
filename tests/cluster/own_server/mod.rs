//! What holds on local binaries and on containers alike.

pub(crate) mod accounts;
mod database;
mod failover;
mod faults;
mod kit;
mod reading;
mod refusing;
mod tokens;
mod writing;
