//! Behaviour on real servers, a folder per test. Needs a PostgreSQL on this machine and skips nothing without one.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod cancel;
mod left_over;
mod owner;
mod search;
mod standby;
mod start;
mod support;
