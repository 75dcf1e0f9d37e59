//! Deliveries end to end: signed, verified by somebody else, tried again, fanned out, called back.

use std::{collections::BTreeSet, time::Duration};

use jobs::contract::ports::DeliveryState;
use postrider::{
    intake::{JobRequest, Producer, Rejection},
    queue::Status,
};
use serde_json::json;

use super::house::{House, dev, event, verifies};
use crate::support::receiver::{Act, Receiver};

const CRM: &str =
    "[[endpoints]]\nid = \"crm\"\nurl = \"{receiver}/hook\"\nevents = [\"ticket.*\"]\n";

#[tokio::test]
async fn an_event_reaches_who_subscribed_and_an_independent_verifier_takes_it() {
    // Given
    let house = House::open().await;
    house
        .apply(&format!(
            "{CRM}headers = {{ Authorization = \"Bearer x\" }}\n\
             signature = {{ header = \"X-Warmy-Signature\", form = \"t={{timestamp}},v1={{hex}}\" }}\n\
             [[endpoints]]\nid = \"other\"\nurl = \"{{receiver}}/other\"\nevents = [\"call.ended\"]\n"
        ))
        .await;
    // When
    let id = house.submit(event("ticket.created", json!({"id": "t_1", "text": "ä\n\"<&"}))).await;
    // Then one delivery follows, and it gets there,
    let fanned = house.completed(id).await;
    let deliveries = fanned["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 1);
    let job = deliveries[0]["job_id"].as_str().unwrap().parse().unwrap();
    let result = house.completed(job).await;
    let got = house.receiver.requests(1).await.remove(0);
    assert_eq!(got.line, "POST /hook HTTP/1.1");
    // signed,
    let secret = house.secret("crm").await;
    assert!(verifies(secret.reveal(), &got));
    let mut forged = got.clone();
    forged.body.push(b' ');
    assert!(!verifies(secret.reveal(), &forged));
    // with everything that was promised beside it.
    assert_eq!(json!(got.header("webhook-id")), fanned["event_id"]);
    assert_eq!(json!(got.header("x-postrider-delivery")), result["delivery_id"]);
    assert_eq!(got.header("x-postrider-event"), "ticket.created");
    assert_eq!(got.header("x-postrider-attempt"), "1");
    assert_eq!(got.header("user-agent"), concat!("Postrider/", env!("CARGO_PKG_VERSION")));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("authorization"), "Bearer x");
    let timestamp = got.header("webhook-timestamp");
    assert!(got.header("x-warmy-signature").starts_with(&format!("t={timestamp},v1=")));
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["type"], "ticket.created");
    assert_eq!(body["data"], json!({"id": "t_1", "text": "ä\n\"<&"}));
    house.close().await;
}

#[tokio::test]
async fn it_is_tried_again_and_each_try_is_in_the_log() {
    // Given a receiver that wants to be left alone, then fails, and then accepts
    let house = House::open().await;
    house.apply(CRM).await;
    house.receiver.next([Act::retry_after(503, "1"), Act::status(500)]);
    // When
    let id = house.submit(json!({"endpoint_id": "crm", "event": "a", "data": {}})).await;
    house.completed(id).await;
    // Then it came three times, as the same message, signed anew each time,
    let got = house.receiver.got();
    assert_eq!(got.len(), 3);
    let secret = house.secret("crm").await;
    assert!(got.iter().all(|got| verifies(secret.reveal(), got)));
    let ids: BTreeSet<&str> = got.iter().map(|got| got.header("webhook-id")).collect();
    let bodies: BTreeSet<&[u8]> = got.iter().map(|got| got.body.as_slice()).collect();
    assert_eq!((ids.len(), bodies.len()), (1, 1));
    let moments: Vec<i64> =
        got.iter().map(|got| got.header("webhook-timestamp").parse().unwrap()).collect();
    assert!(moments.is_sorted() && moments[2] - moments[1] >= 4, "{moments:?}");
    // the log tells of each,
    let log = house.command(&["log", "crm"]).await;
    assert_eq!((&log[0]["state"], &log[0]["attempts"]), (&json!("delivered"), &json!(3)));
    let delivery = log[0]["id"].as_str().unwrap();
    let attempts = house.command(&["log", "crm", "--delivery", delivery]).await;
    let statuses: Vec<_> =
        attempts.as_array().unwrap().iter().map(|a| a["status"].clone()).collect();
    assert_eq!(statuses, [json!(503), json!(500), json!(200)]);
    assert!(attempts[0]["next_at"].is_string() && attempts[2]["next_at"].is_null());
    assert!(attempts[0]["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
    // and the parked lane spent no attempt of the job.
    let job = house.app.queue.job(&dev(), id).await.unwrap().unwrap();
    assert_eq!(job.attempt, 2);
    house.close().await;
}

#[tokio::test]
async fn retry_after_parks_the_whole_lane() {
    let house = House::open().await;
    house.apply(CRM).await;
    house.receiver.always(Act::retry_after(429, "3600"));
    // When many wait, and some are answered "too many"
    let delivery = |n: u32| json!({"endpoint_id": "crm", "event": "a", "data": {"n": n}});
    let ids = house.submit_all((0..50).map(delivery).collect()).await;
    house.receiver.requests(1).await;
    let last = house.until(ids[49], |job| job.waiting.as_ref().is_some_and(|w| w.until.is_some()));
    // Then all of them wait for that moment, and no more than were in flight were asked.
    let waiting = last.await.waiting.unwrap();
    assert!(waiting.reason.unwrap().contains("answered 429"));
    assert!(house.receiver.got().len() <= 5, "{}", house.receiver.got().len());
    let lane = house.lane("crm").await;
    assert!(lane.parked.is_some() && lane.waiting >= 45, "{lane:?}");
    house.close().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_others_are_told() {
    let house = House::open().await;
    house
        .apply(&format!(
            "{CRM}[[endpoints]]\nid = \"ops\"\nurl = \"{{receiver}}/ops\"\nevents = [\"endpoint.*\"]\n"
        ))
        .await;
    house.receiver.next([Act::status(410)]);
    // When
    let id = house.submit(json!({"endpoint_id": "crm", "event": "a", "data": {}})).await;
    // Then
    assert_eq!(house.ended(id).await.status, Status::Failed);
    let told = house.receiver.requests(2).await.remove(1);
    assert_eq!(told.line, "POST /ops HTTP/1.1");
    assert_eq!(told.header("x-postrider-event"), "endpoint.disabled");
    assert!(verifies(house.secret("ops").await.reveal(), &told));
    assert_eq!(house.command(&["show", "crm"]).await["state"], "disabled");
    // When it is enabled again and what failed is replayed, then it gets there under the same id.
    house.command(&["enable", "crm"]).await;
    let replayed = house.command(&["replay", "crm", "--since", "2026-01-01T00:00:00Z"]).await;
    assert_eq!(replayed["replayed"], 1);
    let got = house.receiver.requests(3).await;
    assert_eq!(got[2].header("webhook-id"), got[0].header("webhook-id"));
    assert_eq!(got[2].body, got[0].body);
    assert_eq!(got[2].header("x-postrider-attempt"), "2");
    house.close().await;
}

#[tokio::test]
async fn a_blocked_address_is_final_and_the_tenant_does_not_learn_it() {
    // Given an endpoint that was allowed when it was registered, and is not any more
    let house = House::open().await;
    house.apply(CRM).await;
    let moved = Receiver::on("127.0.0.2:0", None).await;
    let row = house.app.store.endpoint_row(&dev(), "crm").await.unwrap().unwrap();
    let mut settings = row.settings;
    settings.url = moved.url("/").into();
    let now = house.app.queue.now();
    house.app.store.apply(&dev(), &[], &[], &[settings], now).await.unwrap();
    // When
    let id = house.submit(json!({"endpoint_id": "crm", "event": "a", "data": {}})).await;
    // Then
    let job = house.ended(id).await;
    let error = job.error.unwrap();
    assert_eq!((job.status, error.code.as_ref()), (Status::Failed, "blocked_address"));
    assert!(!error.message.contains("127"), "{}", error.message);
    assert_eq!(moved.connections(), 0);
    let failed = Some(DeliveryState::Failed);
    let log = house.app.store.deliveries(&dev(), "crm", failed, 10).await.unwrap();
    let attempts = house.app.store.attempts(&dev(), "crm", &log[0].id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].remote.as_deref()), (1, None));
    house.close().await;
}

#[tokio::test]
async fn slack_gets_a_message_of_blocks() {
    let house = House::open().await;
    house.apply(&format!("{CRM}format = \"slack\"\n")).await;
    let id = house.submit(json!({"endpoint_id": "crm", "event": "a.b", "data": {"who": "<Ada>"}}));
    house.completed(id.await).await;
    let got = house.receiver.got().remove(0);
    let message: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(message["text"], "a.b");
    assert_eq!(message["blocks"][1]["fields"][0]["text"], "*who*\n&lt;Ada&gt;");
    // Its pace is one a second for each URL, whatever its own is.
    let lane = house.lane("crm").await;
    let labels: Vec<_> = lane.policy.limits.iter().map(|limit| limit.label.as_str()).collect();
    assert_eq!((labels, lane.policy.in_flight), (vec!["url 1/s"], Some(5)));
    house.close().await;
}

#[tokio::test]
async fn one_endpoint_that_hangs_holds_nobody_else_up() {
    // Given an endpoint that hangs, with a hundred deliveries, and a healthy one; six slots
    let house = House::with("[worker.concurrency_by_queue]\nwebhook-delivery = 6\n").await;
    let hanging = Receiver::start().await;
    hanging.always(Act::Hang);
    house
        .apply(&format!("{CRM}[[endpoints]]\nid = \"hangs\"\nurl = \"{}\"\n", hanging.url("/")))
        .await;
    let delivery = |id: &str, n: u32| json!({"endpoint_id": id, "event": "a", "data": {"n": n}});
    house.submit_all((0..100).map(|n| delivery("hangs", n)).collect()).await;
    hanging.requests(5).await;
    // When the healthy one's come after them, then all of them get there while the others hang.
    house.submit_all((0..100).map(|n| delivery("crm", n)).collect()).await;
    tokio::time::timeout(Duration::from_secs(14), house.receiver.requests(100)).await.unwrap();
    assert_eq!(hanging.got().len(), 5);
    // The hanging ones are not waited for.
    std::mem::forget(house);
}

#[tokio::test]
async fn a_job_s_end_is_told_to_the_endpoints_that_it_names() {
    // Given a mail that will be sent, and one that will not
    let house = House::open().await;
    house.apply(CRM).await;
    let mail = |account: &str| {
        let mut payload = (jobs::catalogue().find("send").unwrap().example)();
        payload["account"] = json!(account);
        let callback = vec!["crm".to_owned()];
        JobRequest { callback, ..JobRequest::new("send", payload) }
    };
    let sent = house.take_in(vec![mail("dev@example.com")]).await[0];
    // When
    house.completed(sent).await;
    let told = house.receiver.requests(1).await.remove(0);
    // Then
    assert_eq!(told.header("x-postrider-event"), "job.completed");
    let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(body["data"]["job_id"], json!(sent));
    assert_eq!(body["data"]["type"], "send");
    assert!(body["data"]["result"]["message_id"].is_string());
    // When a delivery fails for good that names another endpoint, then that one is told.
    let gone = "[[endpoints]]\nid = \"gone\"\nurl = \"{receiver}/gone\"\nevents = [\"x\"]\n";
    house.apply(gone).await;
    house.receiver.next([Act::status(410)]);
    let payload = json!({"endpoint_id": "gone", "event": "a", "data": {}});
    let request = JobRequest::new("webhook-delivery", payload);
    let failed = JobRequest { callback: vec!["crm".to_owned()], ..request };
    let failed = house.take_in(vec![failed]).await[0];
    let told = house.receiver.requests(3).await.remove(2);
    assert_eq!(told.header("x-postrider-event"), "job.failed");
    let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(body["data"]["job_id"], json!(failed));
    assert_eq!(body["data"]["error"]["code"], "gone");
    house.close().await;
}

#[tokio::test]
async fn a_callback_to_nowhere_is_refused() {
    let house = House::open().await;
    let payload = (jobs::catalogue().find("send").unwrap().example)();
    let request = JobRequest::new("send", payload);
    for (request, at) in [
        (JobRequest { callback: vec!["none".into()], ..request.clone() }, "/0/callback/0"),
        (JobRequest { callback: vec!["none".into(); 6], ..request }, "/0/callback"),
    ] {
        let now = house.app.queue.now();
        let (tenant, requests) = (dev(), vec![request]);
        let prepared = house.app.intake.prepare(&tenant, Producer::Caller, requests, "test", now);
        let Err(Rejection::Invalid(problems)) = prepared.await else { panic!("{at}") };
        assert!(problems.iter().any(|problem| problem.pointer == at), "{problems:?}");
    }
    house.close().await;
}
