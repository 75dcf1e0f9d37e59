//! Postrider's integration tests: one program, real components.

#![allow(unreachable_pub)] // one program: its modules are public to one another, and to nobody else

mod cli;
mod http;
mod mail;
mod processes;
mod queue;
mod scheduler;
mod store;
mod support;
mod worker;
