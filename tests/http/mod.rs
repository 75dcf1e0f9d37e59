//! The façade and the admin listener, over real HTTP on loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapters;
mod admin;
mod browser;
mod canaries;
mod connections;
mod crashes;
mod errors;
mod every_answer;
mod house;
mod idempotency;
mod isolation;
mod keys;
mod kinds;
mod limits;
mod logs;
mod memory;
mod openapi;
mod page;
mod property;
mod raw;
mod reach;
mod scopes;
mod status;
mod strangers;
mod streaming;
mod submit;
mod tags;
mod waiting;
