//! How jobs are taken in.

use std::time::Duration;

use postrider::queue::{Enqueued, Idempotency, NewJob, QueueError, Status, Submission};

use super::Adapter;
use crate::queue::jobs::{
    MINUTE, claim, claim_one, claims, done, idempotency, ids, job, jobs, put, record, settle,
    submission, tenant,
};

fn keyed(key: &str, request: u8, answer: &'static str) -> Submission {
    let idempotency = Some(idempotency(key, request, answer));
    Submission { idempotency, ..submission("a", vec![job("l")]) }
}

pub(crate) async fn a_repeated_submission_is_answered_as_the_first(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let first = queue.enqueue(keyed("k", 1, "the first answer")).await.unwrap();
    assert!(matches!(first, Enqueued::Fresh(_)));

    // when
    let again = queue.enqueue(keyed("k", 1, "another answer")).await.unwrap();

    // then
    assert_eq!(again, Enqueued::Replayed("the first answer".into()));
    assert_eq!(claim(&*queue, 10).await.len(), 1);

    // and another tenant's key is another key
    let theirs = Submission { tenant: tenant("b"), ..keyed("k", 1, "theirs") };
    assert!(matches!(queue.enqueue(theirs).await.unwrap(), Enqueued::Fresh(_)));
}

pub(crate) async fn a_reused_key_with_another_request_is_refused(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    queue.enqueue(keyed("k", 1, "one")).await.unwrap();

    // when
    let reused = queue.enqueue(keyed("k", 2, "two")).await.unwrap();

    // then
    assert_eq!(reused, Enqueued::KeyReused);
    assert_eq!(claim(&*queue, 10).await.len(), 1);
}

pub(crate) async fn a_key_is_forgotten_after_its_time(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    queue.enqueue(keyed("k", 1, "one")).await.unwrap();
    clock.advance(MINUTE - Duration::from_millis(1));

    // when, then a use does not make the time longer
    let early = queue.enqueue(keyed("k", 1, "two")).await.unwrap();
    assert_eq!(early, Enqueued::Replayed("one".into()));
    clock.advance(Duration::from_millis(1));
    assert!(matches!(queue.enqueue(keyed("k", 2, "three")).await.unwrap(), Enqueued::Fresh(_)));
    let again = queue.enqueue(keyed("k", 2, "four")).await.unwrap();
    assert_eq!(again, Enqueued::Replayed("three".into()));
}

pub(crate) async fn an_unfinished_twin_is_answered_instead(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let twin = || NewJob { unique: Some("only one".into()), ..job("l") };
    let first = put(&*queue, "a", vec![twin(), twin()]).await;
    assert_eq!(first[0], first[1]);

    // when, then while it waits and while it runs
    assert_eq!(put(&*queue, "a", vec![twin(), job("l")]).await[0], first[0]);
    let running = claim_one(&*queue).await;
    assert_eq!(put(&*queue, "a", vec![twin()]).await[0], first[0]);

    // but not another tenant's, another kind's, or once it is done
    assert_ne!(put(&*queue, "b", vec![twin()]).await[0], first[0]);
    let other = NewJob { kind: "warmup".into(), ..twin() };
    assert_ne!(put(&*queue, "a", vec![other]).await[0], first[0]);
    settle(&*queue, &running, done()).await;
    assert_ne!(put(&*queue, "a", vec![twin()]).await[0], first[0]);
}

pub(crate) async fn a_remembered_answer_has_the_ids_that_were_answered(adapter: &dyn Adapter) {
    // given a job, and a submission with a twin of it
    let (queue, _) = adapter.open().await;
    let twin = || NewJob { unique: Some("only one".into()), ..job("l") };
    let known = put(&*queue, "a", vec![twin()]).await[0];
    let (fresh, again) = (job("l"), twin());
    let said = format!("{} {}", fresh.id, again.id);
    let right = format!("{} {known}", fresh.id);
    let keyed = || Submission {
        idempotency: Some(Idempotency { answer: said.clone().into(), ..idempotency("k", 1, "") }),
        ..submission("a", vec![fresh.clone(), again.clone()])
    };

    // when, then
    let ids = vec![fresh.id, known];
    assert_eq!(queue.enqueue(keyed()).await.unwrap(), Enqueued::Fresh(ids));
    assert_eq!(queue.enqueue(keyed()).await.unwrap(), Enqueued::Replayed(right.into()));
}

pub(crate) async fn a_later_job_is_never_early(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let at = queue.now().plus(MINUTE);
    let id = put(&*queue, "a", vec![NewJob { run_at: Some(at), ..job("l") }]).await[0];
    let past = NewJob { run_at: Some(queue.now().minus(MINUTE)), ..job("m") };
    let past = put(&*queue, "a", vec![past]).await;

    // when, then
    let now = claims(&*queue, 10).await;
    assert_eq!((ids(&now.jobs), now.next_at), (past, Some(at)));
    assert_eq!(record(&*queue, "a", id).await.status, Status::Scheduled);
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(claim(&*queue, 10).await.is_empty());
    clock.advance(Duration::from_millis(1));
    queue.promote(100).await.unwrap();
    assert_eq!(record(&*queue, "a", id).await.status, Status::Queued);
    let claimed = claim_one(&*queue).await;
    assert_eq!((claimed.lease.id, claimed.due_at), (id, at));
}

pub(crate) async fn a_batch_is_all_or_nothing(adapter: &dyn Adapter) {
    // given a batch whose last job cannot be taken in, since its id is taken
    let (queue, _) = adapter.open().await;
    let known = job("l");
    put(&*queue, "a", vec![known.clone()]).await;
    claim(&*queue, 10).await;
    let mut batch = jobs("l", 5);
    batch.push(known);

    // when
    let idempotency = Some(idempotency("k", 1, "answer"));
    let bad = Submission { idempotency, ..submission("a", batch) };
    let refused = queue.enqueue(bad).await;

    // then nothing of it is there, not even its key
    assert!(matches!(refused, Err(QueueError::Unusable(_))), "{refused:?}");
    assert!(claim(&*queue, 10).await.is_empty());
    assert!(matches!(queue.enqueue(keyed("k", 2, "other")).await.unwrap(), Enqueued::Fresh(_)));

    // and so it is with too many jobs, or none
    for batch in [jobs("l", 1_001), Vec::new()] {
        let refused = queue.enqueue(submission("a", batch)).await.unwrap_err();
        assert!(refused.to_string().contains("1 to 1000 jobs"), "{refused}");
    }
}
