//! Several shards.

use std::time::Duration;

use postrider::queue::{
    Changed, JobFilter, LaneFilter, PauseTarget, Settled, Status, redis::RedisConfig,
};

use super::{Adapter, Redis, drain};
use crate::{
    queue::{
        clock::TestClock,
        jobs::{HOUR, LEASE, QUEUE, claim, done, jobs, put, record, retention, settle},
    },
    support::redis::place,
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
