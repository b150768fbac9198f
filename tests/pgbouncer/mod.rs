//! The pool behind PgBouncer, in both of its modes that give a client more than one statement, and clusters behind several.
//! Needs `pgbouncer`; `local` needs binaries of PostgreSQL as well.

mod batch;
mod bouncer;
mod comments;
mod load;
mod local;
mod migrations;
mod session;
mod transaction;
mod types;
