//! How Postrider gets jobs done: the engine around the kinds of `jobs`.

pub mod app;
mod callback;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod follow_ups;
pub mod http;
pub mod intake;
pub mod limits;
pub mod mail;
pub mod queue;
pub mod resources;
pub mod scheduler;
pub mod secrets;
mod sqlite;
pub mod store;
pub mod telemetry;
mod tls;
pub mod webhooks;
pub mod worker;
