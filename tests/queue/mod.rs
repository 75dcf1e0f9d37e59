//! The queue's exam, which every adapter sits, and what only the embedded queue has to show.

// A test that unwraps is a test that fails with the line.
#![allow(clippy::unwrap_used)]

pub(crate) mod clock;
mod exam;
pub(crate) mod jobs;
mod model;
mod sqlite;
mod walk;
