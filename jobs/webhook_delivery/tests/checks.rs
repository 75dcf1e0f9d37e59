//! What is wrong with a payload.

use serde_json::{Value, json};

use super::super::{LARGEST_BODY, WebhookDelivery};
use super::{ENDPOINT, job, payload};
use crate::contract::{Job, LaneName};

fn problems(payload: Value) -> Vec<(String, &'static str)> {
    job(payload).check().into_iter().map(|p| (p.pointer, p.code)).collect()
}

#[test]
fn the_example_and_every_form_are_fine() {
    for good in [
        WebhookDelivery::example(),
        payload(),
        json!({"event": "a", "data": {}, "event_id": "e_1", "timestamp": "2026-06-10T09:00:00Z"}),
        json!({"endpoint_id": ENDPOINT, "replay": "dlv_1"}),
    ] {
        assert_eq!(problems(good.clone()), [], "{good}");
    }
}

#[test]
fn every_mistake_is_named() {
    for (wrong, at, code) in [
        (json!({}), "/event", "missing"),
        (json!({"event": "a"}), "/data", "missing"),
        (json!({"event": "A b", "data": {}}), "/event", "invalid_event"),
        (json!({"event": "a..b", "data": {}}), "/event", "invalid_event"),
        (json!({"event": "a".repeat(65), "data": {}}), "/event", "invalid_event"),
        (json!({"event": "a", "data": {}, "event_id": "a b"}), "/event_id", "invalid_name"),
        (json!({"event": "a", "data": {}, "event_id": "a\r\nb"}), "/event_id", "invalid_name"),
        (json!({"endpoint_id": "", "event": "a", "data": {}}), "/endpoint_id", "invalid_name"),
        (json!({"replay": "dlv_1"}), "/endpoint_id", "missing"),
        (json!({"endpoint_id": "x", "replay": "d", "event": "a"}), "/event", "not_with_replay"),
        (json!({"event": "a", "data": {"x": "x".repeat(LARGEST_BODY)}}), "/data", "too_large"),
    ] {
        let found = problems(wrong.clone());
        assert!(found.contains(&(at.to_owned(), code)), "{found:?}");
    }
}

#[test]
fn the_largest_body_is_admitted() {
    let around = job(json!({"event": "a", "data": {"x": ""}})).body(Default::default()).len();
    let data = "x".repeat(LARGEST_BODY - around);
    assert_eq!(problems(json!({"event": "a", "data": {"x": data}})), []);
    let more = format!("{data}x");
    assert_eq!(problems(json!({"event": "a", "data": {"x": more}})).len(), 1);
}

#[test]
fn a_delivery_waits_in_its_endpoint_s_lane() {
    assert_eq!(job(payload()).lane(), LaneName::endpoint(ENDPOINT));
    assert_eq!(job(WebhookDelivery::example()).lane(), LaneName::tenant());
}
