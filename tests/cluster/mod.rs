//! A primary and streaming replicas: the cluster of the test kit, and routing over it. `own_server` holds what runs on local binaries
//! and on containers alike, `local` and `docker` what only one of them can show.

mod docker;
mod local;
mod own_server;
mod readers;
pub(crate) mod scene;
mod writers;
