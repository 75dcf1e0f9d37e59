//! Why a job waits, and until when.

use std::sync::Arc;

use jobs::contract::{JobId, Verdict};
use postrider::queue::{LanePolicy, NewJob, PauseTarget, Queue, Waiting, WaitingFor};

use super::Adapter;
use crate::queue::jobs::{
    MINUTE, QUEUE, claim, claim_one, job, jobs, lane, limit, limited, put, record, retry, settle,
};

async fn waiting(queue: &dyn Queue, id: JobId) -> Option<Waiting> {
    record(queue, "a", id).await.waiting
}

fn for_turn() -> Option<Waiting> {
    Some(Waiting { what: WaitingFor::Turn, reason: None, until: None })
}

pub(crate) async fn for_a_turn(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];

    // when, then
    assert_eq!(waiting(&*queue, id).await, for_turn());
    claim_one(&*queue).await;
    assert_eq!(waiting(&*queue, id).await, None);
}

pub(crate) async fn for_a_schedule(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let at = queue.now().plus(MINUTE);
    let id = put(&*queue, "a", vec![NewJob { run_at: Some(at), ..job("l") }]).await[0];

    // when, then
    let expected = Waiting { what: WaitingFor::Schedule, reason: None, until: Some(at) };
    assert_eq!(waiting(&*queue, id).await, Some(expected));
    clock.advance(MINUTE);
    queue.promote(10).await.unwrap();
    assert_eq!(waiting(&*queue, id).await, for_turn());
}

pub(crate) async fn for_a_retry(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let at = queue.now().plus(MINUTE);

    // when
    settle(&*queue, &claim_one(&*queue).await, retry(at)).await;

    // then
    let reason = Some("smtp_later".into());
    let expected = Waiting { what: WaitingFor::Retry, reason, until: Some(at) };
    assert_eq!(waiting(&*queue, id).await, Some(expected));
}

pub(crate) async fn for_a_snooze(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let until = queue.now().plus(MINUTE);

    // when
    let snooze = Verdict::SnoozeJob { until, why: "outside its window".into() };
    settle(&*queue, &claim_one(&*queue).await, snooze).await;

    // then
    let reason = Some("outside its window".into());
    let expected = Waiting { what: WaitingFor::Snooze, reason, until: Some(until) };
    assert_eq!(waiting(&*queue, id).await, Some(expected));
}

pub(crate) async fn for_a_limit(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let ids = put(&*queue, "a", limited(jobs("l", 2), vec![limit("b", 1, MINUTE)])).await;
    let until = queue.now().plus(MINUTE);
    assert_eq!(waiting(&*queue, ids[1]).await, for_turn());

    // when
    claim_one(&*queue).await;

    // then
    let reason = Some("b 1".into());
    let expected = Waiting { what: WaitingFor::Limit, reason, until: Some(until) };
    assert_eq!(waiting(&*queue, ids[1]).await, Some(expected));
    clock.advance(MINUTE);
    queue.promote(10).await.unwrap();
    assert_eq!(waiting(&*queue, ids[1]).await, for_turn());
}

pub(crate) async fn for_others_in_flight(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let policy = Arc::new(LanePolicy { limits: Vec::new(), in_flight: Some(1) });
    let batch = jobs("l", 2).into_iter().map(|j| NewJob { policy: Arc::clone(&policy), ..j });
    let ids = put(&*queue, "a", batch.collect()).await;

    // when
    assert_eq!(claim(&*queue, 10).await.len(), 1);

    // then
    let expected = Waiting { what: WaitingFor::InFlight, reason: None, until: None };
    assert_eq!(waiting(&*queue, ids[1]).await, Some(expected));
}

pub(crate) async fn for_its_lane(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let ids = put(&*queue, "a", jobs("l", 2)).await;
    let until = queue.now().plus(MINUTE);

    // when
    let snooze = Verdict::SnoozeLane { until, why: "421 too busy".into() };
    settle(&*queue, &claim_one(&*queue).await, snooze).await;

    // then
    for id in ids {
        let reason = Some("421 too busy".into());
        let expected = Waiting { what: WaitingFor::Lane, reason, until: Some(until) };
        assert_eq!(waiting(&*queue, id).await, Some(expected));
    }
}

pub(crate) async fn for_an_operator(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let expected = Some(Waiting { what: WaitingFor::Paused, reason: None, until: None });

    for target in [PauseTarget::Queue(QUEUE.into()), PauseTarget::Lane(lane("a", "l"))] {
        // when
        queue.pause(&target, true).await.unwrap();

        // then
        assert_eq!(waiting(&*queue, id).await, expected);
        queue.pause(&target, false).await.unwrap();
        assert_eq!(waiting(&*queue, id).await, for_turn());
    }
}
