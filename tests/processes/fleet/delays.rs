//! Later jobs run in their moment: never early, and at rest not much later.

use std::time::Duration;

use jobs::contract::{Moment, ports::Clock};
use postrider::clock::SystemClock;
use serde_json::json;

use super::{MINUTES, in_time, rig::Fleet, say, size};
use crate::processes::rig::mail;

/// How far apart later jobs are due, in milliseconds.
const APART: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_later_job_has_its_effect_in_its_moment_and_never_before() {
    later(50).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet delays"]
async fn long() {
    let mut late = in_time(MINUTES, later(size("JOBS", 2_000))).await;
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100].as_millis();
    let worst = at(100);
    say(format_args!("late by p50 {} ms, p99 {} ms, at most {worst} ms", at(50), at(99)));
    assert!(at(99) <= 100, "the p99 is above 100 ms");
}

/// Submits jobs for moments that lie apart; how late each had its effect, of which none was early.
async fn later(count: usize) -> Vec<Duration> {
    // given a fleet at rest, and jobs that are due one after the other, soon
    let fleet = Fleet::start(&[]).await;
    let mailbox = &fleet.mailboxes(1).await[0];
    let begin = SystemClock.now().plus(Duration::from_secs(2));
    let due = |n: usize| begin.plus(Duration::from_millis(APART * n as u64));
    let jobs: Vec<_> = (0..count)
        .map(|n| {
            let mut job = mail(mailbox, &format!("later-{n}@example.org"));
            job["run_at"] = json!(due(n));
            job
        })
        .collect();
    // when they are submitted, and their time has come
    for batch in jobs.chunks(500) {
        let answer = fleet.submitter().once(None, &json!({"jobs": batch})).await;
        let (status, _, answer) = answer.expect("a façade answers");
        assert_eq!(status, 202, "{answer}");
    }
    fleet.sink.until(count).await;
    // then
    let arrivals = fleet.sink.arrivals();
    let arrived = |n: usize| arrivals[&format!("later-{n}@example.org")][0];
    let late = |n: usize| {
        let (due, arrived): (Moment, Moment) = (due(n), arrived(n));
        assert!(arrived >= due, "job {n} was due {due} and had its effect {arrived}");
        arrived.since(due)
    };
    let late = (0..count).map(late).collect();
    fleet.stop().await;
    late
}
