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
mod events;
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

/// How many minutes a long form may take, unless somebody says otherwise.
pub(crate) const MINUTES: usize = 30;

/// A size of the long form, as `tests/fleet` sets it.
pub(crate) fn size(name: &str, otherwise: usize) -> usize {
    let variable = format!("POSTRIDER_TEST_FLEET_{name}");
    let Ok(text) = std::env::var(&variable) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got {text:?}"))
}

fn minutes(count: usize) -> Duration {
    Duration::from_secs(60) * u32::try_from(count).unwrap()
}

/// The time within which a long form must be done.
fn within() -> Duration {
    minutes(size("WITHIN_MINUTES", MINUTES))
}

/// Runs a long form to its end, and fails it when that does not come in time: within so many minutes
/// unless the person who runs it says otherwise.
pub(crate) async fn in_time<T>(otherwise: usize, long: impl Future<Output = T>) -> T {
    let within = minutes(size("WITHIN_MINUTES", otherwise));
    let done = tokio::time::timeout(within, long).await;
    done.unwrap_or_else(|_| panic!("it was not done within {} min", within.as_secs() / 60))
}

/// Prints for the person who runs a long form.
#[allow(clippy::print_stderr, reason = "this is what a long form is run for")]
pub(crate) fn say(words: impl std::fmt::Display) {
    eprintln!("{words}");
}
