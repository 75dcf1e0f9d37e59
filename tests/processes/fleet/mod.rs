//! A fleet: two façades, four workers and two schedulers as processes over one Redis and one Postgres,
//! what befalls them, and the account at the end.
//!
//! Each test here is short. Its long form is a command, `tests/fleet`, which sets the size of the same
//! test from outside.

mod account;
mod asleep;
mod chaos;
mod clocks;
mod delays;
mod limits;
mod outages;
mod poison;
mod restarts;
mod rig;
mod sink;
mod soak;
mod submitter;
mod ticks;

use std::time::Duration;

/// A size of the long form, as `tests/fleet` sets it.
fn size(name: &str, otherwise: usize) -> usize {
    let variable = format!("POSTRIDER_TEST_FLEET_{name}");
    let Ok(text) = std::env::var(&variable) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got {text:?}"))
}

/// The time within which a long form must be done.
fn within() -> Duration {
    Duration::from_secs(60) * u32::try_from(size("WITHIN_MINUTES", 30)).unwrap()
}

/// Prints for the person who runs a long form.
#[allow(clippy::print_stderr, reason = "this is what a long form is run for")]
fn say(words: impl std::fmt::Display) {
    eprintln!("{words}");
}
