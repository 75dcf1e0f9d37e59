//! What becomes of a job, one test for each verdict.

use jobs::contract::{Cause, Moment, Verdict};
use postrider::queue::{AttemptRecord, JobRecord, Settled, Status};
use serde_json::json;

use super::Adapter;
use crate::queue::jobs::{
    HOUR, MINUTE, SECOND, cause, claim, claim_one, done, fail, ids, job, jobs, put, record, retry,
    settle,
};

fn outcomes(record: &JobRecord) -> Vec<(u32, &str)> {
    let words = |a: &AttemptRecord| a.outcome.clone().map_or("running", |o| word(&o));
    record.attempts.iter().map(|a| (a.number, words(a))).collect()
}

fn word(text: &str) -> &'static str {
    ["completed", "retried", "snoozed", "failed", "cancelled", "released", "vanished"]
        .into_iter()
        .find(|word| *word == text)
        .unwrap_or("unheard of")
}

fn stands(record: &JobRecord) -> (Status, u32, Option<Moment>) {
    (record.status, record.attempt, record.completed_at)
}

pub(crate) async fn completing(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 2)).await;
    let running = claim(&*queue, 2).await;
    clock.advance(SECOND);

    // when
    let result = json!({"message_id": "<a@b>"});
    let finished = Verdict::Complete { result: result.clone(), skipped: None };
    let skipped = Verdict::Complete { result: json!(null), skipped: Some("suppressed".into()) };
    assert_eq!(settle(&*queue, &running[0], finished).await, Settled::Done);
    assert_eq!(settle(&*queue, &running[1], skipped).await, Settled::Done);

    // then
    let now = queue.now();
    let first = record(&*queue, "a", all[0]).await;
    assert_eq!(stands(&first), (Status::Completed, 1, Some(now)));
    assert_eq!((first.result.clone(), first.skipped.clone()), (Some(result), None));
    assert_eq!(outcomes(&first), [(1, "completed")]);
    let second = record(&*queue, "a", all[1]).await;
    assert_eq!(second.skipped.as_deref(), Some("suppressed"));
}

pub(crate) async fn retrying(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;
    let at = queue.now().plus(MINUTE);

    // when
    settle(&*queue, &running, retry(at)).await;

    // then it waits for its moment, the attempt spent
    let waits = record(&*queue, "a", id).await;
    assert_eq!(stands(&waits), (Status::Scheduled, 1, None));
    assert_eq!((waits.run_at, waits.error.clone()), (at, Some(cause())));
    assert!(claim(&*queue, 1).await.is_empty());
    clock.advance(MINUTE);
    let again = claim_one(&*queue).await;
    assert_eq!((again.attempt, again.lease.fence), (2, running.lease.fence + 1));
    assert_eq!(again.due_at, running.due_at);
    assert_eq!(outcomes(&record(&*queue, "a", id).await), [(1, "retried"), (2, "running")]);
}

pub(crate) async fn snoozing_a_job(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let neighbour = put(&*queue, "a", vec![job("l")]).await;
    let running = claim_one(&*queue).await;
    let until = queue.now().plus(MINUTE);

    // when
    settle(&*queue, &running, Verdict::SnoozeJob { until, why: "window".into() }).await;

    // then the attempt is given back, and the neighbour goes
    let waits = record(&*queue, "a", id).await;
    assert_eq!(stands(&waits), (Status::Scheduled, 0, None));
    assert_eq!((waits.run_at, waits.error.clone()), (until, None));
    assert_eq!(waits.attempts[0].error, Some(Cause::new("snoozed", "window")));
    assert_eq!(ids(&claim(&*queue, 5).await), neighbour);
    clock.advance(MINUTE);
    assert_eq!(claim_one(&*queue).await.attempt, 1);
    assert_eq!(outcomes(&record(&*queue, "a", id).await), [(1, "snoozed"), (1, "running")]);
}

pub(crate) async fn snoozing_a_lane(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 3)).await;
    let other = put(&*queue, "a", vec![job("m")]).await;
    let running = claim_one(&*queue).await;
    let until = queue.now().plus(MINUTE);

    // when
    settle(&*queue, &running, Verdict::SnoozeLane { until, why: "421".into() }).await;

    // then the whole lane waits, another one does not
    assert_eq!(ids(&claim(&*queue, 5).await), other);
    let waits = record(&*queue, "a", all[0]).await;
    assert_eq!(stands(&waits), (Status::Queued, 0, None));
    clock.advance(MINUTE);

    // and the job is the first again
    assert_eq!(ids(&claim(&*queue, 5).await), all);
}

pub(crate) async fn failing(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when
    settle(&*queue, &running, fail()).await;

    // then
    let dead = record(&*queue, "a", id).await;
    assert_eq!(stands(&dead), (Status::Failed, 1, Some(queue.now())));
    assert_eq!((dead.error.clone(), dead.retryable), (Some(cause()), true));
    assert_eq!(outcomes(&dead), [(1, "failed")]);
    clock.advance(HOUR * 48);
    assert!(claim(&*queue, 1).await.is_empty());
}

pub(crate) async fn failing_with_the_attempt_given_back(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when
    let too_old = Verdict::Fail { error: cause(), spent: false, retryable: false };
    settle(&*queue, &running, too_old).await;

    // then
    let dead = record(&*queue, "a", id).await;
    assert_eq!((dead.status, dead.attempt, dead.retryable), (Status::Failed, 0, false));
}

pub(crate) async fn cancelling(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when
    settle(&*queue, &running, Verdict::Cancel).await;

    // then
    let off = record(&*queue, "a", id).await;
    assert_eq!(stands(&off), (Status::Cancelled, 1, Some(queue.now())));
    assert_eq!(outcomes(&off), [(1, "cancelled")]);
}

pub(crate) async fn releasing(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 2)).await;
    let running = claim_one(&*queue).await;
    clock.advance(SECOND);

    // when
    settle(&*queue, &running, Verdict::Release).await;

    // then it is queued at once in its old place, with nothing spent
    let back = record(&*queue, "a", all[0]).await;
    assert_eq!(stands(&back), (Status::Queued, 0, None));
    assert_eq!(outcomes(&back), [(1, "released")]);
    assert_eq!(ids(&claim(&*queue, 5).await), all);
}

pub(crate) async fn rescuing_by_verdict(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when
    settle(&*queue, &running, Verdict::Rescue { error: cause() }).await;

    // then
    let back = record(&*queue, "a", id).await;
    assert_eq!((back.status, back.attempt, back.crashes), (Status::Queued, 1, 1));
    assert_eq!(outcomes(&back), [(1, "vanished")]);
}

pub(crate) async fn nothing_is_written_by_nothing(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;
    let before = record(&*queue, "a", id).await;

    // when
    assert_eq!(settle(&*queue, &running, Verdict::Nothing).await, Settled::Lost);

    // then
    assert_eq!(record(&*queue, "a", id).await, before);
    assert_eq!(settle(&*queue, &running, done()).await, Settled::Done);
}

pub(crate) async fn the_last_fifty_attempts_are_remembered(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];

    // when
    for _ in 0..60 {
        let running = claim_one(&*queue).await;
        settle(&*queue, &running, retry(queue.now())).await;
    }

    // then
    let numbers: Vec<u32> =
        record(&*queue, "a", id).await.attempts.iter().map(|a| a.number).collect();
    assert_eq!(numbers, (11..=60).collect::<Vec<_>>());
}
