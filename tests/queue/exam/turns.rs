//! Whose turn it is.

use jobs::contract::LaneName;
use postrider::queue::{Claimed, NewJob, Priority};

use super::Adapter;
use crate::queue::jobs::{MINUTE, SECOND, claim, claim_one, claims, ids, job, jobs, put};

fn tenants(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|c| c.tenant.as_str()).collect()
}

fn lanes(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|c| c.lane.as_str().trim_start_matches("custom:")).collect()
}

pub(crate) async fn tenants_take_turns(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open_side_by_side().await;
    for (tenant, count) in [("a", 5), ("b", 1), ("c", 3)] {
        put(&*queue, tenant, jobs("l", count)).await;
    }

    // when
    let claimed = claim(&*queue, 9).await;

    // then
    assert_eq!(tenants(&claimed), ["a", "b", "c", "a", "c", "a", "c", "a", "a"]);
}

pub(crate) async fn lanes_of_a_tenant_take_turns(adapter: &dyn Adapter) {
    // given more lanes than an adapter is likely to read at once
    let (queue, _) = adapter.open().await;
    put(&*queue, "a", jobs("first", 3)).await;
    let names: Vec<String> = (0..20).map(|n| format!("l{n}")).collect();
    for name in &names {
        put(&*queue, "a", vec![job(name)]).await;
    }

    // when
    let claimed = claim(&*queue, 23).await;

    // then
    let mut expected = vec!["first"];
    expected.extend(names.iter().map(String::as_str));
    expected.extend(["first", "first"]);
    assert_eq!(lanes(&claimed), expected);
}

pub(crate) async fn the_last_of_many_lanes_gets_no_more_than_the_others(adapter: &dyn Adapter) {
    // given full lanes, one more than an adapter is likely to read at once
    let (queue, _) = adapter.open().await;
    for n in 0..9 {
        put(&*queue, "a", jobs(&format!("l{n}"), 40)).await;
    }

    // when
    let claimed = claim(&*queue, 31).await;

    // then each gave as many as it had turns
    let of = |n| lanes(&claimed).iter().filter(|lane| **lane == format!("l{n}")).count();
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(of), [4, 4, 4, 4, 3, 3, 3, 3, 3]);
}

pub(crate) async fn jobs_of_a_lane_run_by_priority_then_arrival(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let with = |priority| NewJob { priority, ..job("l") };
    let batch = [Priority::Low, Priority::Normal, Priority::High, Priority::Normal].map(with);
    let first = put(&*queue, "a", batch.into()).await;
    clock.advance(SECOND);
    let second = put(&*queue, "a", vec![with(Priority::High), with(Priority::Normal)]).await;

    // when
    let claimed = claim(&*queue, 10).await;

    // then
    let expected = [first[2], second[0], first[1], first[3], second[1], first[0]];
    assert_eq!(ids(&claimed), expected);
}

pub(crate) async fn turns_go_on_over_claims_and_processes(adapter: &dyn Adapter) {
    // given
    let (one, _) = adapter.open_side_by_side().await;
    let (two, _) = adapter.open_side_by_side().await;
    for tenant in ["a", "b", "c"] {
        put(&*one, tenant, [jobs("x", 2), jobs("y", 2)].concat()).await;
    }

    // when jobs are claimed one by one, by processes in turn
    let mut claimed = Vec::new();
    for round in 0..12 {
        let queue = if round % 2 == 0 { &one } else { &two };
        claimed.push(claim_one(&**queue).await);
    }

    // then
    assert_eq!(tenants(&claimed), ["a", "b", "c"].repeat(4));
    let expected = [["x"; 3], ["y"; 3], ["x"; 3], ["y"; 3]].concat();
    assert_eq!(lanes(&claimed), expected);
}

pub(crate) async fn one_job_is_not_delayed_by_a_tenant_with_many(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    for _ in 0..3 {
        put(&*queue, "many", jobs("l", 1_000)).await;
    }
    claim(&*queue, 100).await;
    let one = put(&*queue, "one", vec![job("l")]).await;

    // when
    let claimed = claim(&*queue, 2).await;

    // then
    assert!(ids(&claimed).contains(&one[0]));
}

pub(crate) async fn a_lone_lane_fills_a_whole_claim(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 100)).await;

    // when, then
    assert_eq!(ids(&claim(&*queue, 70).await), all[..70]);
    assert_eq!(ids(&claim(&*queue, 70).await), all[70..]);
    assert!(claim(&*queue, 70).await.is_empty());
}

pub(crate) async fn who_takes_many_takes_them_in_runs(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    for lane in ["x", "y"] {
        put(&*queue, "a", jobs(lane, 20)).await;
    }

    // when
    let claimed = claim(&*queue, 32).await;

    // then
    let expected = [["x"; 4], ["y"; 4]].concat().repeat(4);
    assert_eq!(lanes(&claimed), expected);
}

pub(crate) async fn later_jobs_compete_when_they_are_due(adapter: &dyn Adapter) {
    // given a later job of high priority, and jobs that wait already
    let (queue, clock) = adapter.open().await;
    let run_at = Some(queue.now().plus(MINUTE));
    let urgent = NewJob { run_at, priority: Priority::High, ..job("l") };
    let later = NewJob { run_at, lane: LaneName::custom("m"), ..job("l") };
    let put_off = put(&*queue, "a", vec![urgent, later]).await;
    let waiting = put(&*queue, "a", jobs("l", 3)).await;
    assert_eq!(ids(&claim(&*queue, 1).await), waiting[..1]);

    // when
    clock.advance(MINUTE);

    // then lanes take turns, and inside the lane the urgent one goes first
    let expected = [put_off[1], put_off[0], waiting[1], waiting[2]];
    let mut claimed = ids(&claim(&*queue, 10).await);
    claimed[..2].sort();
    let mut first = expected[..2].to_vec();
    first.sort();
    assert_eq!(claimed[..2], first);
    assert_eq!(claimed[2..], expected[2..]);
}

pub(crate) async fn hundreds_of_lanes_may_be_due_at_one_moment(adapter: &dyn Adapter) {
    // given more lanes than a claim wakes, whose jobs are due in one millisecond
    let (queue, clock) = adapter.open().await;
    let run_at = Some(queue.now().plus(MINUTE));
    let later = (0..250).map(|n| {
        let lane = LaneName::custom(&format!("l{n}"));
        NewJob { run_at, lane, ..job("l") }
    });
    let mut due = put(&*queue, "a", later.collect()).await;

    // when they are claimed at that moment
    clock.advance(MINUTE);
    let mut claimed = Vec::new();
    let mut rest = claims(&*queue, 100).await;
    while !rest.jobs.is_empty() {
        claimed.extend(ids(&rest.jobs));
        rest = claims(&*queue, 100).await;
    }

    // then each is, once, and nothing is left that claims would wait for
    due.sort();
    claimed.sort();
    assert_eq!(claimed, due);
    assert_eq!(rest.next_at, None);
}
