//! Behaviour across crates, on a real PostgreSQL: one binary, a module for each behaviour.
//!
//! Tests in `docker` need a container engine, tests in `local` binaries of PostgreSQL on this machine; tests in
//! `own_server` start and stop servers; those in `pgbouncer`, `patroni`, `promtool` and `redis` need these programs. The others get
//! a fresh database on a server that all share: the one that `cargo xtask test` names, or one of their own; those in `deploy` need
//! none.

mod alerts;
mod cluster;
mod config_at_work;
mod deploy;
mod docker;
mod facade;
mod health;
mod http;
mod init_sql;
mod lanes;
mod local;
mod migrate;
mod own_server;
mod pgbouncer;
mod pool;
mod proxy;
mod retry;
mod rows;
mod support;
mod telemetry;
mod tls;
mod transactions;
mod verbs;
mod watched;
