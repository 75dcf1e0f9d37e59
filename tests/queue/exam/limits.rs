//! What lanes may draw on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jobs::contract::{JobId, Moment, Verdict};
use postrider::queue::{LanePolicy, Limit, NewJob, Queue, Settled, WaitingFor};

use super::Adapter;
use crate::queue::{
    clock::TestClock,
    jobs::{
        HOUR, MINUTE, SECOND, claim, claim_one, claims, done, ids, job, jobs, lane, limit, limited,
        put, record, retention, retry, settle, settle_with, tenant,
    },
};

pub(crate) async fn a_window_admits_its_count_and_parks_the_lane_until_the_next_permit(
    adapter: &dyn Adapter,
) {
    // given a lane with two permits a minute, drawn ten seconds apart
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", limited(jobs("l", 4), vec![limit("b", 2, MINUTE)])).await;
    let first_at = queue.now();
    assert_eq!(claim(&*queue, 1).await.len(), 1);
    clock.advance(SECOND * 10);
    let first = claims(&*queue, 10).await;
    assert_eq!(first.jobs.len(), 1);

    // then nothing more goes before the first permit is a minute old
    assert_eq!(first.next_at, Some(first_at.plus(MINUTE)));
    clock.advance(SECOND * 50 - Duration::from_millis(1));
    assert!(claim(&*queue, 10).await.is_empty());
    clock.advance(Duration::from_millis(1));
    let next = claims(&*queue, 10).await;
    assert_eq!(next.jobs.len(), 1);
    assert_eq!(next.next_at, Some(first_at.plus(SECOND * 70)));
}

/// Claims as much as it gets over `steps`, and answers when.
async fn drain(queue: &dyn Queue, clock: &TestClock, steps: &[u64]) -> Vec<Moment> {
    let mut taken = Vec::new();
    for step in steps {
        clock.advance(Duration::from_millis(*step));
        for job in claim(queue, 50).await {
            taken.push(queue.now());
            settle(queue, &job, done()).await;
        }
    }
    taken
}

pub(crate) async fn no_sliding_window_is_ever_overfull(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let limits = vec![limit("b", 5, SECOND), limit("b", 12, SECOND * 4)];
    put(&*queue, "a", limited(jobs("l", 100), limits)).await;

    // when claims come at uneven moments
    let steps: Vec<u64> = (0..120).map(|n| 37 + (n * 7_919) % 211).collect();
    let taken = drain(&*queue, &clock, &steps).await;

    // then
    for (count, window) in [(5, SECOND), (12, SECOND * 4)] {
        let mut inside = VecDeque::new();
        for at in &taken {
            inside.push_back(*at);
            while inside.front().is_some_and(|first: &Moment| first.plus(window) <= *at) {
                inside.pop_front();
            }
            assert!(inside.len() <= count, "{} permits in {window:?}", inside.len());
        }
    }
    // and the allowance was used: 12 every 4 s, for as long as this took
    let all: u64 = steps.iter().sum();
    assert!(taken.len() as u64 >= 12 * (all / 4_000), "{} in {all} ms", taken.len());
}

pub(crate) async fn all_windows_of_a_lane_must_admit(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let limits = vec![limit("b", 2, MINUTE), limit("b", 3, HOUR)];
    put(&*queue, "a", limited(jobs("l", 5), limits)).await;
    let start = queue.now();

    // when, then the short window holds first, then the long one
    assert_eq!(claim(&*queue, 10).await.len(), 2);
    clock.advance(MINUTE);
    let next = claims(&*queue, 10).await;
    assert_eq!(next.jobs.len(), 1);
    assert_eq!(next.next_at, Some(start.plus(HOUR)));
    clock.advance(HOUR - MINUTE);
    assert_eq!(claim(&*queue, 10).await.len(), 2);
}

pub(crate) async fn lanes_that_share_a_bucket_share_its_permits(adapter: &dyn Adapter) {
    // given two lanes of one tenant that share three permits, and another tenant's lane
    let (queue, _) = adapter.open().await;
    for lane in ["x", "y"] {
        put(&*queue, "a", limited(jobs(lane, 5), vec![limit("b", 3, MINUTE)])).await;
    }
    put(&*queue, "other", limited(jobs("x", 5), vec![limit("b", 3, MINUTE)])).await;

    // when
    let claimed = claim(&*queue, 50).await;

    // then
    let of = |name: &str| claimed.iter().filter(|c| c.tenant.as_str() == name).count();
    assert_eq!((of("a"), of("other")), (3, 3));
}

pub(crate) async fn hundreds_of_lanes_may_share_a_permit(adapter: &dyn Adapter) {
    // given hundreds of lanes that share one permit, and another tenant's job
    let (queue, clock) = adapter.open().await;
    let lanes = (0..350).map(|n| job(&format!("l{n}"))).collect();
    let crowd = put(&*queue, "a", limited(lanes, vec![limit("b", 1, MINUTE)])).await;
    let other = put(&*queue, "other", jobs("l", 1)).await;

    for minute in 0..2 {
        // when all is claimed that may be, by claims that look at some lanes each
        let (mut claimed, mut next_at) = (Vec::new(), None);
        for _ in 0..20 {
            let answer = claims(&*queue, 10).await;
            claimed.extend(ids(&answer.jobs));
            next_at = answer.next_at;
            if answer.jobs.is_empty() && next_at.is_none_or(|at| at > queue.now()) {
                break;
            }
        }

        // then one of the crowd was, and the others wait for the next permit
        let of = |all: &[JobId]| claimed.iter().filter(|id| all.contains(id)).count();
        assert_eq!((of(&crowd), of(&other)), (1, usize::from(minute == 0)));
        assert_eq!(next_at, Some(queue.now().plus(MINUTE)));
        clock.advance(MINUTE);
    }
}

pub(crate) async fn a_shared_limit_holds_over_tenants(adapter: &dyn Adapter) {
    // given three tenants whose lanes draw on one relay, two of them on a limit of their own as well
    let (queue, clock) = adapter.open().await;
    let relay = Limit { shared: true, ..limit("relay", 4, MINUTE) };
    let mut all = put(&*queue, "a", limited(jobs("l", 5), vec![relay.clone()])).await;
    for tenant in ["b", "c"] {
        let own = limit("relay", 1, MINUTE);
        all.extend(put(&*queue, tenant, limited(jobs("l", 5), vec![own, relay.clone()])).await);
    }
    assert!(queue.draw(&tenant("d"), &relay).await.unwrap().granted);

    // when
    let first = claim(&*queue, 50).await;

    // then what is claimed and what was drawn fill the window, and nothing shows of who was refused
    assert_eq!(first.len(), 3);
    assert!(claim(&*queue, 50).await.is_empty());
    assert!(!queue.draw(&tenant("d"), &relay).await.unwrap().granted);
    let refused = all.iter().find(|id| !ids(&first).contains(id)).unwrap();
    let of = if all[..5].contains(refused) { "a" } else { "b" };
    let refused = record(&*queue, of, *refused).await;
    assert_eq!((refused.attempt, refused.attempts.len()), (0, 0));
    assert_eq!(refused.started_at, None);
    assert_eq!(refused.waiting.unwrap().what, WaitingFor::Limit);

    // and the next window is used whole
    clock.advance(MINUTE);
    let next = claim(&*queue, 50).await;
    assert_eq!(next.len(), 4);
    for job in &next {
        assert_eq!((job.attempt, settle(&*queue, job, done()).await), (1, Settled::Done));
    }
}

pub(crate) async fn a_refund_gives_the_permit_back(adapter: &dyn Adapter) {
    // given a lane whose two permits are drawn
    let (queue, _) = adapter.open().await;
    put(&*queue, "a", limited(jobs("x", 2), vec![limit("b", 2, MINUTE)])).await;
    put(&*queue, "a", limited(jobs("y", 2), vec![limit("b", 2, MINUTE)])).await;
    let running = claim(&*queue, 10).await;
    assert_eq!(running.len(), 2);

    // when one run touched nothing
    settle_with(&*queue, &running[0], done(), true).await;
    settle_with(&*queue, &running[1], done(), false).await;

    // then one more may go, and no more
    assert_eq!(claim(&*queue, 10).await.len(), 1);
}

pub(crate) async fn a_refund_counts_for_a_window_that_is_made_wider_later(adapter: &dyn Adapter) {
    // given a permit that its window does not count any more, and that is given back then
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", limited(vec![job("x")], vec![limit("b", 2, SECOND * 10)])).await;
    let running = claim_one(&*queue).await;
    clock.advance(SECOND * 12);
    settle_with(&*queue, &running, done(), true).await;

    // when a wider window of the same bucket comes
    let id = put(&*queue, "a", limited(vec![job("y")], vec![limit("b", 1, MINUTE)])).await;

    // then it has room
    assert_eq!(ids(&claim(&*queue, 1).await), id);
}

pub(crate) async fn a_release_gives_the_permit_back(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", limited(vec![job("x")], vec![limit("b", 1, MINUTE)])).await;
    let running = claim_one(&*queue).await;

    // when
    settle(&*queue, &running, Verdict::Release).await;

    // then
    assert_eq!(ids(&claim(&*queue, 10).await), id);
}

pub(crate) async fn a_drawn_permit_counts_for_lanes_too(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let shared = limit("b", 2, MINUTE);
    put(&*queue, "a", limited(jobs("x", 2), vec![shared.clone()])).await;

    // when
    assert!(queue.draw(&tenant("a"), &shared).await.unwrap().granted);

    // then
    assert_eq!(claim(&*queue, 10).await.len(), 1);
    assert!(!queue.draw(&tenant("a"), &shared).await.unwrap().granted);
    assert!(queue.draw(&tenant("b"), &shared).await.unwrap().granted);
    clock.advance(MINUTE);
    assert_eq!(claim(&*queue, 10).await.len(), 1);
}

pub(crate) async fn a_draw_says_what_is_left_and_when(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let two = limit("key", 2, MINUTE);
    let start = queue.now();

    // when
    let first = queue.draw(&tenant("a"), &two).await.unwrap();
    clock.advance(SECOND);
    let second = queue.draw(&tenant("a"), &two).await.unwrap();
    clock.advance(SECOND);
    let third = queue.draw(&tenant("a"), &two).await.unwrap();

    // then
    let seen = [first, second, third].map(|d| (d.granted, d.remaining, d.reset_at));
    let empty_at = [start.plus(MINUTE), start.plus(SECOND * 61), start.plus(MINUTE)];
    assert_eq!(seen, [(true, 1, empty_at[0]), (true, 0, empty_at[1]), (false, 0, empty_at[2])]);
}

pub(crate) async fn in_flight_is_freed_by_settling(adapter: &dyn Adapter) {
    // given a lane of which two jobs may run at once
    let (queue, _) = adapter.open().await;
    let policy = Arc::new(LanePolicy { limits: Vec::new(), in_flight: Some(2) });
    let batch = jobs("l", 4).into_iter().map(|j| NewJob { policy: Arc::clone(&policy), ..j });
    put(&*queue, "a", batch.collect()).await;
    let first = claims(&*queue, 10).await;

    // then no moment is known at which another may run
    assert_eq!((first.jobs.len(), first.next_at), (2, None));
    assert!(claim(&*queue, 10).await.is_empty());

    // when one ends, and the other is put off
    settle(&*queue, &first.jobs[0], done()).await;
    assert_eq!(claim(&*queue, 10).await.len(), 1);
    settle(&*queue, &first.jobs[1], retry(queue.now().plus(HOUR))).await;

    // then
    assert_eq!(claim(&*queue, 10).await.len(), 1);
}

pub(crate) async fn a_new_policy_frees_or_holds_the_lane(adapter: &dyn Adapter) {
    // given a lane that a limit parked
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", limited(jobs("l", 9), vec![limit("b", 1, HOUR)])).await;
    assert_eq!(claim(&*queue, 10).await.len(), 1);
    clock.advance(SECOND);

    // when it is given more room
    let wider = LanePolicy { limits: vec![limit("b", 3, HOUR)], in_flight: None };
    queue.set_policy(&lane("a", "l"), &wider).await.unwrap();

    // then what was drawn before counts
    assert_eq!(claim(&*queue, 10).await.len(), 2);

    // and when it is given less, nothing goes until that admits a job
    let narrow = LanePolicy { limits: vec![limit("b", 1, MINUTE)], in_flight: None };
    queue.set_policy(&lane("a", "l"), &narrow).await.unwrap();
    let next = claims(&*queue, 10).await;
    assert_eq!((next.jobs.len(), next.next_at), (0, Some(queue.now().plus(MINUTE))));
}

pub(crate) async fn limits_outlive_the_jobs_that_drew_on_them(adapter: &dyn Adapter) {
    // given a permit whose job is done, pruned, and forgotten
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", limited(vec![job("l")], vec![limit("b", 1, HOUR * 4)])).await;
    let running = claim_one(&*queue).await;
    assert_eq!(settle(&*queue, &running, done()).await, Settled::Done);
    clock.advance(HOUR * 2);
    assert!(queue.prune(100, &retention()).await.unwrap() > 0);

    // when
    put(&*queue, "a", limited(vec![job("l")], vec![limit("b", 1, HOUR * 4)])).await;

    // then
    assert!(claim(&*queue, 1).await.is_empty());
    clock.advance(HOUR * 2);
    assert_eq!(claim(&*queue, 1).await.len(), 1);
}
