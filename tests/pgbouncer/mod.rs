//! The pool behind PgBouncer, in both of its modes that give a client more than one statement. Needs `pgbouncer`.

mod bouncer;
mod load;
mod migrations;
mod session;
mod transaction;
mod types;
