//! The program `db` as a user runs it, on binaries of this machine.

mod commands;
mod program;
mod refusals;
mod serve;
