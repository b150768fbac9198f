//! The pool, alone and on a real server.

mod basics;
mod cancelling;
mod cleaning;
mod credentials;
mod dropping;
mod operations;
mod rows_in_bulk;
mod statements;
mod stress;
mod subject;
mod turning;
mod weaknesses;
