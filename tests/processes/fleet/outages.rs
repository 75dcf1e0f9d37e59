//! The fleet's Redis is killed, goes away, hangs, is slow or breaks off.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    rig::{Fleet, KEPT},
    say, size,
    submitter::submit_all,
    within,
};
use crate::{
    processes::rig::mail,
    support::{
        proxy::{Fault, Proxy},
        redis::Private,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
/// How soon a submission is refused that cannot be stored.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// How soon work goes on when Redis is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_under_load_keeps_what_was_acknowledged() {
    killed(500, 2, MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet redis"]
async fn long_kills() {
    killed(size("JOBS", 20_000), size("KILLS", 20), within()).await;
}

async fn killed(jobs: usize, kills: usize, within: Duration) {
    // given a fleet at work over a Redis that appends to its file, and syncs it every second
    let mut fleet = Fleet::start(&[]).await;
    let mailboxes = fleet.mailboxes(4).await;
    let submitting = tokio::spawn(submit_all(fleet.submitter(), mailboxes, jobs));
    // when that is killed and started again
    for kill in 0..kills {
        let moment = fleet.sink.until(1 + kill * jobs * 8 / 10 / kills);
        tokio::time::timeout(within, moment).await.expect("the fleet is at work");
        fleet.redis.kill();
        // and a worker dies with it, and another one starts before it is back
        fleet.workers.remove(0).kill().await;
        fleet.workers.push(fleet.house.worker());
        fleet.redis.restart().await;
    }
    let accepted = submitting.await.unwrap();
    fleet.drained(within).await;
    // then nobody left, and nothing is lost
    assert!(fleet.is_up());
    let account = fleet.account(&accepted).await;
    say(format_args!("{account}Redis killed: {kills}"));
    account.assert_clean();
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_out_of_reach_costs_callers_a_refusal_and_nobody_a_job() {
    outage(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet outage"]
async fn long_outage() {
    outage(Duration::from_secs(size("SECONDS", 60) as u64)).await;
}

async fn outage(length: Duration) {
    // given a fleet that reaches its Redis through a line that we hold
    let redis = Private::start(&KEPT).await;
    let line = Proxy::before(&redis).await;
    let mut fleet = Fleet::behind(redis, &line.url(), &[]).await;
    let mailbox = &fleet.mailboxes(1).await[0];
    // Half of what a caller may have to wait, so that a busy machine does not decide.
    fleet.house.set("REDIS__SUBMIT_TIMEOUT", "500ms");
    fleet.man().await;
    let caller = fleet.submitter();
    let mut accepted = Vec::new();
    for (name, fault) in [("gone", Fault::Gone), ("silent", Fault::Silent)] {
        // when the line is cut, or nothing comes through it
        line.set(fault);
        let began = Instant::now();
        let held = tokio::spawn({
            let (caller, mailbox) = (caller.clone(), mailbox.clone());
            let effects: Vec<_> = (0..40).map(|n| format!("{name}-{n}@example.org")).collect();
            async move { caller.submit(&mailbox, &effects).await }
        });
        // then every caller is told so at once, by both façades, as long as it lasts
        let body = json!({"jobs": [mail(mailbox, "nobody@example.org")]});
        let (mut refusals, mut slowest) = (0, Duration::ZERO);
        while refusals < 4 || began.elapsed() < length {
            let asked = Instant::now();
            let (status, ..) = caller.once(None, &body).await.expect("a façade answers");
            assert_eq!(status, 503);
            slowest = slowest.max(asked.elapsed());
            refusals += 1;
        }
        assert!(slowest < REFUSED_WITHIN, "{name}: refused after {slowest:?}");
        // and nobody leaves, and the work goes on soon after
        assert!(fleet.is_up());
        let (done, back) = (fleet.sink.count(), Instant::now());
        line.set(Fault::None);
        fleet.sink.until(done + 1).await;
        let resumed = back.elapsed();
        say(format_args!(
            "{name} for {} ms: {refusals} refusals, the slowest after {} ms; work again after {} ms",
            length.as_millis(),
            slowest.as_millis(),
            resumed.as_millis()
        ));
        assert!(resumed < BACK_WITHIN, "{name}: work again after {resumed:?}");
        accepted.extend(held.await.unwrap());
        fleet.sink.until(accepted.len()).await;
    }
    fleet.drained(MINUTE).await;
    fleet.account(&accepted).await.assert_clean();
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_slow_sliced_or_broken_off_loses_nothing() {
    // given a fleet that reaches its Redis through a line that we hold
    let redis = Private::start(&KEPT).await;
    let line = Proxy::before(&redis).await;
    let mut fleet = Fleet::behind(redis, &line.url(), &[]).await;
    fleet.man().await;
    let mailbox = &fleet.mailboxes(1).await[0];
    let caller = fleet.submitter();
    let mut accepted = Vec::new();
    let faults = [Fault::Sliced, Fault::Slow(Duration::from_millis(20)), Fault::None];
    for (number, fault) in faults.into_iter().enumerate() {
        line.set(fault);
        for round in 0..3 {
            let effects: Vec<_> =
                (0..20).map(|n| format!("{number}-{round}-{n}@example.org")).collect();
            // when each connection is reset in the middle of its next answer
            line.reset_amid_answers();
            accepted.extend(caller.submit(mailbox, &effects).await);
            fleet.sink.until(accepted.len() - 10).await;
        }
    }
    // then
    fleet.drained(MINUTE).await;
    assert!(fleet.is_up());
    assert!(line.resets() > 10, "{} resets", line.resets());
    fleet.account(&accepted).await.assert_clean();
    fleet.stop().await;
}
