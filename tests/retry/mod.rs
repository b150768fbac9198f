//! What is retried, what is found out about a lost COMMIT, and what a ledger finds after each kind of fault.

mod attempts;
mod batches;
mod database;
mod faults;
pub(crate) mod ledger;
mod local;
mod own_server;
mod resolvers;
mod statements;
mod storm;
