//! Many jobs that are due in one moment.

use std::{collections::HashSet, time::Duration};

use jobs::contract::JobId;
use postrider::queue::{
    Claims, Inspect, JobFilter, NewJob, Queue, Retention, Settled, Settlement, Status,
    redis::RedisQueue,
};

use crate::{
    queue::{
        exam::Adapter,
        jobs::{MINUTE, QUEUE, SECOND, claims, done, job, jobs, put, retention},
    },
    support::redis::Private,
};

/// Ten times what is promised of a script: what runs beside a test may interrupt one, and one that took
/// everything at once would need longer still.
const BUSY_MACHINE: Duration = Duration::from_millis(100);

/// Completes jobs until there are none that are due; which, and what the last claim said.
async fn drain(queue: &dyn Queue) -> (HashSet<JobId>, Claims) {
    let mut seen = HashSet::new();
    loop {
        let claims = claims(queue, 100).await;
        if claims.jobs.is_empty() {
            return (seen, claims);
        }
        let mut ends = Vec::with_capacity(claims.jobs.len());
        for job in claims.jobs {
            assert!(seen.insert(job.lease.id), "{} came twice", job.lease.id);
            ends.push(Settlement { lease: job.lease, verdict: done(), refund: false });
        }
        let settled = queue.settle(ends).await.unwrap();
        assert!(settled.iter().all(|s| *s == Settled::Done));
    }
}

pub(crate) async fn eight_thousand_due_jobs_at_once_do_not_stop_a_queue(adapter: &dyn Adapter) {
    // given jobs of two tenants for one moment
    let (queue, clock) = adapter.open().await;
    let run_at = Some(queue.now().plus(MINUTE));
    for tenant in ["a", "b"] {
        for _ in 0..4 {
            let later = jobs("l", 1_000).into_iter().map(|j| NewJob { run_at, ..j });
            put(&*queue, tenant, later.collect()).await;
        }
    }
    assert_eq!(queue.queues().await.unwrap()[0].counts[&Status::Scheduled], 8_000);

    // when it comes
    clock.advance(MINUTE);
    queue.promote(500).await.unwrap();

    // then all of them run, and jobs can still be put
    assert_eq!(queue.queues().await.unwrap()[0].counts[&Status::Queued], 8_000);
    put(&*queue, "a", vec![job("l")]).await;
    assert_eq!(drain(&*queue).await.0.len(), 8_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_jobs_due_in_one_second_run_without_a_long_script() {
    due(20_000, BUSY_MACHINE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet due"]
async fn long() {
    let jobs = std::env::var("POSTRIDER_FLEET_JOBS").map_or(100_000, |text| text.parse().unwrap());
    let slowest = due(jobs, Duration::from_millis(10)).await;
    #[allow(clippy::print_stderr, reason = "this is what a long form is run for")]
    {
        eprintln!("{jobs} jobs due in one second; scripts that took 1 ms or more: {slowest}");
    }
}

/// Has so many jobs run that are due within one second, on a server of their own; what its slow log
/// says of scripts of a millisecond or more.
async fn due(count: usize, longest: Duration) -> String {
    // given jobs of ten tenants, due at random moments of one second
    let server = Private::start(&["--slowlog-max-len", "100000"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let begin = queue.now().plus(SECOND * u32::try_from(2 + count / 4_000).unwrap());
    let mut waiting = HashSet::new();
    for batch in 0..count / 100 {
        let later = jobs("l", 100).into_iter().map(|job| {
            let within = Duration::from_millis(rand::random_range(0..1_000));
            NewJob { run_at: Some(begin.plus(within)), ..job }
        });
        waiting.extend(put(&queue, &format!("tenant-{}", batch % 10), later.collect()).await);
    }
    server.configure("slowlog-log-slower-than", "1000");
    server.ask(&["slowlog", "reset"]);

    // when a worker does what is due, as it is told, and a scheduler tends the queue
    let mut done = HashSet::new();
    while done.len() < count {
        let (found, nothing) = drain(&queue).await;
        assert!(found.is_empty() || queue.now() >= begin, "some ran before their time");
        done.extend(found);
        queue.promote(500).await.unwrap();
        if done.len() < count {
            queue.wait(QUEUE, nothing.seen, nothing.next_at).await;
        }
    }

    // then all of them ran, and no script held the server up
    assert_eq!(done, waiting);
    assert_short(&server, longest)
}

/// Fails when a script took longer than that; what the slow log says.
fn assert_short(server: &Private, longest: Duration) -> String {
    let mut took = server.slow_scripts();
    took.sort_unstable_by(|a, b| b.cmp(a));
    let slowest = Duration::from_micros(took.first().copied().unwrap_or(0));
    assert!(slowest <= longest, "µs: {:?}", &took[..took.len().min(9)]);
    format!("{}, the slowest {} µs", took.len(), slowest.as_micros())
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_are_forgotten_in_small_steps_that_block_nobody() {
    // given thousands of finished jobs, whose time has passed
    let server = Private::start(&["--slowlog-max-len", "100000"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    for _ in 0..60 {
        put(&queue, "a", jobs("l", 100)).await;
    }
    assert_eq!(drain(&queue).await.0.len(), 6_000);
    server.configure("slowlog-log-slower-than", "1000");
    server.ask(&["slowlog", "reset"]);

    // when a scheduler prunes as it does
    let nothing_kept = Retention { completed: Duration::ZERO, ..retention() };
    while queue.prune(500, &nothing_kept).await.unwrap() == 500 {}

    // then none is left, and no script took what a script needs that removes them all
    assert!(queue.jobs(&JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap().is_empty());
    assert_short(&server, BUSY_MACHINE);
}
