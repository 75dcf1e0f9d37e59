//! Several shards.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use jobs::contract::JobId;
use postrider::queue::{
    Ask, Changed, Inspect, JobFilter, LaneFilter, PauseTarget, Queue, Settled, Settlement, Status,
    redis::{RedisConfig, RedisQueue},
};
use rustix::process::Signal;

use super::{Adapter, Redis, drain};
use crate::{
    queue::{
        clock::TestClock,
        jobs::{HOUR, LEASE, QUEUE, claim, done, jobs, put, record, retention, settle, tenant},
    },
    support::{
        eventually_ok,
        redis::{Cluster, command, place},
    },
};

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
async fn a_node_that_hangs_holds_up_no_claim_from_the_others() {
    // given jobs on all nodes of a cluster that goes on without one of them
    let cluster = Cluster::start().await;
    for node in 0..3 {
        let alone = command("CONFIG SET cluster-require-full-coverage no");
        cluster.ask::<()>(node, alone).await.unwrap();
    }
    let config = cluster.place();
    let queue = RedisQueue::open(&config).await.unwrap();
    let mut all = HashSet::new();
    for number in 0..40 {
        all.extend(put(&queue, &format!("t{number}"), jobs("l", 2)).await);
    }
    let slot = |shard: u16| {
        let key = format!("CLUSTER KEYSLOT {{{}:{shard}}}", config.prefix);
        let cluster = &cluster;
        async move { cluster.ask::<u16>(0, command(&key)).await.unwrap() }
    };
    let mut hung = 0;
    for shard in 0..config.shards {
        hung += u16::from(Cluster::node_of(slot(shard).await) == 1);
    }
    assert!(hung > 0 && hung < config.shards, "{hung} shards");

    // when one of them hangs
    cluster.signal(1, Signal::STOP);
    let mut finished: HashSet<JobId> = HashSet::new();
    let mut slowest = Duration::ZERO;
    let mut nothing = 0;
    while nothing < 5 {
        let began = Instant::now();
        let claimed = claim(&queue, 3).await;
        slowest = slowest.max(began.elapsed());
        nothing = if claimed.is_empty() { nothing + 1 } else { 0 };
        for job in claimed {
            assert_eq!(settle(&queue, &job, done()).await, Settled::Done);
            finished.insert(job.lease.id);
        }
    }

    // then the jobs of the others are done, and no claim waited for long
    assert!(finished.len() >= 20, "{} of {}", finished.len(), all.len());
    assert!(slowest < config.response_timeout, "{slowest:?}");
    // and when it goes on, so do its jobs, of which none is lost to a call that nobody waited for.
    cluster.signal(1, Signal::CONT);
    let rest = || async {
        let claimed = queue.claim(&ask(10)).await.map_err(|error| error.to_string())?.jobs;
        let ends = claimed.iter().map(|job| Settlement {
            lease: job.lease,
            verdict: done(),
            refund: false,
        });
        queue.settle(ends.collect()).await.map_err(|error| error.to_string())?;
        let counted = queue.queues().await.map_err(|error| error.to_string())?;
        match [Status::Queued, Status::Processing].map(|status| counted[0].counts[&status]) {
            [0, 0] => Ok(()),
            left => Err(format!("{left:?} are left")),
        }
    };
    eventually_ok("the rest is done", rest).await;
    for number in 0..40 {
        let of = JobFilter {
            tenant: Some(tenant(&format!("t{number}"))),
            limit: 10,
            ..JobFilter::default()
        };
        for job in queue.jobs(&of).await.unwrap() {
            assert_eq!((job.status, job.crashes), (Status::Completed, 0), "{job:?}");
        }
    }
}

fn ask(max: u32) -> Ask {
    Ask { queue: QUEUE.into(), worker: "worker-1".into(), max, lease: LEASE }
}
