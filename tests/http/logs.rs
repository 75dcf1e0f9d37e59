//! What the log says of requests.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use postrider::telemetry::{LogConfig, LogFormat, subscriber};
use serde_json::{Value, json};

use super::{
    house::{ACME, House, header, sent},
    raw::Raw,
};

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes sure that the log hears of requests. A line that another test's thread is just about to say
/// for the first time is not heard by a log that begins in that moment, until the log insists.
async fn heard(house: &House, paper: &Paper) {
    for _ in 0..1_000 {
        tracing::callsite::rebuild_interest_cache();
        sent(house.get("/")).await;
        let mut said = paper.0.lock().unwrap();
        // The span and the line have a beginning each.
        let whole = String::from_utf8_lossy(&said).contains("req_");
        said.clear();
        if whole {
            return;
        }
    }
    panic!("the log hears nothing");
}

#[tokio::test]
async fn a_request_is_one_line_without_secrets() {
    // Given a log that is caught; the test and the façade share one thread.
    let paper = Paper::default();
    let config = LogConfig { level: "postrider=debug".into(), format: LogFormat::Json };
    let copy = paper.clone();
    let log = subscriber(&config, move || copy.clone(), false).unwrap();
    let _guard = tracing::subscriber::set_default(log);
    let house = House::open().await;
    heard(&house, &paper).await;

    // When a caller sends a secret in every place it has.
    let job = json!({"type": "send", "payload": {"to": {"email": "CANARY@b"}, "text": "CANARY"}});
    let request = house.post("/jobs?token=CANARY", &job).header("idempotency-key", "CANARY");
    let response = sent(request.header("x-canary", "CANARY")).await;
    let request_id = header(&response, "x-request-id").to_owned();
    sent(house.get("/CANARY").bearer_auth("prk_CANARY")).await;
    sent(house.request(reqwest::Method::GET, "/jobs/CANARY").bearer_auth("prk_CANARY")).await;

    // Then the log says what was done, and none of it.
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("CANARY") && !text.contains(ACME), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "a request was answered").collect();
    assert_eq!(answered.len(), 3, "{text}");
    let line = answered[0];
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["http.method"], "POST");
    assert_eq!(line["http.route"], "/jobs");
    assert_eq!(line["http.status"], 202);
    assert_eq!(line["tenant"], "acme");
    assert!(line["duration_ms"].is_u64(), "{line}");
    assert_eq!(line["span"]["request.id"], request_id);
    assert_eq!(answered[1]["http.route"], "none");
    assert_eq!((&answered[2]["http.status"], &answered[2]["tenant"]), (&json!(401), &Value::Null));
}

#[tokio::test]
async fn a_request_that_is_given_up_has_its_line() {
    let paper = Paper::default();
    let config = LogConfig { level: "postrider=info".into(), format: LogFormat::Json };
    let copy = paper.clone();
    let log = subscriber(&config, move || copy.clone(), false).unwrap();
    let _guard = tracing::subscriber::set_default(log);
    let house = House::open().await;
    heard(&house, &paper).await;

    // When a caller resets its connection in the middle of its body.
    let mut raw = Raw::to(&house).await;
    raw.say(format!(
        "POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\n\r\n{{"
    ))
    .await;
    let drawn = || house.keys.asked() > 0;
    crate::support::eventually("the request is under way", drawn).await;
    raw.reset();

    // Then the log says so, under the request's id.
    let line = || {
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.into_iter().find(|line| line["http.route"] == "/jobs")
    };
    crate::support::eventually("the line is there", || line().is_some()).await;
    let line = line().unwrap();
    assert!([499, 400].map(Value::from).contains(&line["http.status"]), "{line}");
    assert_eq!(line["tenant"], "acme");
    assert!(line["span"]["request.id"].as_str().unwrap().starts_with("req_"), "{line}");
}

#[tokio::test]
async fn a_wait_that_is_cut_by_a_stop_has_its_line() {
    let paper = Paper::default();
    let config = LogConfig { level: "postrider=info".into(), format: LogFormat::Json };
    let copy = paper.clone();
    let log = subscriber(&config, move || copy.clone(), false).unwrap();
    let _guard = tracing::subscriber::set_default(log);
    let house = House::with(|http| http.grace = std::time::Duration::from_millis(10)).await;
    heard(&house, &paper).await;

    // When the façade stops while a body does not arrive.
    let mut raw = Raw::to(&house).await;
    raw.say(format!(
        "POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\n\r\n{{"
    ))
    .await;
    crate::support::eventually("the request is under way", || house.keys.asked() > 0).await;
    house.stop.cancel();
    house.ended().await;

    // Then it was given up, and the log says so.
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["http.route"] == "/jobs").unwrap();
    assert_eq!(line["http.status"], 499, "{text}");
    assert_eq!(line["message"], "a request was given up before its answer");
    assert!(line["span"]["request.id"].as_str().unwrap().starts_with("req_"), "{line}");
}
