//! Ends that are to be told: they are listed until somebody says that they were.

use jobs::contract::{JobId, Verdict};
use postrider::queue::{NewJob, Queue, Status};

use super::Adapter;
use crate::queue::jobs::{
    LEASE, SECOND, claim, claim_one, done, fail, job, put, record, retention, retry, settle, tenant,
};

/// A job whose end is told to endpoints `crm` and `log`.
fn told() -> NewJob {
    NewJob { callback: vec!["crm".into(), "log".into()], ..job("l") }
}

async fn untold(queue: &dyn Queue) -> Vec<JobId> {
    queue.untold(100).await.unwrap().iter().map(|job| job.id).collect()
}

pub(crate) async fn an_end_is_untold_until_it_was_told(adapter: &dyn Adapter) {
    // given a job whose end is told, one whose end is not, and one with a long payload
    let (queue, clock) = adapter.open().await;
    let long = NewJob { payload: format!("{{\"a\":\"{}\"}}", "x".repeat(5_000)).into(), ..told() };
    let all = put(&*queue, "a", vec![told(), job("l"), long]).await;
    assert_eq!(untold(&*queue).await, []);

    // when all of them complete
    let running = claim(&*queue, 3).await;
    assert_eq!(running.iter().map(|job| job.callback).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(untold(&*queue).await, []);
    for running in &running {
        settle(&*queue, running, done()).await;
        clock.advance(SECOND);
    }

    // then
    let listed = queue.untold(100).await.unwrap();
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [all[0], all[2]]);
    let first = record(&*queue, "a", all[0]).await;
    assert_eq!(listed[0], first);
    assert_eq!((first.status, first.callback), (Status::Completed, told().callback));

    // when
    queue.told(&tenant("a"), all[0], first.version).await.unwrap();

    // then
    assert_eq!(untold(&*queue).await, [all[2]]);
    assert_eq!(record(&*queue, "a", all[0]).await.version, first.version);
}

pub(crate) async fn every_end_is_to_be_told(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let mut ended = Vec::new();
    let next = async || put(&*queue, "a", vec![told()]).await[0];

    // when one fails,
    ended.push(next().await);
    settle(&*queue, &claim_one(&*queue).await, fail()).await;
    clock.advance(SECOND);
    // one is cancelled while it waits,
    ended.push(next().await);
    queue.cancel(&tenant("a"), ended[1], "ada").await.unwrap();
    clock.advance(SECOND);
    // one while it runs,
    ended.push(next().await);
    let running = claim_one(&*queue).await;
    queue.cancel(&tenant("a"), ended[2], "ada").await.unwrap();
    settle(&*queue, &running, retry(queue.now())).await;
    clock.advance(SECOND);
    // and one loses its workers,
    ended.push(next().await);
    for _ in 0..3 {
        assert_eq!(claim(&*queue, 1).await.len(), 1);
        clock.advance(LEASE);
        queue.rescue(10, 3).await.unwrap();
    }

    // then all of them are to be told, in the order in which they ended
    assert_eq!(untold(&*queue).await, ended);
    let statuses = [Status::Failed, Status::Cancelled, Status::Cancelled, Status::Failed];
    for (id, status) in ended.into_iter().zip(statuses) {
        let job = record(&*queue, "a", id).await;
        assert_eq!(job.status, status);
        queue.told(&tenant("a"), id, job.version).await.unwrap();
    }
    assert_eq!(untold(&*queue).await, []);
}

pub(crate) async fn an_end_that_is_over_is_not_told(adapter: &dyn Adapter) {
    // given a job that failed
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![told()]).await[0];
    settle(&*queue, &claim_one(&*queue).await, fail()).await;
    let first = record(&*queue, "a", id).await.version;

    // when it is retried, then it has no end,
    queue.retry(&tenant("a"), id).await.unwrap();
    assert_eq!(untold(&*queue).await, []);
    queue.told(&tenant("a"), id, first).await.unwrap();

    // and its next one is another: who tells late of the first does not hide it.
    settle(&*queue, &claim_one(&*queue).await, fail()).await;
    queue.told(&tenant("a"), id, first).await.unwrap();
    assert_eq!(untold(&*queue).await, [id]);

    // When it is told and the job is retried, then its third end is to be told again.
    let second = record(&*queue, "a", id).await.version;
    queue.told(&tenant("a"), id, second).await.unwrap();
    queue.retry(&tenant("a"), id).await.unwrap();
    settle(&*queue, &claim_one(&*queue).await, done()).await;
    assert_eq!(untold(&*queue).await, [id]);
}

pub(crate) async fn a_job_that_is_gone_has_no_end_to_tell(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", vec![told(), told()]).await;
    for running in claim(&*queue, 2).await {
        let completed = Verdict::Complete { result: "r".into(), skipped: None };
        settle(&*queue, &running, completed).await;
    }

    // when
    queue.discard(&tenant("a"), all[0]).await.unwrap();

    // then
    assert_eq!(untold(&*queue).await, [all[1]]);
    clock.advance(retention().completed);
    queue.prune(100, &retention()).await.unwrap();
    assert_eq!(untold(&*queue).await, []);
    queue.told(&tenant("a"), all[1], 1).await.unwrap();
}

pub(crate) async fn what_is_to_be_told_comes_in_bounded_pieces(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let mut ended = Vec::new();
    for number in 0..5 {
        let tenant = format!("t{number}");
        ended.push(put(&*queue, &tenant, vec![told()]).await[0]);
        settle(&*queue, &claim_one(&*queue).await, done()).await;
        clock.advance(SECOND);
    }

    // when, then each step gives some that are left
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let some = queue.untold(2).await.unwrap();
        assert!((1..=2).contains(&some.len()), "{some:?}");
        for job in some {
            queue.told(&job.tenant, job.id, job.version).await.unwrap();
            seen.push(job.id);
        }
    }
    seen.sort();
    ended.sort();
    assert_eq!(seen, ended);
    assert_eq!(untold(&*queue).await, []);
}
