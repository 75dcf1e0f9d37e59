//! The table of answers, the schedule, and what is announced.

use std::time::Duration;

use futures::executor::block_on;
use serde_json::json;

use super::super::judge::{Consequence, Facts, judge};
use super::{ENDPOINT, announced, context, fakes, job, payload, run};
use crate::contract::{
    Job, Moment, Scope, Stop,
    fakes::answer,
    ports::{
        Class, DeliveryState, EndpointStatus, Exchange, Format, RetryAfter, Timings, Unanswered,
    },
};

const NOW: Moment = Moment::from_millis(1_781_082_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn facts(attempt: u32) -> Facts {
    Facts { format: Format::Standard, now: NOW, attempt, max_attempts: 10, chance: 0.5 }
}

fn asking(status: u16, retry_after: RetryAfter) -> Exchange {
    let mut exchange = answer(status);
    if let Ok(answer) = &mut exchange.answer {
        answer.retry_after = Some(retry_after);
    }
    exchange
}

fn no_answer(class: Class) -> Exchange {
    let answer = Err(Unanswered { class, message: "words".into() });
    Exchange { answer, timings: Timings::default(), remote: None }
}

/// How long a retry waits, in seconds.
fn waits(exchange: &Exchange, facts: &Facts) -> u64 {
    match judge(exchange, facts).stop {
        Some(Stop::Retry { after: Some(after), .. }) => after.as_secs(),
        other => panic!("expected a retry, got {other:?}"),
    }
}

/// How long the lane is parked, in seconds.
fn parks(exchange: &Exchange) -> u64 {
    match judge(exchange, &facts(1)).stop {
        Some(Stop::Snooze { until, scope: Scope::Lane, .. }) => until.since(NOW).as_secs(),
        other => panic!("expected a parked lane, got {other:?}"),
    }
}

#[test]
fn every_answer_has_its_row() {
    for status in [200, 201, 202, 204, 299] {
        let Consequence { state, stop, .. } = judge(&answer(status), &facts(1));
        assert_eq!((state, stop), (DeliveryState::Delivered, None), "{status}");
    }
    for status in [101, 301, 302, 307, 400, 401, 403, 404, 408, 422, 500, 501, 599] {
        assert_eq!(waits(&answer(status), &facts(1)), 5, "{status}");
    }
    for status in [502, 504] {
        assert_eq!(waits(&answer(status), &facts(1)), 60, "{status}");
        assert_eq!(waits(&answer(status), &facts(2)), 300, "{status}");
    }
    for class in [Class::Dns, Class::Connect, Class::Tls, Class::Broken] {
        assert_eq!(waits(&no_answer(class), &facts(1)), 5, "{class:?}");
    }
    assert_eq!(waits(&no_answer(Class::Timeout), &facts(1)), 60);
    for class in [Class::BlockedAddress, Class::InvalidUrl] {
        let judged = judge(&no_answer(class), &facts(1));
        assert!(matches!(judged.stop, Some(Stop::Cancel { .. })), "{class:?}");
        assert_eq!((judged.state, judged.disable), (DeliveryState::Failed, None));
    }
    let gone = judge(&answer(410), &facts(1));
    assert!(gone.disable.is_some() && matches!(gone.stop, Some(Stop::Cancel { .. })));
}

#[test]
fn slack_has_rows_of_its_own() {
    let facts = Facts { format: Format::Slack, ..facts(1) };
    for status in [403, 404, 410] {
        assert!(judge(&answer(status), &facts).disable.is_some(), "{status}");
    }
    let refused = judge(&answer(400), &facts);
    assert!(refused.disable.is_none() && matches!(refused.stop, Some(Stop::Cancel { .. })));
    assert_eq!(waits(&answer(500), &facts), 5);
    assert!(judge(&answer(429), &facts).next_at.is_some());
}

#[test]
fn retry_after_parks_the_lane_and_is_never_undershot() {
    let day = 86_400;
    for status in [429, 503] {
        let ask = |wait| parks(&asking(status, wait));
        assert_eq!(parks(&answer(status)), 60);
        assert_eq!(ask(RetryAfter::For(Duration::from_secs(7))), 7);
        assert_eq!(ask(RetryAfter::For(Duration::from_secs(3 * day))), day);
        assert_eq!(ask(RetryAfter::Until(NOW.plus(MINUTE * 5))), 300);
        assert_eq!(ask(RetryAfter::Until(NOW.plus(Duration::from_secs(3 * day)))), day);
        // What is not in the future says nothing.
        assert_eq!(ask(RetryAfter::Until(NOW.minus(MINUTE))), 60);
        assert_eq!(ask(RetryAfter::For(Duration::ZERO)), 60);
    }
    // Elsewhere the delivery alone waits for it, or longer.
    let asked = asking(500, RetryAfter::For(MINUTE));
    assert_eq!(waits(&asked, &facts(1)), 60);
    assert_eq!(waits(&asked, &facts(2)), 300);
}

#[test]
fn the_schedule_is_ten_attempts_over_three_days_with_jitter() {
    let schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (attempt, expected) in (1..).zip(schedule) {
        assert_eq!(waits(&answer(500), &facts(attempt)), expected);
        for (chance, factor) in [(0.0, 0.8), (0.999_999, 1.2)] {
            let facts = Facts { chance, ..facts(attempt) };
            let Some(Stop::Retry { after: Some(after), .. }) = judge(&answer(500), &facts).stop
            else {
                panic!("a retry");
            };
            assert!((after.as_secs_f64() / expected as f64 - factor).abs() < 0.001);
        }
    }
    assert_eq!(schedule.iter().sum::<u64>(), 75 * 3_600 + 35 * 60 + 5);
    let last = judge(&answer(500), &facts(10));
    assert_eq!((last.state, last.next_at), (DeliveryState::Failed, None));
}

#[test]
fn a_parked_lane_spends_no_attempt_of_the_schedule() {
    let fakes = fakes();
    fakes.webhooks.next_status(429);
    let first = block_on(job(payload()).perform(&context(&fakes, 1, 1, 1)));
    assert!(matches!(first, Err(Stop::Snooze { scope: Scope::Lane, .. })), "{first:?}");
    // The attempt was given back: the next run is attempt 1 again, and request number 2.
    assert!(block_on(job(payload()).perform(&context(&fakes, 1, 2, 1))).is_ok());
    assert_eq!(fakes.webhooks.posts()[1].1, 2);
}

#[test]
fn failing_exhausted_and_recovered_are_announced_once_each() {
    let fakes = fakes();
    for attempt in 1..=10 {
        fakes.webhooks.next_status(500);
        assert!(matches!(run(&fakes, attempt, payload()), Err(Stop::Retry { .. })));
        let expected: &[&str] = match attempt {
            1..4 => &[],
            4..10 => &["message.attempt.failing"],
            _ => &["message.attempt.exhausted", "message.attempt.failing"],
        };
        assert_eq!(announced(&fakes), expected, "after attempt {attempt}");
    }
    let data = &fakes.follow_ups.all()[0].payload["data"];
    assert_eq!((&data["endpoint_id"], &data["attempts"]), (&json!(ENDPOINT), &json!(10)));
    assert_eq!(data["failure"], json!("server_error: the endpoint answered 500"));

    let fakes = self::fakes();
    for attempt in 1..=4 {
        fakes.webhooks.next_status(500);
        assert!(run(&fakes, attempt, payload()).is_err());
    }
    assert!(run(&fakes, 5, payload()).is_ok());
    assert_eq!(announced(&fakes), ["message.attempt.failing", "message.attempt.recovered"]);
}

#[test]
fn of_news_no_news_is_made() {
    let fakes = fakes();
    for attempt in 1..=10 {
        fakes.webhooks.next_status(500);
        let news = json!({"endpoint_id": ENDPOINT, "event": "endpoint.disabled", "data": {}});
        assert!(run(&fakes, attempt, news).is_err());
    }
    assert!(announced(&fakes).is_empty());
}

#[test]
fn an_endpoint_that_is_gone_is_disabled_and_gets_no_more() {
    let fakes = fakes();
    fakes.webhooks.next_status(410);
    assert!(matches!(run(&fakes, 1, payload()), Err(Stop::Cancel { .. })));
    let endpoint = fakes.endpoints.get(ENDPOINT).unwrap();
    assert!(matches!(endpoint.status, EndpointStatus::Disabled(_)));
    assert_eq!(announced(&fakes), ["endpoint.disabled"]);
    // What waits for it fails without a request, and stays in the log for a replay.
    let outcome = block_on(job(payload()).perform(&context(&fakes, 2, 1, 1)));
    let Err(Stop::Cancel { cause }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause.code, "endpoint_disabled");
    assert_eq!(fakes.webhooks.posts().len(), 1);
    assert!(fakes.deliveries.all().iter().all(|d| d.state == DeliveryState::Failed));
}
