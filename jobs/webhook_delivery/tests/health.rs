//! The circuit, and endpoints that fail for too long.

use std::time::Duration;

use futures::executor::block_on;

use super::{ENDPOINT, announced, context, fakes, job, payload, run};
use crate::contract::{
    Job, Outcome, Scope, Stop,
    fakes::Fakes,
    ports::{EndpointStatus, Health},
};

/// A failed delivery of another job, after which the endpoint stands as `health` says.
fn fail(fakes: &Fakes, number: u128, health: Health) -> Outcome {
    fakes.deliveries.set_health(health);
    fakes.webhooks.next_status(500);
    block_on(job(payload()).perform(&context(fakes, number, 1, 1)))
}

fn recent(recent: u32, recent_failed: u32) -> Health {
    Health { failing_since: None, recent, recent_failed }
}

#[test]
fn the_circuit_opens_at_seventy_of_a_hundred_and_ten_attempts() {
    for (health, opens) in [
        (recent(9, 9), false),
        (recent(10, 6), false),
        (recent(10, 7), true),
        (recent(1_000, 699), false),
        (recent(1_000, 700), true),
    ] {
        let fakes = fakes();
        assert!(matches!(fail(&fakes, 1, health), Err(Stop::Retry { .. })));
        let until = fakes.endpoints.get(ENDPOINT).unwrap().circuit_until;
        let expected = opens.then(|| fakes.context(1, 1).now().plus(Duration::from_secs(30)));
        assert_eq!(until, expected, "{health:?}");
    }
}

#[test]
fn an_open_circuit_parks_the_lane_and_then_admits_one_probe() {
    // given an open circuit
    let fakes = fakes();
    assert!(fail(&fakes, 1, recent(10, 10)).is_err());
    let open_until = fakes.endpoints.get(ENDPOINT).unwrap().circuit_until.unwrap();
    // when a run comes while it rests, then the lane waits for its end, and nothing is sent
    let ctx = context(&fakes, 2, 1, 1);
    let outcome = block_on(job(payload()).perform(&ctx));
    let Err(Stop::Snooze { until, scope: Scope::Lane, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(until, open_until);
    assert!(ctx.has_touched_nothing());
    assert_eq!(fakes.webhooks.posts().len(), 1);
    // when the pause is over and another run has the probe, then this one looks again soon
    fakes.clock.advance(Duration::from_secs(30));
    let now = fakes.context(1, 1).now();
    let ports = fakes.ports();
    let dev = fakes.context(1, 1).tenant().clone();
    let lost = now.plus(Duration::from_secs(100));
    assert!(block_on(ports.endpoints.probe(&dev, ENDPOINT, now, lost)).unwrap());
    let outcome = block_on(job(payload()).perform(&context(&fakes, 2, 2, 1)));
    let Err(Stop::Snooze { until, scope: Scope::Lane, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(until, now.plus(Duration::from_secs(1)));
    assert_eq!(fakes.webhooks.posts().len(), 1);
    // when the probe was lost, then another is admitted; it fails, and the circuit rests again
    fakes.clock.advance(Duration::from_secs(100));
    assert!(matches!(fail(&fakes, 3, recent(1, 1)), Err(Stop::Retry { .. })));
    let again = fakes.context(1, 1).now().plus(Duration::from_secs(30));
    assert_eq!(fakes.endpoints.get(ENDPOINT).unwrap().circuit_until, Some(again));
}

#[test]
fn an_endpoint_that_fails_for_120_hours_is_disabled() {
    let hours = |n: u64| Duration::from_secs(n * 3_600);
    let fakes = fakes();
    let since = fakes.context(1, 1).now();
    let failing = Health { failing_since: Some(since), recent: 1, recent_failed: 1 };
    fakes.clock.advance(hours(120) - Duration::from_millis(1));
    assert!(fail(&fakes, 1, failing).is_err());
    assert!(announced(&fakes).is_empty());
    // when the clock gets there
    fakes.clock.advance(Duration::from_millis(1));
    assert!(fail(&fakes, 2, failing).is_err());
    // then it is disabled, and said once
    let status = fakes.endpoints.get(ENDPOINT).unwrap().status;
    assert!(matches!(status, EndpointStatus::Disabled(why) if why.contains("120 hours")));
    assert_eq!(announced(&fakes), ["endpoint.disabled"]);
    assert!(run(&fakes, 5, payload()).is_err());
    assert_eq!(announced(&fakes), ["endpoint.disabled"]);
}
