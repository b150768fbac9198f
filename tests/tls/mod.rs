//! Connections encrypted by TLS: which are, what is checked, and what is said when a check fails. On servers whose
//! certificates these tests make.

mod certificates;
mod client;
mod hosts;
mod impostor;
mod modes;
mod pooled;
mod server;
