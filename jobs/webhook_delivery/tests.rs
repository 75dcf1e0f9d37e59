//! Tests of `webhook-delivery`: its run with ports in memory, by a clock that is set by hand.

mod answers;
mod checks;
mod health;

use std::sync::Arc;

use futures::executor::block_on;
use serde_json::{Value, json};

use super::WebhookDelivery;
use crate::contract::{
    Context, Done, Job, JobId, Outcome, RunInfo, Stop,
    fakes::Fakes,
    ports::{DeliveryState, Format, Progress, Trigger},
};

const ENDPOINT: &str = "crm";

fn fakes() -> Fakes {
    let fakes = Fakes::default();
    fakes.endpoints.put(ENDPOINT, Format::Standard, &["ticket.*"]);
    fakes
}

fn payload() -> Value {
    json!({"endpoint_id": ENDPOINT, "event": "ticket.created", "data": {"b": 1, "a": "ä"}})
}

fn job(payload: Value) -> WebhookDelivery {
    serde_json::from_value(payload).unwrap()
}

/// Run number `fence` of job number `number`, whose schedule counts `attempt`.
fn context(fakes: &Fakes, number: u128, fence: u64, attempt: u32) -> Context {
    let info = RunInfo { attempt, max_attempts: 10, ..fakes.context(number, fence).info().clone() };
    let progress = Arc::clone(&fakes.progress) as Arc<dyn Progress>;
    Context::new(info, fakes.ports(), progress)
}

/// Run number `fence` of one job, each of whose runs was an attempt.
fn run(fakes: &Fakes, fence: u64, payload: Value) -> Outcome {
    let attempt = u32::try_from(fence).unwrap();
    block_on(job(payload).perform(&context(fakes, 1, fence, attempt)))
}

/// The events that were announced, in the order of their keys.
fn announced(fakes: &Fakes) -> Vec<String> {
    let event = |value: &Value| value["event"].as_str().unwrap().to_owned();
    fakes.follow_ups.all().iter().map(|job| event(&job.payload)).collect()
}

#[test]
fn an_event_is_delivered_as_the_bytes_that_are_written_down() {
    // given
    let fakes = fakes();
    // when
    let outcome = run(&fakes, 1, payload());
    // then
    let Ok(Done::Finished(result)) = outcome else { panic!("{outcome:?}") };
    let (delivery, attempt, at) = fakes.webhooks.posts().remove(0);
    let expected = r#"{"type":"ticket.created","timestamp":"2026-05-28T20:26:40.000Z","data":{"a":"ä","b":1}}"#;
    assert_eq!(std::str::from_utf8(&delivery.body).unwrap(), expected);
    assert_eq!((attempt, at.millis()), (1, 1_780_000_000_000));
    let id = JobId::from_u128(1);
    assert_eq!(result["delivery_id"], json!(id.with_prefix("dlv")));
    assert_eq!(result["event_id"], json!(id.with_prefix("msg")));
    let logged = fakes.deliveries.all().remove(0);
    assert_eq!((logged.state, logged.body), (DeliveryState::Delivered, delivery.body));
    assert!(announced(&fakes).is_empty());
}

#[test]
fn a_retry_is_the_same_message_with_another_number_and_moment() {
    let fakes = fakes();
    fakes.webhooks.next_status(500);
    assert!(matches!(run(&fakes, 1, payload()), Err(Stop::Retry { .. })));
    fakes.clock.advance(std::time::Duration::from_secs(60));
    assert!(run(&fakes, 2, payload()).is_ok());
    let posts = fakes.webhooks.posts();
    assert_eq!(posts[0].0.message_id, posts[1].0.message_id);
    assert_eq!(posts[0].0.body, posts[1].0.body);
    assert_eq!((posts[0].1, posts[1].1), (1, 2));
    assert_eq!(posts[1].2.since(posts[0].2).as_secs(), 60);
    let triggers: Vec<_> = fakes.deliveries.attempts().iter().map(|(_, a)| a.trigger).collect();
    assert_eq!(triggers, [Trigger::Scheduled; 2]);
}

#[test]
fn what_was_delivered_is_not_delivered_again_when_the_verdict_was_lost() {
    let fakes = fakes();
    assert!(run(&fakes, 1, payload()).is_ok());
    assert!(run(&fakes, 2, payload()).is_ok());
    assert_eq!(fakes.webhooks.posts().len(), 1);
}

#[test]
fn a_log_that_is_away_does_not_make_a_delivery_look_failed() {
    let fakes = fakes();
    fakes.deliveries.fail_writing(1_000);
    assert!(run(&fakes, 1, payload()).is_ok());
    fakes.deliveries.fail_writing(2);
    let other = json!({"endpoint_id": ENDPOINT, "event": "a", "data": {}, "event_id": "e1"});
    assert!(block_on(job(other).perform(&context(&fakes, 2, 1, 1))).is_ok());
    assert_eq!(fakes.deliveries.all().len(), 1);
}

#[test]
fn an_event_is_fanned_out_once_to_those_who_subscribed() {
    // given
    let fakes = fakes();
    fakes.endpoints.put("all", Format::Standard, &["*"]);
    fakes.endpoints.put("other", Format::Standard, &["call.ended"]);
    let event = json!({"event": "ticket.created", "data": {"id": 7}});
    // when the run is repeated, as after a crash before its verdict was stored
    let first = run(&fakes, 1, event.clone());
    let second = run(&fakes, 2, event);
    // then both say the same, and there is one delivery each
    let Ok(Done::Finished(result)) = &first else { panic!("{first:?}") };
    assert_eq!(first, second);
    assert_eq!(result["deliveries"].as_array().unwrap().len(), 2);
    let jobs = fakes.follow_ups.all();
    let endpoints: Vec<_> = jobs.iter().map(|job| &job.payload["endpoint_id"]).collect();
    assert_eq!(endpoints, [&json!("all"), &json!("crm")]);
    for job in &jobs {
        assert_eq!(job.payload["event_id"], result["event_id"]);
        assert_eq!(job.payload["timestamp"], json!("2026-05-28T20:26:40.000Z"));
        assert!(self::job(job.payload.clone()).check().is_empty());
    }
    assert!(fakes.webhooks.posts().is_empty());
}

#[test]
fn an_event_nobody_subscribed_to_is_skipped() {
    let outcome = run(&fakes(), 1, json!({"event": "call.ended", "data": {}}));
    assert!(matches!(outcome, Ok(Done::Skipped(_))), "{outcome:?}");
}

#[test]
fn a_replay_delivers_the_logged_bytes_under_the_same_id() {
    // given a delivery that failed for good
    let fakes = fakes();
    fakes.webhooks.next_status(410);
    assert!(matches!(run(&fakes, 1, payload()), Err(Stop::Cancel { .. })));
    fakes.endpoints.put(ENDPOINT, Format::Standard, &["*"]);
    fakes.clock.advance(std::time::Duration::from_secs(3_600));
    // when another job replays it
    let id = JobId::from_u128(1).with_prefix("dlv");
    let replay = json!({"endpoint_id": ENDPOINT, "replay": id});
    let outcome = block_on(job(replay).perform(&context(&fakes, 2, 1, 1)));
    // then
    assert!(outcome.is_ok(), "{outcome:?}");
    let posts = fakes.webhooks.posts();
    assert_eq!(posts[0].0.message_id, posts[1].0.message_id);
    assert_eq!(posts[0].0.body, posts[1].0.body);
    assert_eq!((posts[1].1, posts[1].2.since(posts[0].2).as_secs()), (2, 3_600));
    assert_eq!(fakes.deliveries.attempts()[1].1.trigger, Trigger::Replay);
    assert_eq!(fakes.deliveries.all()[0].state, DeliveryState::Delivered);
}

#[test]
fn a_replay_of_nothing_or_to_elsewhere_is_refused() {
    let fakes = fakes();
    assert!(run(&fakes, 1, payload()).is_ok());
    fakes.endpoints.put("other", Format::Standard, &["*"]);
    let id = JobId::from_u128(1).with_prefix("dlv");
    for replay in [
        json!({"endpoint_id": ENDPOINT, "replay": "dlv_none"}),
        json!({"endpoint_id": "other", "replay": id}),
    ] {
        let outcome = block_on(job(replay).perform(&context(&fakes, 2, 1, 1)));
        let Err(Stop::Cancel { cause }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(cause.code, "unknown_delivery");
    }
}
