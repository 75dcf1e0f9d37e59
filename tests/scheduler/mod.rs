//! Tests of the scheduler: the crontab in simulated time, and what tends the queue.

mod crontab;
mod expression;
mod fakes;
mod firing;
mod tending;
mod timetable;
