//! What a queue of this kind (apalis-redis 1.0.0) is known to fail at: a test for each.
//!
//! Where the exam asks already, it is named here:
//!
//! * 8,000 due jobs stop a queue: `due`.
//! * A payload that does not decode ends each worker in turn: `workers`.
//! * Healthy workers are taken for dead while their jobs wait, or while they drain: `workers`.
//! * A dropped connection or a stall ends a worker and cancels what it runs: `workers`.
//! * Retries know neither a job's own number of attempts nor Retry-After; time-outs and panics are not
//!   retried: `workers`.
//! * A vanished worker's jobs wait for five minutes and loop for ever: `server`, for how soon they are
//!   free; the exam's `leases::the_third_crash_is_quarantined` for the rest.
//! * A submission is not remembered, and answers neither its id nor that it is a repetition: `server`,
//!   for the real clock; the exam's `submissions` for the rest.
//! * An idle worker looks for jobs every thirty seconds: `workers`.
//! * Finished jobs are kept for ever, and removing them blocks the server: `due`; the exam's
//!   `dead::finished_jobs_are_kept_as_long_as_told`.
//! * Scripts touch several slots: `server`.
//! * Workers go by their own clocks: `processes::fleet::clocks`.
//! * No priorities, snooze, limits over a fleet, pause: `server`, all at once over two processes; the
//!   exam's `turns`, `verdicts`, `limits`, `operators` for each.

pub(crate) mod due;
mod server;
mod workers;

use super::{redis::Redis, sqlite::Sqlite};

/// Asks the same of every adapter.
macro_rules! of_every_adapter {
    ($($module:ident::$name:ident),+ $(,)?) => {
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Redis::new()).await;
            })+
        }

        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Sqlite::new()).await;
            })+
        }
    };
}
of_every_adapter!(
    due::eight_thousand_due_jobs_at_once_do_not_stop_a_queue,
    server::priorities_snooze_limits_and_pause_hold_over_two_processes,
);
