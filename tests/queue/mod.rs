//! The queue's exam, which every adapter sits, and what single adapters have to show.

// A test that unwraps is a test that fails with the line.
#![allow(clippy::unwrap_used)]

pub(crate) mod clock;
mod exam;
pub(crate) mod jobs;
mod model;
mod redis;
mod regressions;
mod sqlite;
mod walk;
