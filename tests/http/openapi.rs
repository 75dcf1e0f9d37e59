//! The document that describes the interface, and whether the interface is what it describes.

use std::{fs, path::Path};

use jobs::contract::{Cause, Cursor, Moment};
use postrider::{
    http::openapi,
    queue::{AttemptRecord, Status, Waiting, WaitingFor},
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::house::{ACME, House, READER, SENDER, answer, sent};

fn document() -> Value {
    openapi::document(&jobs::catalogue())
}

async fn house() -> House {
    House::of(jobs::catalogue(), |_| {}).await
}

#[test]
fn the_committed_document_is_the_program_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = document();
    if std::env::var_os("POSTRIDER_TEST_UPDATE").is_some() {
        fs::write(&path, format!("{now:#}\n")).unwrap();
    }
    let committed: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let words = "openapi.json is old; POSTRIDER_TEST_UPDATE=1 makes this test write it";
    assert!(committed == now, "{words}");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_one() {
    fn walk(value: &Value, document: &Value) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        match value {
            Value::Object(members) => members.values().for_each(|member| walk(member, document)),
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        validator(&document, &json!({"$ref": format!("#/components/schemas/{name}")}));
    }
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let house = house().await;
    let served = answer(house.request(Method::GET, "/openapi.json"), 200).await;
    assert!(served == document());
}

/// A validator for a schema of the document.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut whole = json!({"allOf": [schema]});
    whole["components"] = document["components"].clone();
    jsonschema::draft202012::new(&whole).unwrap()
}

fn valid(document: &Value, schema: &Value, body: &Value) {
    let problems: Vec<_> =
        validator(document, schema).iter_errors(body).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}: {body}");
}

/// Asserts that an answer is one that the document tells of.
async fn told_of(document: &Value, path: &str, verb: &str, response: Response) {
    let status = response.status().as_u16().to_string();
    let mut told = &document["paths"][path][verb]["responses"][&status];
    if let Some(reference) = told.get("$ref").and_then(Value::as_str) {
        told = document.pointer(&reference[1..]).unwrap();
    }
    assert!(told.is_object(), "{status} of {verb} {path} is not told of");
    for (name, header) in told["headers"].as_object().into_iter().flatten() {
        let there = response.headers().contains_key(name);
        assert!(there || header["required"] != json!(true), "{name} of {status}");
    }
    let media = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    match media {
        None => assert_eq!(text, ""),
        Some(media) => {
            let media = media.split(';').next().unwrap();
            let schema = &told["content"][media]["schema"];
            assert!(schema.is_object(), "{media} of {status} of {verb} {path} is not told of");
            if media.ends_with("json") {
                valid(document, schema, &serde_json::from_str(&text).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn every_example_is_accepted() {
    let (house, document) = (house().await, document());
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let content = &operations["post"]["requestBody"]["content"]["application/json"];
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            valid(&document, &content["schema"], &example["value"]);
            let response = sent(house.post(path, &example["value"])).await;
            assert_eq!(response.status(), 202, "{name} of {path}: {:?}", response.text().await);
            let again = sent(house.post(path, &example["value"])).await;
            told_of(&document, path, "post", again).await;
            tried += 1;
        }
    }
    assert!(tried >= 3, "{tried}");
}

#[tokio::test]
async fn every_sort_of_answer_about_a_job_is_told_of() {
    let (house, document) = (house().await, document());
    let example = (jobs::catalogue().find("send").unwrap().example)();
    let job = answer(house.post("/jobs/send", &example), 202).await;
    let id = job["data"]["id"].as_str().unwrap().to_owned();
    let path = format!("/jobs/{id}");
    let told = async |request: RequestBuilder| {
        told_of(&document, "/jobs/{id}", "get", sent(request).await).await;
    };
    told(house.get(&path)).await;
    told(house.get(&path).header("accept", "text/html")).await;
    told(house.get(&path).header("if-none-match", "*")).await;
    told(house.get(&path).header("accept", "image/png")).await;
    told(house.get("/jobs/job_x")).await;
    told(house.request(Method::GET, &path)).await;
    told(house.request(Method::GET, &path).bearer_auth(SENDER)).await;
    for what in [WaitingFor::Turn, WaitingFor::Limit, WaitingFor::InFlight, WaitingFor::Snooze] {
        let reason = Some("words".to_owned());
        let until = Some(Moment::from_millis(1_781_082_900_000));
        house.queue.surround(&id, Waiting { what, reason, until });
        told(house.get(&path)).await;
    }
    house.queue.change(&id, |job| {
        job.status = Status::Failed;
        job.waiting = None;
        job.cursor = Cursor { processed: 1, failed: 1, total: 1, position: None };
        job.error = Some(Cause::new("x", "y"));
        job.started_at = Some(job.created_at);
        job.completed_at = Some(job.created_at);
        job.result = Some(json!({"a": [1]}));
        job.tags = vec!["q3".into()];
        job.attempts =
            ["completed", "retried", "snoozed", "failed", "cancelled", "released", "vanished"]
                .into_iter()
                .map(|outcome| AttemptRecord {
                    number: 1,
                    started_at: job.created_at,
                    ended_at: Some(job.created_at),
                    outcome: Some(outcome.into()),
                    error: Some(Cause::new("x", "y")),
                    worker: "w".into(),
                })
                .collect();
    });
    told(house.get(&path)).await;
    told(house.get(&path).header("accept", "text/event-stream")).await;
    house.queue.set_down(true);
    told(house.get(&path)).await;
}

#[tokio::test]
async fn every_refusal_of_a_submission_is_told_of() {
    let house =
        House::of(jobs::catalogue(), |http| http.rate_limit = "30/min".parse().unwrap()).await;
    let document = document();
    let told = async |request: RequestBuilder, status: u16| {
        let response = sent(request).await;
        assert_eq!(response.status(), status);
        told_of(&document, "/jobs", "post", response).await;
    };
    let raw = |body: &'static str| {
        let post = house.request(Method::POST, "/jobs").bearer_auth(ACME);
        post.header("content-type", "application/json").body(body)
    };
    let good =
        json!({"type": "send", "payload": (jobs::catalogue().find("send").unwrap().example)()});
    told(raw("{"), 400).await;
    told(raw("{}").header("idempotency-key", "a b"), 400).await;
    told(house.request(Method::POST, "/jobs").json(&good), 401).await;
    told(house.request(Method::POST, "/jobs").bearer_auth(READER).json(&good), 403).await;
    told(raw("{}").header("accept", "text/html"), 406).await;
    told(house.post("/jobs", &json!("x".repeat(300_000))), 413).await;
    told(house.request(Method::POST, "/jobs").bearer_auth(ACME).body("x"), 415).await;
    told(raw("{}"), 422).await;
    told(house.post("/jobs", &good).header("idempotency-key", "k"), 202).await;
    told(house.post("/jobs", &good).header("idempotency-key", "k"), 202).await;
    told(raw("{\"jobs\":[]}"), 422).await;
    while sent(raw("{}")).await.status() != 429 {}
    told(raw("{}"), 429).await;
    house.queue.set_down(true);
    told(raw("{}"), 503).await;
}
