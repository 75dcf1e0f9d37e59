//! Postrider's integration tests: one program, real components.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(unreachable_pub, reason = "one program: its modules are public to one another only")]

mod bulk;
mod cli;
mod http;
mod mail;
mod processes;
mod queue;
mod scheduler;
mod store;
mod support;
mod webhooks;
mod worker;
