//! Postrider's integration tests: one program, real components.

mod cli;
mod http;
mod mail;
mod processes;
mod queue;
mod scheduler;
mod store;
mod support;
mod worker;
