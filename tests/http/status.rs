//! `GET /jobs/<id>`.

use jobs::contract::{Cause, Cursor, Moment};
use postrider::queue::{AttemptRecord, Status, Waiting, WaitingFor};
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, answer, good, header, sent};

fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_job_is_shown_by_a_list_of_what_may_be_shown() {
    let house = House::open().await;
    let mut job = good();
    job["tags"] = json!(["q3"]);
    job["payload"]["text"] = json!("CANARY");
    let id = answer(house.post("/jobs", &job), 202).await["data"]["id"].clone();
    let id = id.as_str().unwrap();
    house.queue.change(id, |job| {
        job.status = Status::Processing;
        job.attempt = 1;
        job.cursor = Cursor { processed: 1, failed: 0, total: 2, position: Some("CANARY".into()) };
        job.started_at = Some(at("2026-06-10T09:00:01Z"));
        job.attempts = vec![AttemptRecord {
            number: 1,
            started_at: at("2026-06-10T09:00:01Z"),
            ended_at: None,
            outcome: None,
            error: None,
            worker: "CANARY".into(),
        }];
        job.cancelled_by = Some("CANARY".into());
    });

    let response = sent(house.get(&format!("/jobs/{id}"))).await;

    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "retry-after"), "1");
    assert_eq!(header(&response, "cache-control"), "private, no-cache");
    assert_eq!(header(&response, "vary"), "Accept, Authorization, Prefer");
    let request_id = header(&response, "x-request-id").to_owned();
    let text = response.text().await.unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "data": {
                "id": id, "type": "send", "status": "processing", "attempt": 1, "max_attempts": 3,
                "total_items": 2, "processed_items": 1, "failed_items": 0, "errors": [],
                "result": null, "waiting": null,
                "attempts": [{"number": 1, "started_at": "2026-06-10T09:00:01.000Z",
                              "ended_at": null, "outcome": null, "error": null}],
                "tags": ["q3"], "run_at": "2026-06-10T09:00:00.250Z",
                "created_at": "2026-06-10T09:00:00.250Z",
                "started_at": "2026-06-10T09:00:01.000Z", "completed_at": null
            },
            "meta": {"request_id": request_id}
        })
    );
}

#[tokio::test]
async fn a_waiting_job_says_for_what_and_until_when() {
    let house = House::open().await;
    let id = house.submitted().await;
    let path = format!("/jobs/{id}");
    let wait = |what, reason: Option<&str>, until: Option<Moment>| {
        let reason = reason.map(str::to_owned);
        house.queue.change(&id, |job| job.waiting = Some(Waiting { what, reason, until }));
    };

    wait(WaitingFor::Limit, Some("mailbox 40/h"), Some(at("2026-06-10T09:30:00Z")));
    let response = sent(house.get(&path)).await;
    assert_eq!(header(&response, "retry-after"), "5", "asking every second would be of no use");
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body["data"]["waiting"],
        json!({"for": "limit", "limit": "mailbox 40/h", "until": "2026-06-10T09:30:00.000Z"})
    );

    wait(WaitingFor::Snooze, Some("the window opens later"), Some(at("2026-06-10T09:00:03Z")));
    let response = sent(house.get(&path)).await;
    assert_eq!(header(&response, "retry-after"), "3");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"]["waiting"]["reason"], "the window opens later");

    wait(WaitingFor::Turn, None, None);
    let body = answer(house.get(&path), 200).await;
    assert_eq!(body["data"]["waiting"], json!({"for": "turn", "until": null}));
}

#[tokio::test]
async fn a_final_job_says_how_it_ended() {
    let house = House::open().await;
    let failed = house.submitted().await;
    house.queue.change(&failed, |job| {
        job.status = Status::Failed;
        job.error = Some(Cause::new("mailbox_full", "The mailbox is full."));
    });
    let skipped = house.submitted().await;
    house.queue.change(&skipped, |job| {
        job.status = Status::Completed;
        job.result = Some(Value::Null);
        job.skipped = Some("unsubscribed".into());
    });

    let response = sent(house.get(&format!("/jobs/{failed}"))).await;
    assert!(response.headers().get("retry-after").is_none(), "nothing more will happen");
    let body: Value = response.json().await.unwrap();
    let errors = json!([{"code": "mailbox_full", "message": "The mailbox is full."}]);
    assert_eq!(body["data"]["errors"], errors);

    let body = answer(house.get(&format!("/jobs/{skipped}")), 200).await;
    assert_eq!(body["data"]["result"], json!({"skipped": "unsubscribed"}));
}

#[tokio::test]
async fn a_job_that_is_tried_again_has_failed_of_nothing_yet() {
    let house = House::open().await;
    let id = house.submitted().await;
    house.queue.change(&id, |job| {
        job.status = Status::Scheduled;
        job.error = Some(Cause::new("lost", "The connection was lost."));
    });
    let body = answer(house.get(&format!("/jobs/{id}")), 200).await;
    assert_eq!(body["data"]["errors"], json!([]));
}

#[tokio::test]
async fn head_tells_the_same_without_the_body() {
    let house = House::open().await;
    let id = house.submitted().await;
    let path = format!("/jobs/{id}");
    let head = sent(house.request(Method::HEAD, &path).bearer_auth(super::house::ACME)).await;
    assert_eq!(head.status(), 200);
    let length: usize = header(&head, "content-length").parse().unwrap();
    assert_eq!(head.text().await.unwrap(), "");
    assert_eq!(sent(house.get(&path)).await.text().await.unwrap().len(), length);
}
