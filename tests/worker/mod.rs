//! The workers: real apalis workers over the embedded queue.

pub(crate) mod kinds;
pub(crate) mod rig;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use jobs::contract::Job;
use postrider::{
    queue::{Cancelled, Status},
    telemetry::metrics,
};

use self::{
    kinds::{
        Counted, DecodesBadly, DropsBadly, Held, Inline, Panics, Slow, Snoozes, Spawned, Steps,
        stage,
    },
    rig::{Rig, eventually},
};
use crate::support::eventually_ok;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_performed_and_its_result_is_kept() {
    // given a job that waits in its queue
    let rig = Rig::new("performed").await;
    let id = rig.submit::<Spawned>().await;
    // when workers are at work
    let workers = rig.work();
    // then it completes, in its first attempt
    let job = rig.finished(id).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 1));
    assert_eq!(job.attempts[0].outcome.as_deref(), Some("completed"));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_counted_by_kind_and_outcome() {
    // given somebody who counts, and jobs of a kind that nobody else runs
    let metrics = metrics::install();
    let rig = Rig::new("counted").await;
    let jobs = [rig.submit::<Counted>().await, rig.submit::<Counted>().await];
    // when they complete in their second attempt
    let workers = rig.work();
    for job in jobs {
        assert_eq!(rig.finished(job).await.attempt, 2);
    }
    workers.stop().await;
    // then each of their runs was counted
    let text = metrics.render();
    for line in [
        "postrider_jobs_settled_total{kind=\"counted\",outcome=\"retried\"} 2\n",
        "postrider_jobs_settled_total{kind=\"counted\",outcome=\"completed\"} 2\n",
        "postrider_job_duration_seconds_count{kind=\"counted\"} 4\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_queue_has_its_own_concurrency() {
    // given a queue with two slots, and another whose jobs must not wait for it
    let rig = Rig::new("own-concurrency").await.slots("held", 2);
    for _ in 0..6 {
        rig.submit::<Held>().await;
    }
    let workers = rig.work();
    let held = stage("own-concurrency");
    eventually("two held runs begin", || held.now.load(SeqCst) == 2).await;
    // when a job comes for the other queue
    let other = rig.submit_on::<Spawned>("own-concurrency-other").await;
    // then it is done while the first queue is full
    assert_eq!(rig.finished(other).await.status, Status::Completed);
    held.gate.0.add_permits(6);
    eventually("all held runs end", || held.ended.load(SeqCst) == 6).await;
    assert_eq!(held.most.load(SeqCst), 2);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_ahead_of_a_pool_that_halts_goes_back() {
    // given two slots, and jobs of which most end at once
    let rig = Rig::new("claimed-ahead").await.slots("held", 2);
    let held = stage("claimed-ahead");
    held.gate.0.add_permits(250);
    for _ in 0..300 {
        rig.submit::<Held>().await;
    }
    // when the others do not end
    let workers = rig.work();
    eventually("the fast ones end", || held.ended.load(SeqCst) == 250).await;
    // then two of them run, as ever, and the rest is free for whoever has a slot
    let counted = eventually_ok("what does not run goes back", || async {
        let jobs = rig.jobs().await;
        let count = |status| jobs.iter().filter(|job| job.status == status).count();
        match [Status::Processing, Status::Queued].map(count) {
            [2, 48] => Ok(jobs),
            others => Err(format!("{others:?} run and wait")),
        }
    })
    .await;
    assert_eq!(held.most.load(SeqCst), 2);
    // without an attempt; and that it was claimed is on record.
    let waiting = || counted.iter().filter(|job| job.status == Status::Queued);
    assert!(waiting().all(|job| job.attempt == 0));
    let given_back = |outcome: &Option<String>| outcome.as_deref() == Some("released");
    assert!(waiting().any(|job| job.attempts.iter().any(|attempt| given_back(&attempt.outcome))));
    held.gate.0.add_permits(50);
    eventually("all end", || held.ended.load(SeqCst) == 300).await;
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_timeout_spend_attempts_and_end_in_the_dead_set() {
    let rig = Rig::new("panic-timeout").await;
    let panics = rig.submit::<Panics>().await;
    let slow = rig.submit::<Slow>().await;
    let neighbour = rig.submit::<Spawned>().await;
    let workers = rig.work();
    for (id, code) in [(panics, "panic"), (slow, "timeout")] {
        let job = rig.finished(id).await;
        assert_eq!((job.status, job.attempt), (Status::Failed, 3), "{code}");
        // What the code had in its hands when it panicked is told to nobody.
        assert!(!format!("{job:?}").contains("a bug in"), "{job:?}");
        assert_eq!(job.error.unwrap().code, code);
    }
    assert_eq!(rig.finished(neighbour).await.status, Status::Completed);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_outside_of_a_run_harms_no_other_run_of_its_queue() {
    // given a run at work
    let rig = Rig::new("panic-outside").await;
    let held = rig.submit::<Held>().await;
    let workers = rig.work();
    let stage = stage("panic-outside");
    eventually("the run begins", || stage.now.load(SeqCst) == 1).await;
    // when jobs of its queue panic while they are decoded and while they are dropped
    for id in [rig.submit::<DecodesBadly>().await, rig.submit::<DropsBadly>().await] {
        // then each such panic is an attempt like any other
        let job = rig.finished(id).await;
        assert_eq!((job.status, job.attempt), (Status::Failed, 3));
        let error = job.error.unwrap();
        assert_eq!(error.code, "panic");
        assert!(error.message.starts_with("the job's code failed at worker/kinds.rs:"), "{error}");
    }
    // and the run goes on to its own end, which is stored
    stage.gate.0.add_permits(1);
    let job = rig.finished(held).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 1));
    assert_eq!(stage.begun.load(SeqCst), 1);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decode_fails_and_the_worker_goes_on() {
    // apalis-redis ends a worker for each such payload.
    let rig = Rig::new("undecodable").await;
    let broken = rig.submit_payload(Spawned::KIND, "{\"stage\":7}").await;
    let after = rig.submit::<Spawned>().await;
    let workers = rig.work();
    let job = rig.finished(broken).await;
    assert_eq!(job.status, Status::Failed);
    assert_eq!(job.error.unwrap().code, "undecodable");
    assert_eq!(rig.finished(after).await.status, Status::Completed);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_jobs_end_and_gives_the_rest_back() {
    // given two runs at work, and two jobs behind them
    let rig = Rig::new("drain").await.slots("held", 2);
    for _ in 0..4 {
        rig.submit::<Held>().await;
    }
    let workers = rig.work();
    let held = stage("drain");
    eventually("two runs begin", || held.now.load(SeqCst) == 2).await;
    // when the workers are asked to stop, and the runs end in their grace
    let stopping = tokio::spawn(workers.stop());
    held.gate.0.add_permits(2);
    stopping.await.unwrap();
    // then two jobs are done, and two wait with no attempt spent
    let jobs = rig.jobs().await;
    let count = |status| jobs.iter().filter(|j| j.status == status).count();
    assert_eq!((count(Status::Completed), count(Status::Queued)), (2, 2));
    assert!(jobs.iter().filter(|j| j.status == Status::Queued).all(|j| j.attempt == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_its_grace_goes_back_with_its_attempt() {
    let rig = Rig::new("grace").await.grace(Duration::from_millis(50));
    let id = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("grace");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    workers.stop().await;
    let job = rig.job(id).await;
    assert_eq!((job.status, job.attempt), (Status::Queued, 0));
    assert_eq!(held.dropped.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_for_as_long_as_the_run_lasts_also_while_draining() {
    // given a lease far shorter than the run
    let rig = Rig::new("renewed").await.lease(Duration::from_millis(150));
    let id = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("renewed");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    // when six lease lengths pass, the last ones while the worker drains, with a rescuer at work
    let first = rig.job(id).await.version;
    rig.rescue_until(|now| now >= 3).await;
    let stopping = tokio::spawn(workers.stop());
    rig.rescue_until(|now| now >= 3).await;
    held.gate.0.add_permits(1);
    stopping.await.unwrap();
    // then nobody else ran it
    let job = rig.job(id).await;
    assert_eq!((job.status, job.attempt, job.crashes), (Status::Completed, 1, 0));
    assert_eq!(held.begun.load(SeqCst), 1);
    assert!(job.version > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_ends_the_run_and_writes_nothing() {
    // given a run whose job somebody else took over
    let rig = Rig::new("lost").await.lease(Duration::from_millis(150)).slots("held", 1);
    let id = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("lost");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    let thief = rig.steal(id).await;
    // when the next renewal finds out
    eventually("the run is dropped", || held.dropped.load(SeqCst) == 1).await;
    // then the job is still the other's
    let job = rig.job(id).await;
    assert_eq!((job.status, job.crashes), (Status::Processing, 1));
    assert!(thief.lease.fence > 1);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_running_job_and_is_final() {
    let rig = Rig::new("cancel").await.lease(Duration::from_millis(150));
    let id = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("cancel");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    assert_eq!(rig.cancel(id).await, Cancelled::Requested);
    let job = rig.finished(id).await;
    assert_eq!(job.status, Status::Cancelled);
    assert_eq!(held.dropped.load(SeqCst), 1);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_kinds_that_wait_get_a_task_of_their_own() {
    let rig = Rig::new("inline").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rig.submit_on::<Inline>("inline-inline").await);
        ids.push(rig.submit_on::<Spawned>("inline-spawned").await);
    }
    let workers = rig.work();
    for id in ids {
        rig.finished(id).await;
    }
    let distinct = |name: &str| {
        let tasks = stage(name).tasks.lock().unwrap().clone();
        tasks.into_iter().collect::<std::collections::HashSet<_>>().len()
    };
    assert_eq!(distinct("inline-inline"), 1);
    assert_eq!(distinct("inline-spawned"), 3);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snoozed_lane_waits_whole_and_spends_nothing() {
    let rig = Rig::new("snooze").await.slots("snoozes", 1);
    let first = rig.submit::<Snoozes>().await;
    let second = rig.submit::<Snoozes>().await;
    let workers = rig.work();
    rig.until(first, |job| job.waiting.is_some_and(|w| w.until.is_some())).await;
    workers.stop().await;
    for id in [first, second] {
        let job = rig.job(id).await;
        assert_eq!(job.attempt, 0);
        let waiting = job.waiting.expect("it waits");
        assert_eq!(waiting.reason.as_deref(), Some("the window is closed"));
    }
    assert_eq!(stage("snooze").begun.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_goes_on_from_the_cursor() {
    let rig = Rig::new("cursor").await;
    let id = rig.submit::<Steps>().await;
    let workers = rig.work();
    let job = rig.finished(id).await;
    assert_eq!(job.result.unwrap()["from"], 2);
    assert_eq!((job.cursor.processed, job.cursor.total), (4, 4));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_whose_part_of_the_queue_is_silent_holds_up_no_other() {
    // given two jobs, of which one lies where nobody answers
    let rig = Rig::new("silent-part").await;
    let silent = rig.submit::<Spawned>().await;
    rig.silence([silent]);
    let workers = rig.work();
    let stage = stage("silent-part");
    eventually("its run ends", || stage.ended.load(SeqCst) == 1).await;
    // when more come, then they are done
    for _ in 0..3 {
        let other = rig.submit::<Spawned>().await;
        assert_eq!(rig.finished(other).await.status, Status::Completed);
    }
    let all = rig.jobs().await;
    let left = all.iter().find(|job| job.id == silent).unwrap();
    assert_eq!(left.status, Status::Processing);
    // and its own verdict is stored once there is an answer.
    rig.silence([]);
    let job = rig.finished(silent).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 1));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_stored_though_the_queue_was_away() {
    // given a queue that refuses the first three settlements
    let rig = Rig::new("insist").await.refuse_settlements(3);
    let id = rig.submit::<Spawned>().await;
    let workers = rig.work();
    // then the run's result is not lost, and the job ran once
    let job = rig.finished(id).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 1));
    assert_eq!(stage("insist").begun.load(SeqCst), 1);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_burn_no_attempt() {
    let rig = Rig::new("restarts").await.grace(Duration::from_millis(5));
    let id = rig.submit::<Held>().await;
    let held = stage("restarts");
    for round in 1..=20 {
        let workers = rig.work();
        eventually("the run begins", || held.begun.load(SeqCst) == round).await;
        workers.stop().await;
    }
    assert_eq!(rig.job(id).await.attempt, 0);
}
