//! What the queue tells of itself.

use std::collections::BTreeMap;

use jobs::contract::{JobId, LaneName};
use postrider::queue::{
    JobFilter, JobRecord, LaneFilter, NewJob, ParkReason, PauseTarget, Priority, Status,
};

use super::Adapter;
use crate::queue::jobs::{
    MINUTE, QUEUE, SECOND, claim, claim_one, done, fail, job, jobs, lane, limit, limited, put,
    record, settle, tenant,
};

fn ids(records: &[JobRecord]) -> Vec<JobId> {
    records.iter().map(|r| r.id).collect()
}

pub(crate) async fn a_record_tells_a_life(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let new = NewJob {
        priority: Priority::High,
        total_items: 12,
        tags: vec!["spring".into(), "vip".into()],
        ..job("l")
    };
    let created_at = queue.now();
    let id = put(&*queue, "a", vec![new.clone()]).await[0];
    clock.advance(SECOND);
    let started_at = queue.now();
    let claimed = claim_one(&*queue).await;
    clock.advance(SECOND);

    // when
    settle(&*queue, &claimed, done()).await;

    // then
    assert_eq!(claimed.payload, new.payload);
    let told = record(&*queue, "a", id).await;
    assert_eq!((told.id, told.tenant), (new.id, tenant("a")));
    assert_eq!((told.kind, told.queue, told.lane), (new.kind, new.queue, new.lane));
    assert_eq!((told.priority, told.max_attempts), (Priority::High, 3));
    assert_eq!((told.cursor.total, told.cursor.processed), (12, 0));
    assert_eq!((told.tags, told.request_id), (new.tags, new.request_id));
    assert_eq!((told.run_at, told.created_at), (created_at, created_at));
    assert_eq!((told.started_at, told.completed_at), (Some(started_at), Some(queue.now())));
    let attempt = &told.attempts[0];
    assert_eq!((attempt.number, attempt.worker.as_str()), (1, "worker-1"));
    assert_eq!((attempt.started_at, attempt.ended_at), (started_at, Some(queue.now())));
}

pub(crate) async fn jobs_are_listed_newest_first_in_pages(adapter: &dyn Adapter) {
    // given ids that rise, whatever the order of arrival
    let (queue, _) = adapter.open().await;
    let all: Vec<NewJob> =
        (1..=5).map(|n| NewJob { id: JobId::from_u128(n), ..job("l") }).collect();
    put(&*queue, "a", all).await;

    // when
    let mut filter = JobFilter { limit: 2, ..JobFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = queue.jobs(&filter).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        seen.extend(ids(&page));
    }

    // then
    assert_eq!(seen, [5, 4, 3, 2, 1].map(JobId::from_u128));
}

pub(crate) async fn jobs_are_found_by_what_is_known_of_them(adapter: &dyn Adapter) {
    // given one job in each status, each different in one more way
    let (queue, _) = adapter.open().await;
    let completed = put(&*queue, "a", vec![NewJob { kind: "warmup".into(), ..job("l") }]).await;
    settle(&*queue, &claim_one(&*queue).await, done()).await;
    let failed = put(&*queue, "b", vec![job("l")]).await;
    settle(&*queue, &claim_one(&*queue).await, fail()).await;
    let cancelled = put(&*queue, "a", vec![NewJob { tags: vec!["x".into()], ..job("l") }]).await;
    queue.cancel(&tenant("a"), cancelled[0], "ada").await.unwrap();
    let processing = put(&*queue, "a", vec![job("special")]).await;
    claim_one(&*queue).await;
    let later = Some(queue.now().plus(MINUTE));
    let scheduled = put(&*queue, "a", vec![NewJob { run_at: later, ..job("l") }]).await;
    let queued = put(&*queue, "a", vec![NewJob { queue: "other".into(), ..job("l") }]).await;

    // when, then
    let by_status = [
        (Status::Completed, &completed),
        (Status::Failed, &failed),
        (Status::Cancelled, &cancelled),
        (Status::Processing, &processing),
        (Status::Scheduled, &scheduled),
        (Status::Queued, &queued),
    ]
    .map(|(s, found)| (JobFilter { status: Some(s), ..JobFilter::default() }, found));
    let any = JobFilter::default;
    let others = [
        (JobFilter { kind: Some("warmup".into()), ..any() }, &completed),
        (JobFilter { tenant: Some(tenant("b")), ..any() }, &failed),
        (JobFilter { tag: Some("x".into()), ..any() }, &cancelled),
        (JobFilter { lane: Some(LaneName::custom("special")), ..any() }, &processing),
        (JobFilter { queue: Some("other".into()), ..any() }, &queued),
    ];
    for (filter, expected) in by_status.into_iter().chain(others) {
        let filter = JobFilter { limit: 10, ..filter };
        let found = queue.jobs(&filter).await.unwrap();
        assert_eq!(ids(&found), *expected, "{filter:?}");
    }
}

pub(crate) async fn queues_are_counted(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", jobs("l", 6)).await;
    let oldest = queue.now();
    clock.advance(SECOND);
    let running = claim(&*queue, 4).await;
    settle(&*queue, &running[0], done()).await;
    settle(&*queue, &running[1], fail()).await;
    settle(&*queue, &running[2], jobs::contract::Verdict::Cancel).await;
    let later = Some(queue.now().plus(MINUTE));
    put(&*queue, "a", vec![NewJob { run_at: later, ..job("l") }]).await;
    queue.pause(&PauseTarget::Queue(QUEUE.into()), true).await.unwrap();

    // when
    let counted = queue.queues().await.unwrap();

    // then
    assert_eq!(counted.len(), 1);
    let counts = [
        (Status::Queued, 2),
        (Status::Scheduled, 1),
        (Status::Processing, 1),
        (Status::Completed, 1),
        (Status::Failed, 1),
        (Status::Cancelled, 1),
    ];
    assert_eq!(counted[0].counts, BTreeMap::from(counts));
    assert_eq!((counted[0].name.as_str(), counted[0].paused), (QUEUE, true));
    assert_eq!(counted[0].oldest_due_at, Some(oldest));
}

pub(crate) async fn lanes_are_listed(adapter: &dyn Adapter) {
    // given lanes that are used up but empty, free, limited, parked and paused
    let (queue, _) = adapter.open().await;
    let narrow = vec![limit("b", 1, MINUTE)];
    put(&*queue, "a", limited(jobs("0-empty", 1), vec![limit("own", 1, MINUTE)])).await;
    claim_one(&*queue).await;
    put(&*queue, "a", limited(jobs("1-limited", 3), narrow.clone())).await;
    claim_one(&*queue).await;
    let until = queue.now().plus(MINUTE);
    put(&*queue, "a", jobs("2-free", 2)).await;
    put(&*queue, "a", jobs("3-parked", 1)).await;
    let reason = ParkReason::Snooze("421".into());
    queue.park(&lane("a", "3-parked"), until, &reason).await.unwrap();
    put(&*queue, "b", jobs("4-paused", 1)).await;
    queue.pause(&PauseTarget::Lane(lane("b", "4-paused")), true).await.unwrap();

    // when
    let all = queue.lanes(&LaneFilter { limit: 9, ..LaneFilter::default() }).await.unwrap();
    let held = LaneFilter { held: true, limit: 9, ..LaneFilter::default() };
    let held = queue.lanes(&held).await.unwrap();
    let one = LaneFilter { tenant: Some(tenant("b")), limit: 9, ..LaneFilter::default() };
    let one = queue.lanes(&one).await.unwrap();
    let two = queue.lanes(&LaneFilter { limit: 2, ..LaneFilter::default() }).await.unwrap();

    // then
    let told: Vec<_> = all
        .iter()
        .map(|l| (l.lane.clone(), l.waiting, l.in_flight, l.paused, l.parked.clone()))
        .collect();
    let limited = Some((until, ParkReason::Limit("b 1".into())));
    let expected = [
        (lane("a", "0-empty"), 0, 1, false, None),
        (lane("a", "1-limited"), 2, 1, false, limited),
        (lane("a", "2-free"), 2, 0, false, None),
        (lane("a", "3-parked"), 1, 0, false, Some((until, reason))),
        (lane("b", "4-paused"), 1, 0, true, None),
    ];
    assert_eq!(told, expected);
    assert_eq!(all[1].policy.limits, narrow);
    assert_eq!(held, [all[1].clone(), all[3].clone(), all[4].clone()]);
    assert_eq!((one, two), (all[4..].to_vec(), all[..2].to_vec()));
}
