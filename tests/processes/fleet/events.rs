//! Events of a fleet: every endpoint that subscribed hears of each, whoever is killed on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use postrider::queue::{Inspect, JobFilter};
use serde_json::{Value, json};

use super::rig::Fleet;
use crate::support::receiver::{Act, Got, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// More than one step of a fan-out takes in at once.
const ENDPOINTS: usize = 60;
const EVENTS: usize = 6;
/// Rounds in which all workers are killed.
const KILLS: usize = 2;
const WORKERS: usize = 2;

/// A fleet that may deliver on loopback.
async fn found(further: &[(&str, &str)]) -> Fleet {
    let options = [
        ("WEBHOOKS__EGRESS__ALLOW_HTTP", "true"),
        ("WEBHOOKS__EGRESS__ALLOW_CIDRS", "127.0.0.0/8"),
    ];
    let mut fleet = Fleet::found(&[&options, further].concat()).await;
    fleet.schedulers.push(fleet.house.scheduler());
    fleet.man_the_doors().await;
    fleet
}

/// Endpoints of the receiver, each at a path of its own; every other one subscribed to something else,
/// too.
async fn subscribe(fleet: &Fleet, receiver: &Receiver, count: usize) {
    let mut text = String::new();
    for n in 0..count {
        let events = if n % 2 == 0 { "\"ticket.*\"" } else { "\"ticket.created\", \"call.ended\"" };
        let url = receiver.url(&format!("/e{n}"));
        writeln!(text, "[[endpoints]]\nid = \"e{n}\"\nurl = \"{url}\"").unwrap();
        writeln!(text, "events = [{events}]\nsecret = \"{SECRET}\"").unwrap();
    }
    let stranger = receiver.url("/stranger");
    writeln!(text, "[[endpoints]]\nid = \"stranger\"\nurl = \"{stranger}\"\nevents = [\"call.*\"]")
        .unwrap();
    let file = fleet.house.data().with_extension("endpoints.toml");
    std::fs::write(&file, text).unwrap();
    fleet.house.run(&["apply", file.to_str().unwrap()]).await;
}

async fn submit(fleet: &Fleet, count: usize) {
    let event = |n| json!({"event": "ticket.created", "data": {"n": n}});
    let job = |n| json!({"type": "webhook-delivery", "payload": event(n)});
    let jobs: Vec<Value> = (0..count).map(job).collect();
    let (status, _, answer) = fleet.submitter().once(None, &json!({"jobs": jobs})).await.unwrap();
    assert_eq!(status, 202, "{answer}");
}

fn verifies(got: &Got) -> bool {
    let mut headers = hyper::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, got.header(name).parse().unwrap());
    }
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&got.body, &headers).is_ok()
}

/// The endpoint that was called, and the number of the event.
fn of(got: &Got) -> (String, u64) {
    let path = got.line.split(' ').nth(1).unwrap().to_owned();
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    (path, body["data"]["n"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_hears_of_every_event_whoever_is_killed_on_the_way() {
    // given a façade, two workers and a scheduler, and a receiver that many subscribed with
    let mut fleet = found(&[]).await;
    let receiver = Receiver::start().await;
    subscribe(&fleet, &receiver, ENDPOINTS).await;
    fleet.workers = (0..WORKERS).map(|_| fleet.house.worker()).collect();
    // when events come, and all workers are killed while the first ones are on their way
    submit(&fleet, EVENTS).await;
    for kill in 1..=KILLS {
        receiver.requests(kill * ENDPOINTS).await;
        for worker in std::mem::take(&mut fleet.workers) {
            worker.kill().await;
        }
        fleet.workers = (0..WORKERS).map(|_| fleet.house.worker()).collect();
    }
    fleet.drained(Duration::from_secs(120)).await;
    // then every subscriber has every event, and nobody else has any
    let got = receiver.got();
    let mut heard: BTreeMap<(String, u64), Vec<&Got>> = BTreeMap::new();
    for got in &got {
        assert!(verifies(got), "{} of {}", got.header("webhook-id"), got.line);
        heard.entry(of(got)).or_default().push(got);
    }
    let expected: BTreeSet<(String, u64)> = (0..ENDPOINTS)
        .flat_map(|n| (0..EVENTS as u64).map(move |event| (format!("/e{n}"), event)))
        .collect();
    assert_eq!(heard.keys().cloned().collect::<BTreeSet<_>>(), expected);
    // and what came more than once is one delivery of one event
    let mut ids: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for ((path, event), copies) in &heard {
        let deliveries: BTreeSet<_> =
            copies.iter().map(|g| g.header("x-postrider-delivery")).collect();
        assert_eq!(deliveries.len(), 1, "{path} {event}: {deliveries:?}");
        ids.entry(*event).or_default().extend(copies.iter().map(|got| got.header("webhook-id")));
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    assert_eq!(ids.values().flatten().collect::<BTreeSet<_>>().len(), EVENTS);
    // and that was no walk: workers vanished under jobs.
    let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
    let jobs = fleet.queue().await.jobs(&filter).await.unwrap();
    assert_eq!(jobs.len(), EVENTS + EVENTS * ENDPOINTS);
    assert!(jobs.iter().any(|job| job.crashes > 0));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_not_used() {
    // given workers in whose environment every variable names a proxy
    let proxy = Receiver::start().await;
    proxy.always(Act::status(502));
    let mut fleet = found(&[]).await;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        fleet.house.environment(name, &proxy.url(""));
        fleet.house.environment(&name.to_lowercase(), &proxy.url(""));
    }
    fleet.house.environment("NO_PROXY", "");
    fleet.house.environment("no_proxy", "");
    let receiver = Receiver::start().await;
    subscribe(&fleet, &receiver, 3).await;
    fleet.workers.push(fleet.house.worker());
    // when
    submit(&fleet, 2).await;
    let got = receiver.requests(6).await;
    fleet.drained(Duration::from_secs(60)).await;
    // then
    assert!(got.iter().all(verifies));
    assert_eq!(proxy.connections(), 0);
    fleet.stop().await;
}
