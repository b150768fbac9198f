//! What happens when the server goes away and comes back. Each test has a server of its own.

mod alerted;
mod batch;
mod outage;
mod standby;
