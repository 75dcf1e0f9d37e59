//! What is promised of workers, over a real Redis. `tests/worker` asks the same over the embedded queue.

use std::{sync::Arc, sync::atomic::Ordering::SeqCst, time::Duration, time::Instant};

use jobs::contract::Job;
use postrider::queue::{
    Inspect, Status,
    redis::{RedisConfig, RedisQueue},
};

use crate::{
    support::{
        eventually, eventually_ok,
        proxy::{Fault, Proxy},
        redis::{Private, place},
    },
    worker::{
        kinds::{Comes, Held, Panics, Slow, Spawned, stage},
        rig::Rig,
    },
};

/// A lease that runs out within a test.
const SHORT: Duration = Duration::from_millis(300);

async fn rig(name: &'static str) -> Rig {
    Rig::over(name, Arc::new(RedisQueue::open(&place()).await.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payload_that_does_not_decode_ends_no_worker() {
    let rig = rig("regression-undecodable").await;
    let broken = rig.submit_payload(Spawned::KIND, "{\"stage\":7}").await;
    let after = rig.submit::<Spawned>().await;
    let workers = rig.work();
    let job = rig.finished(broken).await;
    assert_eq!((job.status, job.attempt), (Status::Failed, 1));
    assert_eq!(job.error.unwrap().code, "undecodable");
    assert_eq!(rig.finished(after).await.status, Status::Completed);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_healthy_worker_are_never_taken_for_a_dead_ones() {
    // given more jobs than a worker has slots, each of which is longer than a lease
    let rig = rig("regression-healthy").await.lease(SHORT).slots("held", 3);
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(rig.submit::<Held>().await);
    }
    let workers = rig.work();
    let held = stage("regression-healthy");
    eventually("all slots are taken", || held.now.load(SeqCst) == 3).await;
    // when a scheduler looks for dead workers for many leases
    rig.rescue_until(|leases| leases >= 5).await;
    // then each of them runs once
    held.gate.0.add_permits(9);
    for id in ids {
        let job = rig.finished(id).await;
        assert_eq!((job.status, job.attempt, job.crashes), (Status::Completed, 1, 0));
    }
    assert_eq!(held.begun.load(SeqCst), 9);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_keeps_its_leases() {
    let rig = rig("regression-drains").await.lease(SHORT);
    let id = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("regression-drains");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    // when it is asked to stop, and its job needs some leases more
    let stopping = tokio::spawn(workers.stop());
    rig.rescue_until(|leases| leases >= 4).await;
    held.gate.0.add_permits(1);
    stopping.await.unwrap();
    // then
    let job = rig.finished(id).await;
    assert_eq!((job.status, job.attempt, job.crashes), (Status::Completed, 1, 0));
    assert_eq!(held.begun.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_or_a_stall_ends_no_worker_and_calls_no_job_off() {
    // given a worker in the middle of a job, and the line to its Redis in our hands
    let server = Private::start(&[]).await;
    let line = Proxy::before(&server).await;
    let config = RedisConfig { url: line.url(), ..server.config() };
    let rig = Rig::over("regression-line", Arc::new(RedisQueue::open(&config).await.unwrap()));
    let first = rig.submit::<Held>().await;
    let workers = rig.work();
    let held = stage("regression-line");
    eventually("the run begins", || held.now.load(SeqCst) == 1).await;
    // when it is cut, and then silent for longer than a second
    line.set(Fault::Gone);
    line.set(Fault::Silent);
    let since = Instant::now();
    eventually("a second passes", || since.elapsed() > Duration::from_secs(1)).await;
    line.set(Fault::None);
    // then the run goes on to its own end, and the worker to the next job
    held.gate.0.add_permits(2);
    let direct = RedisQueue::open(&server.config()).await.unwrap();
    let tenant = rig.tenant();
    let ended = eventually_ok("the job ends", || async {
        let job = direct.job(&tenant, first).await.unwrap().unwrap();
        if job.status.is_final() { Ok(job) } else { Err(job.status) }
    });
    let job = ended.await;
    assert_eq!((job.status, job.attempt, job.crashes), (Status::Completed, 1, 0));
    let next = eventually_ok("a job is taken in", || rig.try_submit::<Held>()).await;
    assert_eq!(rig.finished(next).await.status, Status::Completed);
    assert_eq!((held.begun.load(SeqCst), held.dropped.load(SeqCst)), (2, 0));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_own_number_of_attempts_and_retry_after_are_followed() {
    // given a kind that may be tried often, and a job that may be tried three times
    let rig = rig("regression-attempts").await;
    let id = rig.submit::<Comes>().await;
    const { assert!(Comes::RETRY.max_attempts > 3) };
    let workers = rig.work();
    // when it says each time when to come again
    let job = rig.finished(id).await;
    // then it has three attempts, none of them before its time
    assert_eq!((job.status, job.attempt, job.attempts.len()), (Status::Failed, 3, 3));
    for pair in job.attempts.windows(2) {
        let pause = pair[1].started_at.since(pair[0].started_at);
        assert!(pause >= Comes::AGAIN_AFTER, "{pause:?}");
    }
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_and_panics_are_retried() {
    let rig = rig("regression-panics").await;
    let jobs = [(rig.submit::<Panics>().await, "panic"), (rig.submit::<Slow>().await, "timeout")];
    let workers = rig.work();
    for (id, code) in jobs {
        let job = rig.finished(id).await;
        assert_eq!((job.status, job.attempt), (Status::Failed, 3), "{code}");
        let said = job.attempts.iter().map(|run| run.outcome.as_deref().unwrap());
        assert_eq!(said.collect::<Vec<_>>(), ["retried", "retried", "failed"], "{code}");
        assert_eq!(job.error.unwrap().code, code);
    }
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_takes_a_job_at_once() {
    // given a worker that has asked for jobs, and found none
    let rig = rig("regression-idle").await;
    let workers = rig.work();
    rig.until_asked_for(Spawned::QUEUE).await;
    // when a job comes from elsewhere, then nobody waits for the next look, half a minute later
    let id = rig.submit::<Spawned>().await;
    let finished = tokio::time::timeout(Duration::from_secs(15), rig.finished(id)).await;
    assert_eq!(finished.expect("it is not taken").status, Status::Completed);
    workers.stop().await;
}
