//! The queue in Redis sits the exam, and shows what only it has to: its server's troubles, its shards.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jobs::contract::JobId;
use postrider::{
    config::Config,
    queue::{
        Changed, Inspect, JobFilter, LaneFilter, NewJob, PauseTarget, Queue, QueueError, Settled,
        Settlement, Status,
        redis::{RedisConfig, RedisQueue},
    },
};
use rustix::process::Signal;

use super::{
    clock::TestClock,
    exam::{Adapter, exam},
    jobs::{
        HOUR, LEASE, MINUTE, QUEUE, claim, claims, done, ids, job, jobs, put, record, retention,
        settle, submission, tenant,
    },
};
use crate::support::{
    eventually_ok,
    redis::{Private, place},
};

/// A prefix on the run's server, opened as often as a test likes.
pub(crate) struct Redis {
    config: RedisConfig,
    clock: TestClock,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self { config: place(), clock: TestClock::new() }
    }
}

#[async_trait]
impl Adapter for Redis {
    async fn open(&self) -> (Arc<dyn Queue>, TestClock) {
        let clock = Arc::new(self.clock.clone());
        let queue = RedisQueue::open_with_clock(&self.config, clock).await.unwrap();
        (Arc::new(queue), self.clock.clone())
    }
}

exam!(Redis::new());

fn unusable(opened: Result<RedisQueue, QueueError>) -> String {
    match opened.err() {
        Some(QueueError::Unusable(words)) => words,
        other => panic!("not unusable: {other:?}"),
    }
}

/// Completes jobs, and answers which.
async fn drain(queue: &dyn Queue) -> HashSet<JobId> {
    let mut seen = HashSet::new();
    loop {
        let claimed = claim(queue, 1_000).await;
        if claimed.is_empty() {
            return seen;
        }
        for id in ids(&claimed) {
            assert!(seen.insert(id), "{id} came twice");
        }
        let ends =
            claimed.iter().map(|c| Settlement { lease: c.lease, verdict: done(), refund: false });
        let settled = queue.settle(ends.collect()).await.unwrap();
        assert!(settled.iter().all(|s| *s == Settled::Done));
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    // given
    let server = Private::start(&["--maxmemory-policy", "allkeys-lru"]).await;

    // when
    let refused = unusable(RedisQueue::open(&server.config()).await);

    // then
    assert!(refused.contains("expected maxmemory-policy noeviction, got allkeys-lru"), "{refused}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    // given a replica of a server that nobody reaches
    let server = Private::start(&["--replicaof", "127.0.0.1 1"]).await;

    // when
    let refused = unusable(RedisQueue::open(&server.config()).await);

    // then
    assert!(refused.contains("the server is a replica"), "{refused}");
}

#[tokio::test]
async fn a_url_that_is_none_is_not_repeated() {
    // given one with a password
    let config = RedisConfig { url: "redis//:hunter2@host".into(), ..place() };

    // when
    let refused = unusable(RedisQueue::open(&config).await);

    // then
    assert!(refused.contains("redis.url: expected redis://"), "{refused}");
    assert!(!refused.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // given
    let dir = tempfile::tempdir().unwrap();
    let url = format!("redis+unix://{}/nobody", dir.path().display());
    let config = RedisConfig { url, response_timeout: Duration::from_secs(1), ..place() };

    // when
    let refused = RedisQueue::open(&config).await.err();

    // then
    assert!(matches!(refused, Some(QueueError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn options_out_of_range_are_named() {
    let rows = [
        ("SHARDS", "0", "redis.shards: expected 1 to 1024, got 0"),
        ("PREFIX", "a{b}", "redis.prefix: expected 1 to 64 letters"),
        ("SUBMIT_TIMEOUT", "1ms", "redis.submit_timeout: expected 50ms to 1m, got 1ms"),
    ];
    for (option, value, words) in rows {
        // when
        let env = [(format!("POSTRIDER_REDIS__{option}"), value.to_owned())];
        let error = Config::load(None, env).unwrap_err().to_string();

        // then
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_the_queue_goes_on() {
    // given a server that is killed while jobs come in, one of which runs
    let mut server = Private::start(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let queue = Arc::new(RedisQueue::open(&server.config()).await.unwrap());
    let mut acknowledged: HashSet<JobId> =
        put(&*queue, "a", jobs("l", 10)).await.into_iter().collect();
    let running = claim(&*queue, 1).await.remove(0);
    let submitter = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            let mut taken = Vec::new();
            loop {
                let batch = jobs("l", 20);
                let ids: Vec<JobId> = batch.iter().map(|j| j.id).collect();
                match queue.enqueue(submission("a", batch)).await {
                    Ok(_) => taken.extend(ids),
                    Err(QueueError::Unavailable(_)) => return taken,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let crowd = || async {
        let known = queue.queues().await.map_err(|e| e.to_string())?;
        let waiting = known.first().map_or(0, |q| q.counts[&Status::Queued]);
        if waiting >= 500 { Ok(()) } else { Err(format!("{waiting} wait")) }
    };
    eventually_ok("many jobs wait", crowd).await;

    // when
    server.kill();
    acknowledged.extend(submitter.await.unwrap());
    server.restart().await;

    // then the same handle goes on, though the server knows no script any more
    let settled = eventually_ok("the queue is back", || {
        queue.settle(vec![Settlement { lease: running.lease, verdict: done(), refund: false }])
    })
    .await;
    assert_eq!(settled, [Settled::Done]);
    let mut kept = drain(&*queue).await;
    kept.insert(running.lease.id);
    assert!(acknowledged.is_subset(&kept), "{} of {}", kept.len(), acknowledged.len());
}

#[tokio::test]
async fn a_waiter_hears_of_jobs_after_a_restart() {
    // given a worker that waits while its server is restarted
    let mut server = Private::start(&["--appendonly", "yes"]).await;
    let here = Arc::new(RedisQueue::open(&server.config()).await.unwrap());
    let seen = claims(&*here, 1).await.seen;
    server.kill();
    server.restart().await;
    let there = RedisQueue::open(&server.config()).await.unwrap();
    let id = put(&there, "a", vec![job("l")]).await[0];

    // when, then it is woken, whether or not its subscription stood when the job came
    let waited = tokio::time::timeout(Duration::from_secs(20), here.wait(QUEUE, seen, None)).await;
    assert!(waited.is_ok());
    let claimed = eventually_ok("the queue is back", || async {
        match claim(&*here, 1).await.pop() {
            Some(claimed) => Ok(claimed.lease.id),
            None => Err("nothing"),
        }
    })
    .await;
    assert_eq!(claimed, id);
}

#[tokio::test]
async fn a_submission_is_refused_within_a_second_while_the_server_hangs() {
    // given
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;

    // when
    server.signal(Signal::STOP);
    let began = Instant::now();
    let refused = queue.enqueue(submission("a", vec![job("l")])).await;
    let took = began.elapsed();
    let unread = queue.job(&tenant("a"), JobId::generate()).await;
    server.signal(Signal::CONT);

    // then
    assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    assert!(matches!(unread, Err(QueueError::Unavailable(_))), "{unread:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually_ok("the queue is back", || queue.enqueue(submission("a", vec![job("l")]))).await;
}

#[tokio::test]
async fn a_full_server_refuses_submissions_and_drains() {
    // given a server that is full
    let server = Private::start(&["--maxmemory", "8mb"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let mut taken = HashSet::new();
    let refused = loop {
        let big = || NewJob { payload: format!("\"{}\"", "x".repeat(20_000)).into(), ..job("l") };
        let batch: Vec<NewJob> = (0..20).map(|_| big()).collect();
        let ids: Vec<JobId> = batch.iter().map(|j| j.id).collect();
        match queue.enqueue(submission("a", batch)).await {
            Ok(_) => taken.extend(ids),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    queue.ready().await.unwrap();

    // when workers go on
    assert_eq!(drain(&queue).await, taken);

    // then there is room again once what is done is forgotten
    let nothing_kept = postrider::queue::Retention { completed: Duration::ZERO, ..retention() };
    while queue.prune(100, &nothing_kept).await.unwrap() > 0 {}
    put(&queue, "a", vec![job("l")]).await;
}

#[tokio::test]
async fn tenants_are_spread_over_shards_and_nobody_notices() {
    // given forty tenants in four shards, seen by two processes
    let host = Redis { config: RedisConfig { shards: 4, ..place() }, clock: TestClock::new() };
    let (one, clock) = host.open().await;
    let (two, _) = host.open().await;
    let mut all = Vec::new();
    for number in 0..40 {
        all.extend(put(&*one, &format!("t{number}"), jobs("l", 5)).await);
    }
    let last = record(&*two, "t39", all[199]).await;
    assert_eq!(last.status, Status::Queued);

    // then they are listed, counted, paused and resumed as one
    let filter = JobFilter { limit: 50, ..JobFilter::default() };
    let listed = two.jobs(&filter).await.unwrap();
    let mut newest = all.clone();
    newest.sort_by(|a, b| b.cmp(a));
    assert_eq!(listed.iter().map(|j| j.id).collect::<Vec<_>>(), newest[..50]);
    let counted = two.queues().await.unwrap();
    assert_eq!((counted.len(), counted[0].counts[&Status::Queued]), (1, 200));
    let lanes = two.lanes(&LaneFilter { limit: 100, ..LaneFilter::default() }).await.unwrap();
    assert!(lanes.is_sorted_by_key(|l| l.lane.clone()) && lanes.len() == 40);
    let queue = PauseTarget::Queue(QUEUE.into());
    assert_eq!(two.pause(&queue, true).await.unwrap(), Changed::Done);
    assert!(claim(&*one, 10).await.is_empty());
    assert_eq!(two.pause(&queue, false).await.unwrap(), Changed::Done);

    // and a job is settled, extended and rescued where it lies
    let running = claim(&*one, 3).await;
    assert_eq!(settle(&*two, &running[0], done()).await, Settled::Done);
    clock.advance(LEASE - Duration::from_secs(1));
    let held = two.extend(&[running[1].lease], LEASE).await.unwrap();
    assert_eq!(held, [postrider::queue::Hold::Held]);
    clock.advance(Duration::from_secs(1));
    let rescued = two.rescue(10, 3).await.unwrap();
    assert_eq!(rescued.iter().map(|r| r.id).collect::<Vec<_>>(), [running[2].lease.id]);
    assert_eq!(settle(&*one, &running[1], done()).await, Settled::Done);
    assert_eq!(drain(&*two).await.len(), 198);
    clock.advance(HOUR);
    assert!(one.prune(10_000, &retention()).await.unwrap() >= 200);
}

#[tokio::test]
async fn thousands_of_jobs_that_are_due_in_one_moment_all_run() {
    // given what stops apalis-redis 1.0.0 for good
    let (queue, clock) = Redis::new().open().await;
    let run_at = Some(queue.now().plus(MINUTE));
    for tenant in ["a", "b"] {
        for _ in 0..5 {
            let later = jobs("l", 1_000).into_iter().map(|j| NewJob { run_at, ..j });
            put(&*queue, tenant, later.collect()).await;
        }
    }
    assert_eq!(queue.queues().await.unwrap()[0].counts[&Status::Scheduled], 10_000);

    // when
    clock.advance(MINUTE);
    queue.promote(500).await.unwrap();

    // then
    assert_eq!(queue.queues().await.unwrap()[0].counts[&Status::Queued], 10_000);
    assert_eq!(drain(&*queue).await.len(), 10_000);
}

#[tokio::test]
async fn by_the_servers_own_clock_a_later_job_runs_in_time_and_not_before() {
    // given
    let queue = RedisQueue::open(&place()).await.unwrap();
    let at = queue.now().plus(Duration::from_millis(300));
    put(&queue, "a", vec![NewJob { run_at: Some(at), ..job("l") }]).await;

    // when a worker waits as it is told
    let claimed = loop {
        let mut claims = claims(&queue, 1).await;
        match claims.jobs.pop() {
            Some(claimed) => break claimed,
            None => queue.wait(QUEUE, claims.seen, claims.next_at).await,
        }
    };

    // then its lease began at the job's moment or after
    assert!(claimed.lease_until >= at.plus(LEASE));
    assert!(queue.now() >= at);
    assert_eq!(settle(&queue, &claimed, done()).await, Settled::Done);
}
