//! What is promised of a queue as its callers and its server see it.

use std::{collections::BTreeSet, time::Duration};

use jobs::contract::Verdict;
use postrider::queue::{
    Enqueued, NewJob, PauseTarget, Priority, Queue, Submission,
    redis::{RedisConfig, RedisQueue},
};

use crate::{
    queue::{
        exam::Adapter,
        jobs::{
            MINUTE, QUEUE, claim, claim_one, done, idempotency, ids, job, jobs, limit, limited,
            put, settle, settle_with, submission,
        },
    },
    support::{
        defaults,
        redis::{Private, place},
    },
};

pub(crate) async fn priorities_snooze_limits_and_pause_hold_over_two_processes(
    adapter: &dyn Adapter,
) {
    // given two processes, and a lane whose limit admits two jobs
    let (one, clock) = adapter.open().await;
    let (two, _) = adapter.open().await;
    let bound = vec![limit("b", 2, MINUTE)];
    let urgent = NewJob { priority: Priority::High, ..job("l") };
    let usual = limited(jobs("l", 2), bound.clone());
    let urgent_id = urgent.id;
    put(&*one, "a", usual).await;
    put(&*two, "a", limited(vec![urgent], bound)).await;

    // then the urgent job is first, wherever it came in and whoever asks
    let first = claim_one(&*one).await;
    assert_eq!(first.lease.id, urgent_id);
    // and a snooze gives back what it drew, so that both others may go, and no more
    let until = one.now().plus(MINUTE);
    let snooze = Verdict::SnoozeJob { until, why: "not now".into() };
    settle_with(&*one, &first, snooze, true).await;
    assert_eq!(claim(&*two, 5).await.len(), 2);
    put(&*one, "a", jobs("l", 1)).await;
    assert!(claim(&*one, 5).await.is_empty());
    // and what one process pauses, the other does not get
    clock.advance(MINUTE);
    one.pause(&PauseTarget::Queue(QUEUE.into()), true).await.unwrap();
    assert!(claim(&*two, 5).await.is_empty());
    one.pause(&PauseTarget::Queue(QUEUE.into()), false).await.unwrap();
    assert_eq!(ids(&claim(&*two, 1).await), [urgent_id]);
}

#[tokio::test]
async fn a_submission_is_remembered_by_the_servers_own_clock() {
    // given a submission under a key
    let queue = RedisQueue::open(&place()).await.unwrap();
    let again = || Submission {
        idempotency: Some(idempotency("k", 1, "the answer")),
        ..submission("a", vec![job("l")])
    };
    assert!(matches!(queue.enqueue(again()).await.unwrap(), Enqueued::Fresh(_)));

    // when, then
    for _ in 0..3 {
        let answer = queue.enqueue(again()).await.unwrap();
        assert_eq!(answer, Enqueued::Replayed("the answer".into()));
    }
    assert_eq!(claim(&queue, 10).await.len(), 1);
}

#[test]
fn a_vanished_workers_jobs_are_free_within_half_a_minute_unless_told_otherwise() {
    let config = defaults();
    let noticed = config.worker.lease + config.scheduler.tick;
    assert!(noticed <= Duration::from_secs(30), "{noticed:?}");
}

#[tokio::test]
async fn every_key_of_a_shard_lies_in_one_slot() {
    // given a queue of four shards on a server of its own
    let server = Private::start(&[]).await;
    let config = RedisConfig { shards: 4, ..server.config() };
    let queue = RedisQueue::open(&config).await.unwrap();

    // when jobs of many tenants live all of a life
    for number in 0..20 {
        let tenant = format!("t{number}");
        put(&queue, &tenant, limited(jobs("l", 3), vec![limit("b", 100, MINUTE)])).await;
        let later = NewJob { run_at: Some(queue.now().plus(MINUTE)), ..job("m") };
        let unique = NewJob { unique: Some("u".into()), ..job("n") };
        let known = Submission {
            idempotency: Some(idempotency("k", 1, "the answer")),
            ..submission(&tenant, vec![later, unique])
        };
        queue.enqueue(known).await.unwrap();
    }
    for (number, claimed) in claim(&queue, 40).await.iter().enumerate() {
        let verdict = if number % 2 == 0 { done() } else { Verdict::Release };
        settle(&queue, claimed, verdict).await;
    }
    queue.rescue(10, 3).await.unwrap();
    queue.promote(10).await.unwrap();

    // then each key says in braces to which shard it belongs: a cluster goes by that alone
    let keys = server.keys().await;
    let tags: BTreeSet<&str> = keys
        .iter()
        .map(|key| {
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            tag.unwrap_or_else(|| panic!("{key} has no tag")).0
        })
        .collect();
    let shards: Vec<String> = (0..4).map(|n| format!("{}:{n}", config.prefix)).collect();
    assert_eq!(Vec::from_iter(tags), shards);
    assert!(keys.len() > 40, "{}", keys.len());
}
