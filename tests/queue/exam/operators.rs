//! What people may do to jobs, lanes and queues.

use std::time::Duration;

use jobs::contract::{JobId, Verdict};
use postrider::queue::{Cancelled, Changed, Hold, ParkReason, PauseTarget, Settled, Status};

use super::Adapter;
use crate::queue::jobs::{
    HOUR, LEASE, MINUTE, QUEUE, SECOND, cause, claim, claim_one, claims, done, fail, ids, job,
    jobs, lane, put, record, retry, settle, tenant,
};

pub(crate) async fn a_waiting_job_is_cancelled_at_once(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];

    // when
    let cancelled = queue.cancel(&tenant("a"), id, "ada").await.unwrap();

    // then
    assert_eq!(cancelled, Cancelled::AtOnce);
    let off = record(&*queue, "a", id).await;
    assert_eq!((off.status, off.completed_at), (Status::Cancelled, Some(queue.now())));
    assert_eq!(off.cancelled_by.as_deref(), Some("ada"));
    assert!(claim(&*queue, 1).await.is_empty());
}

pub(crate) async fn a_running_job_is_told_of_its_cancel(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when
    let cancelled = queue.cancel(&tenant("a"), id, "ada").await.unwrap();
    let again = queue.cancel(&tenant("a"), id, "bob").await.unwrap();

    // then it runs on until its worker hears of it
    assert_eq!((cancelled, again), (Cancelled::Requested, Cancelled::Requested));
    let asked = record(&*queue, "a", id).await;
    assert_eq!((asked.status, asked.cancel_requested), (Status::Processing, true));
    assert_eq!(asked.cancelled_by.as_deref(), Some("ada"));
    let hold = queue.extend(&[running.lease], LEASE).await.unwrap();
    assert_eq!(hold, [Hold::CancelRequested]);
}

pub(crate) async fn a_cancel_is_final_whatever_the_worker_says(adapter: &dyn Adapter) {
    let (queue, _) = adapter.open().await;
    let until = queue.now().plus(MINUTE);
    let verdicts = [
        retry(until),
        fail(),
        Verdict::Release,
        Verdict::Cancel,
        Verdict::SnoozeJob { until, why: "later".into() },
        Verdict::SnoozeLane { until, why: "later".into() },
        Verdict::Rescue { error: cause() },
    ];
    for verdict in verdicts {
        // given a job that was cancelled while it ran
        let id = put(&*queue, "a", vec![job("l")]).await[0];
        let running = claim_one(&*queue).await;
        queue.cancel(&tenant("a"), id, "ada").await.unwrap();

        // when
        assert_eq!(settle(&*queue, &running, verdict.clone()).await, Settled::Cancelled);

        // then
        let off = record(&*queue, "a", id).await;
        assert_eq!(off.status, Status::Cancelled, "{verdict:?}");
    }
}

pub(crate) async fn work_that_was_done_stays_done(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;
    queue.cancel(&tenant("a"), id, "ada").await.unwrap();

    // when
    settle(&*queue, &running, done()).await;

    // then
    assert_eq!(record(&*queue, "a", id).await.status, Status::Completed);
}

pub(crate) async fn a_cancel_comes_too_late_for_a_finished_job(adapter: &dyn Adapter) {
    let (queue, _) = adapter.open().await;
    let rows = [
        (done(), Status::Completed),
        (fail(), Status::Failed),
        (Verdict::Cancel, Status::Cancelled),
    ];
    for (verdict, status) in rows {
        // given
        let id = put(&*queue, "a", vec![job("l")]).await[0];
        let running = claim_one(&*queue).await;
        settle(&*queue, &running, verdict).await;
        let before = record(&*queue, "a", id).await;

        // when
        let cancelled = queue.cancel(&tenant("a"), id, "ada").await.unwrap();

        // then
        assert_eq!(cancelled, Cancelled::TooLate(status));
        assert_eq!(record(&*queue, "a", id).await, before);
    }
}

pub(crate) async fn a_stranger_cannot_touch_a_job(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let stranger = tenant("stranger");

    for id in [id, JobId::generate()] {
        // when, then it looks like a job that is not there
        assert_eq!(queue.job(&stranger, id).await.unwrap(), None);
        assert_eq!(queue.cancel(&stranger, id, "eve").await.unwrap(), Cancelled::Unknown);
        assert_eq!(queue.retry(&stranger, id).await.unwrap(), Changed::Unknown);
        assert_eq!(queue.discard(&stranger, id).await.unwrap(), Changed::Unknown);
    }
    assert_eq!(record(&*queue, "a", id).await.status, Status::Queued);
}

pub(crate) async fn a_paused_queue_gives_nothing(adapter: &dyn Adapter) {
    // given a queue that nobody knows, then one that a worker asked for
    let (queue, _) = adapter.open().await;
    let target = PauseTarget::Queue(QUEUE.into());
    assert_eq!(queue.pause(&target, true).await.unwrap(), Changed::Unknown);
    assert!(claim(&*queue, 1).await.is_empty());

    // when
    assert_eq!(queue.pause(&target, true).await.unwrap(), Changed::Done);
    assert_eq!(queue.pause(&target, true).await.unwrap(), Changed::NotApplicable);
    let id = put(&*queue, "a", vec![job("l")]).await;

    // then
    let none = claims(&*queue, 1).await;
    assert_eq!((none.jobs.len(), none.next_at), (0, None));
    assert_eq!(queue.pause(&target, false).await.unwrap(), Changed::Done);
    assert_eq!(ids(&claim(&*queue, 1).await), id);
}

pub(crate) async fn a_paused_lane_gives_nothing(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let held = put(&*queue, "a", vec![job("held")]).await;
    let free = put(&*queue, "a", vec![job("free")]).await;
    let target = PauseTarget::Lane(lane("a", "held"));

    // when
    assert_eq!(queue.pause(&target, true).await.unwrap(), Changed::Done);
    assert_eq!(queue.pause(&target, true).await.unwrap(), Changed::NotApplicable);
    let unknown = PauseTarget::Lane(lane("a", "unheard of"));
    assert_eq!(queue.pause(&unknown, true).await.unwrap(), Changed::Unknown);

    // then
    let claimed = claims(&*queue, 10).await;
    assert_eq!((ids(&claimed.jobs), claimed.next_at), (free, None));
    assert_eq!(queue.pause(&target, false).await.unwrap(), Changed::Done);
    assert_eq!(ids(&claim(&*queue, 10).await), held);
}

pub(crate) async fn a_lane_that_is_resumed_is_not_parked_any_more(adapter: &dyn Adapter) {
    // given a lane that somebody wished to be left alone
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await;
    let (until, reason) = (queue.now().plus(MINUTE), ParkReason::Snooze("it answered 503".into()));
    queue.park(&lane("a", "l"), until, &reason).await.unwrap();
    assert_eq!(claim(&*queue, 1).await.len(), 0);

    // when
    let target = PauseTarget::Lane(lane("a", "l"));
    assert_eq!(queue.pause(&target, false).await.unwrap(), Changed::Done);

    // then
    assert_eq!(ids(&claim(&*queue, 1).await), id);
    assert_eq!(queue.pause(&target, false).await.unwrap(), Changed::NotApplicable);
}

pub(crate) async fn a_parked_lane_gives_nothing_until_its_moment(adapter: &dyn Adapter) {
    // given a lane that is parked before its first job comes
    let (queue, clock) = adapter.open().await;
    let until = queue.now().plus(MINUTE);
    let reason = ParkReason::Snooze("the breaker is open".into());
    queue.park(&lane("a", "l"), until, &reason).await.unwrap();

    // when
    let id = put(&*queue, "a", vec![job("l")]).await;

    // then
    let none = claims(&*queue, 1).await;
    assert_eq!((none.jobs.len(), none.next_at), (0, Some(until)));
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(claim(&*queue, 1).await.is_empty());
    clock.advance(Duration::from_millis(1));
    assert_eq!(ids(&claim(&*queue, 1).await), id);
}

pub(crate) async fn the_longer_park_wins(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", jobs("l", 2)).await;
    let (start, of) = (queue.now(), lane("a", "l"));
    let reason = ParkReason::Snooze("why".into());

    // when
    for minutes in [2, 5, 1] {
        queue.park(&of, start.plus(MINUTE * minutes), &reason).await.unwrap();
    }

    // then
    assert_eq!(claims(&*queue, 1).await.next_at, Some(start.plus(MINUTE * 5)));

    // and once it is over, a shorter one holds again, while one of the past does nothing
    clock.advance(MINUTE * 5);
    queue.park(&of, start.plus(SECOND), &reason).await.unwrap();
    assert_eq!(claim(&*queue, 1).await.len(), 1);
    queue.park(&of, queue.now().plus(SECOND), &reason).await.unwrap();
    assert!(claim(&*queue, 1).await.is_empty());
    clock.advance(HOUR);
    assert_eq!(claim(&*queue, 1).await.len(), 1);
}
