//! Endpoints as operators see them: made, listed, tested, rotated; and their secrets.

use std::{sync::Arc, time::Duration};

use jobs::contract::{
    JobId,
    ports::{Clock, Deliveries, Delivery, DeliveryState},
};
use postrider::{
    app::Roles,
    clock::SystemClock,
    queue::{Cancelled, PauseTarget},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::house::{House, dev, event, verifies};
use crate::support::{eventually_ok, receiver::Act};

#[tokio::test]
async fn an_endpoint_is_made_tested_and_its_secret_rotated() {
    // Given
    let house = House::open().await;
    let url = house.receiver.url("/hook?token=canary-url");
    // When it is made, then its secret is shown
    let made = house.command(&["create", &url, "--id", "crm", "--event", "ticket.*"]).await;
    let first = made["secret"].as_str().unwrap().to_owned();
    // and never again, nor is its URL.
    let shown = house.command(&["show", "crm"]).await;
    let listed = house.command(&["list"]).await;
    for text in [shown.to_string(), listed.to_string()] {
        assert!(!text.contains(&first) && !text.contains("canary"), "{text}");
    }
    assert_eq!(shown["state"], "enabled");
    // When it is tested, then the test arrives.
    let job = house.command(&["test", "crm"]).await;
    house.completed(job["job"].as_str().unwrap().parse().unwrap()).await;
    let got = house.receiver.got().remove(0);
    assert_eq!(got.header("x-postrider-event"), "webhook.test");
    assert!(verifies(&first, &got));
    // When its secret is rotated, then both sign, the new one first.
    let rotated = house.command(&["rotate", "crm"]).await;
    let second = rotated["secret"].as_str().unwrap().to_owned();
    house.command(&["test", "crm"]).await;
    let got = house.receiver.requests(2).await.remove(1);
    assert!(verifies(&first, &got) && verifies(&second, &got));
    assert_eq!(got.header("webhook-signature").split(' ').count(), 2);
    // When it is rotated without grace, then the old ones are worth nothing.
    let third = house.command(&["rotate", "crm", "--grace", "0s"]).await;
    house.command(&["test", "crm"]).await;
    let got = house.receiver.requests(3).await.remove(2);
    assert!(verifies(third["secret"].as_str().unwrap(), &got));
    assert!(!verifies(&first, &got) && !verifies(&second, &got));
    house.close().await;
}

#[tokio::test]
async fn a_disabled_endpoint_gets_nothing() {
    let house = House::open().await;
    house.command(&["create", &house.receiver.url("/"), "--id", "crm"]).await;
    assert_eq!(house.command(&["disable", "crm"]).await["changed"], true);
    assert_eq!(house.command(&["disable", "crm"]).await["changed"], false);
    let job = house.submit(json!({"endpoint_id": "crm", "event": "a", "data": {}})).await;
    assert_eq!(house.ended(job).await.error.unwrap().code, "endpoint_disabled");
    let skipped = house.submit(json!({"event": "a", "data": {}})).await;
    assert!(house.ended(skipped).await.skipped.is_some());
    assert!(house.receiver.got().is_empty());
    house.close().await;
}

#[tokio::test]
async fn no_secret_is_in_an_answer_the_log_or_a_file() {
    // Given canaries in everything that an endpoint has, and a receiver that answers with what it got
    let house = House::open().await;
    let key = "canaryKEYcanaryKEYcanaryKEYcanary000";
    house
        .apply(&format!(
            "[[endpoints]]\nid = \"crm\"\nurl = \"{{receiver}}/canary-path?token=canary-token\"\n\
             secret = \"whsec_{key}\"\nheaders = {{ X-Token = \"canary-header\" }}\n"
        ))
        .await;
    house.receiver.always(Act::Echo);
    // When deliveries fail
    let id = house.submit(json!({"endpoint_id": "crm", "event": "a", "data": {"x": 1}})).await;
    let job = house.until(id, |job| job.error.is_some()).await;
    // Then what is told of them has no canary,
    let log = house.command(&["log", "crm"]).await;
    let delivery = log[0]["id"].as_str().unwrap().to_owned();
    let attempts = house.command(&["log", "crm", "--delivery", &delivery]).await;
    assert!(attempts[0]["words"].as_str().unwrap().contains("POST …"), "{attempts}");
    let shown = house.command(&["show", "crm"]).await;
    for text in [format!("{job:?}"), log.to_string(), attempts.to_string(), shown.to_string()] {
        assert!(!text.contains("canary"), "{text}");
    }
    // nor has any file of the queue or the store.
    let dir = house.close().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_none_or(|e| e != "toml") {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(6).any(|six| six == b"canary");
            assert!(!found, "a canary is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn the_log_hears_of_an_end_that_no_run_wrote_down() {
    // given two deliveries that were tried and wait, in a queue that stands still
    let house = House::with("[scheduler]\nprune_every = \"1s\"\n").await;
    house.command(&["create", &house.receiver.url("/"), "--id", "crm"]).await;
    let queue = PauseTarget::Queue("webhook-delivery".into());
    house.app.queue.pause(&queue, true).await.unwrap();
    let job = json!({"endpoint_id": "crm", "event": "a", "data": {}});
    let ids = house.submit_all(vec![job.clone(), job]).await;
    let tried = SystemClock.now().minus(Duration::from_secs(120));
    for id in &ids {
        let delivery = waiting(*id);
        let span = Duration::from_secs(300);
        house.app.store.record(&dev(), &delivery, None, span, tried).await.unwrap();
    }
    // when one of the jobs is cancelled, and a scheduler is at work
    let cancelled = house.app.queue.cancel(&dev(), ids[0], "test").await.unwrap();
    assert!(!matches!(cancelled, Cancelled::Unknown), "{cancelled:?}");
    let (stop, app) = (CancellationToken::new(), Arc::clone(&house.app));
    let until = stop.clone();
    let scheduler = tokio::spawn(async move {
        app.run_roles(Roles { scheduler: true, ..Roles::NONE }, until, |_| Ok(())).await.unwrap();
    });
    // then that delivery is one that failed, and can be replayed; the other one waits.
    let failed = eventually_ok("it is written down", || async {
        let state = Some(DeliveryState::Failed);
        let found = house.app.store.deliveries(&dev(), "crm", state, 10).await.unwrap();
        if found.is_empty() { Err("none failed") } else { Ok(found) }
    })
    .await;
    let names: Vec<_> = failed.iter().map(|delivery| delivery.id.as_str()).collect();
    assert_eq!(names, [waiting(ids[0]).id]);
    let found = Deliveries::find(&house.app.store, &dev(), &waiting(ids[1]).id).await.unwrap();
    assert_eq!(found.unwrap().state, DeliveryState::Waiting);
    let replayed = house.command(&["replay", "crm", "--since", &tried.to_string()]).await;
    assert_eq!(replayed["replayed"], 1);
    stop.cancel();
    scheduler.await.unwrap();
    house.close().await;
}

fn waiting(job: JobId) -> Delivery {
    Delivery {
        id: job.with_prefix("dlv"),
        endpoint: "crm".into(),
        message_id: "msg_1".into(),
        event: "a".into(),
        body: b"{}".to_vec(),
        attempts: 0,
        state: DeliveryState::Waiting,
    }
}

#[tokio::test]
async fn an_endpoint_that_hears_of_deliveries_hears_of_one_that_is_final_at_once() {
    // given a Slack endpoint that refuses a message, and one that wants to know
    let house = House::open().await;
    let (url, news) = (house.receiver.url("/services/x"), house.receiver.url("/news"));
    let slack = format!("[[endpoints]]\nid = \"slack\"\nurl = \"{url}\"\nformat = \"slack\"\n");
    house.apply(&format!("{slack}events = [\"a\"]\n")).await;
    house.command(&["create", &news, "--id", "news", "--event", "message.attempt.*"]).await;
    house.receiver.always(Act::Answer(400, String::new(), "invalid_blocks".into()));
    // when
    house.completed(house.submit(event("a", json!({}))).await).await;
    // then
    let got = house.receiver.requests(2).await;
    let news = got.iter().find(|got| got.line.contains("/news")).expect("it is told");
    assert_eq!(news.header("x-postrider-event"), "message.attempt.exhausted");
    house.close().await;
}
