//! Many jobs that are due, or past their time, in one moment.

use std::{collections::HashSet, time::Duration};

use jobs::contract::JobId;
use postrider::queue::{
    Claims, Inspect, JobFilter, NewJob, Queue, Retention, Settled, Settlement, Status,
    redis::RedisQueue,
};

use crate::{
    processes::fleet::{MINUTES, in_time, say, size},
    queue::{
        exam::Adapter,
        jobs::{MINUTE, QUEUE, SECOND, claims, done, job, jobs, put, retention},
    },
    support::redis::Private,
};

/// What no script may take.
const PROMISED: Duration = Duration::from_millis(10);
/// What no call may take of the server's processor in a test that runs beside others: a script that
/// took everything at once would need several times as much.
const BESIDE_OTHERS: Duration = Duration::from_millis(100);

/// The longest that one call has kept a server busy. Nobody else may call it.
struct Watch<'a> {
    server: &'a Private,
    before: Duration,
    longest: Duration,
}

impl<'a> Watch<'a> {
    fn over(server: &'a Private) -> Self {
        Self { server, before: server.busy(), longest: Duration::ZERO }
    }

    /// Takes note of what the server needed since the last time.
    fn look(&mut self) {
        let now = self.server.busy();
        self.longest = self.longest.max(now.saturating_sub(self.before));
        self.before = now;
    }
}

/// Completes jobs until there are none that are due; which, and what the last claim said.
async fn drain(queue: &dyn Queue, mut after_call: impl FnMut()) -> (HashSet<JobId>, Claims) {
    let mut seen = HashSet::new();
    loop {
        let claims = claims(queue, 100).await;
        after_call();
        if claims.jobs.is_empty() {
            return (seen, claims);
        }
        let mut ends = Vec::with_capacity(claims.jobs.len());
        for job in claims.jobs {
            assert!(seen.insert(job.lease.id), "{} came twice", job.lease.id);
            ends.push(Settlement { lease: job.lease, verdict: done(), refund: false });
        }
        let settled = queue.settle(ends).await.unwrap();
        after_call();
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
    assert_eq!(drain(&*queue, || ()).await.0.len(), 8_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_jobs_due_in_one_second_all_run_in_short_steps() {
    let server = Private::start(&[]).await;
    let longest = due(&server, 20_000).await;
    assert!(longest <= BESIDE_OTHERS, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet due"]
async fn long() {
    let jobs = size("JOBS", 100_000);
    let server = Private::start(&["--slowlog-max-len", "100000"]).await;
    let longest = in_time(MINUTES, due(&server, jobs)).await;
    let mut took = server.slow_scripts().await;
    took.sort_unstable_by(|a, b| b.cmp(a));
    say(format_args!(
        "{jobs} jobs due in one second, all run; {} scripts took 1 ms or more, the slowest {:?} µs; \
         no call took more than {longest:?} of the processor",
        took.len(),
        took.first()
    ));
    let slowest = Duration::from_micros(took.first().copied().unwrap_or(0));
    assert!(slowest <= PROMISED, "a script took {slowest:?}");
}

/// Has so many jobs run that are due within one second; how long a call has kept the server busy at
/// most. Its slow log then tells of scripts that took a millisecond or more.
async fn due(server: &Private, count: usize) -> Duration {
    // given jobs of ten tenants, due at random moments of one second
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let begin = queue.now().plus(SECOND * u32::try_from(2 + count / 2_000).unwrap());
    let mut waiting = HashSet::new();
    for batch in 0..count / 100 {
        let later = jobs("l", 100).into_iter().map(|job| {
            let within = Duration::from_millis(rand::random_range(0..1_000));
            NewJob { run_at: Some(begin.plus(within)), ..job }
        });
        waiting.extend(put(&queue, &format!("tenant-{}", batch % 10), later.collect()).await);
    }
    server.configure("slowlog-log-slower-than", "1000").await;
    server.ask::<()>("SLOWLOG RESET").await.unwrap();

    // when a worker does what is due, as it is told, and a scheduler tends the queue
    let mut watch = Watch::over(server);
    let mut done = HashSet::new();
    while done.len() < count {
        let (found, nothing) = drain(&queue, || watch.look()).await;
        assert!(found.is_empty() || queue.now() >= begin, "some ran before their time");
        done.extend(found);
        queue.promote(500).await.unwrap();
        watch.look();
        if done.len() < count {
            queue.wait(QUEUE, nothing.seen, nothing.next_at).await;
        }
    }

    // then all of them ran
    assert_eq!(done, waiting);
    watch.longest
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_are_forgotten_in_small_steps_that_block_nobody() {
    // given thousands of finished jobs, whose time has passed
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    for _ in 0..60 {
        put(&queue, "a", jobs("l", 100)).await;
    }
    assert_eq!(drain(&queue, || ()).await.0.len(), 6_000);

    // when a scheduler prunes as it does
    let nothing_kept = Retention { completed: Duration::ZERO, ..retention() };
    let mut watch = Watch::over(&server);
    let mut calls = 0;
    while queue.prune(100, &nothing_kept).await.unwrap() == 100 {
        watch.look();
        calls += 1;
    }

    // then none is left, and it took many steps, none of which is long
    assert!(queue.jobs(&JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap().is_empty());
    assert!(calls >= 60 && watch.longest <= BESIDE_OTHERS, "{calls}, {:?}", watch.longest);
}
