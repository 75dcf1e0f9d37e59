//! `POST /jobs` and `POST /jobs/<type>`.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{ACME, House, answer, good, header, sent};

fn pointers(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|e| (e["pointer"].as_str().unwrap(), e["code"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn one_job_is_accepted_with_its_place() {
    let house = House::open().await;

    let response = sent(house.post("/jobs", &good())).await;

    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "content-type"), "application/json");
    let location = header(&response, "location").to_owned();
    let request_id = header(&response, "x-request-id").to_owned();
    let body: Value = response.json().await.unwrap();
    let id = body["data"]["id"].as_str().unwrap();
    assert_eq!(location, format!("/jobs/{id}"));
    assert_eq!(
        body,
        json!({
            "data": {"id": id, "type": "send", "status": "queued", "total_items": 1,
                     "created_at": "2026-06-10T09:00:00.250Z"},
            "meta": {"request_id": request_id}
        })
    );
    let kept = house.queue.all();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].request_id.as_str(), kept[0].tenant.as_str()), (&*request_id, "acme"));
}

#[tokio::test]
async fn the_envelope_is_heeded() {
    let house = House::open().await;
    let mut job = good();
    job["run_at"] = json!("2026-06-11T09:00:00+02:00");
    job["priority"] = json!("high");
    job["max_attempts"] = json!(2);
    job["tags"] = json!(["q3"]);
    job["lane"] = json!("nightly");

    let body = answer(house.post("/jobs", &job), 202).await;

    assert_eq!(body["data"]["status"], "scheduled");
    let kept = &house.queue.all()[0];
    assert_eq!(kept.run_at.to_string(), "2026-06-11T07:00:00.000Z");
    assert_eq!((kept.max_attempts, kept.lane.as_str()), (2, "custom:nightly"));
    assert_eq!(kept.tags, ["q3"]);
}

#[tokio::test]
async fn many_jobs_are_answered_in_their_order() {
    let house = House::open().await;
    let jobs: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "classify", "payload": {"n": n}, "tags": [format!("t{n}")]}))
        .collect();

    let response = sent(house.post("/jobs", &json!({"jobs": jobs}))).await;

    assert_eq!(response.status(), 202);
    assert!(response.headers().get("location").is_none(), "many jobs have no one place");
    let body: Value = response.json().await.unwrap();
    let data = body["data"].as_array().unwrap();
    assert_eq!(data.len(), 1_000);
    let by_id: std::collections::HashMap<_, _> =
        house.queue.all().into_iter().map(|job| (job.id.to_string(), job.tags)).collect();
    for (n, receipt) in data.iter().enumerate() {
        assert_eq!(by_id[receipt["id"].as_str().unwrap()], [format!("t{n}")]);
    }
}

#[tokio::test]
async fn a_list_of_one_is_answered_with_a_list() {
    let house = House::open().await;
    let body = answer(house.post("/jobs", &json!({"jobs": [good()]})), 202).await;
    assert_eq!(body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn many_jobs_are_accepted_all_or_none() {
    let house = House::open().await;
    let bad = json!({"type": "send", "payload": {"to": {"email": "nobody"}}});
    let batch = json!({"jobs": [good(), good(), good(), bad, {"type": "nap", "payload": {}}]});

    let problem = answer(house.post("/jobs", &batch), 422).await;

    assert_eq!(problem["code"], "validation_failed");
    assert_eq!(
        pointers(&problem),
        [("/jobs/3/payload/to/email", "invalid_email"), ("/jobs/4/type", "unknown_type")]
    );
    assert_eq!(house.queue.all(), []);
}

#[tokio::test]
async fn a_thousand_mistakes_are_told_in_few_words() {
    let house = House::open().await;
    let bad = json!({"type": "send", "payload": {"to": {"email": "nobody"}}});
    let problem = answer(house.post("/jobs", &json!({"jobs": vec![bad; 1_000]})), 422).await;
    assert_eq!(pointers(&problem).len(), 100);
    assert!(problem["detail"].as_str().unwrap().starts_with("1000 problems were found"));
}

#[tokio::test]
async fn the_short_form_takes_the_bare_payload() {
    let house = House::open().await;

    let payload = json!({"to": {"email": "ada@example.org"}});
    let body = answer(house.post("/jobs/send", &payload), 202).await;
    assert_eq!(body["data"]["type"], "send");

    let problem = answer(house.post("/jobs/send", &json!({"to": {"email": "x"}})), 422).await;
    assert_eq!(pointers(&problem), [("/to/email", "invalid_email")]);
    let problem = answer(house.post("/jobs/send", &good()), 422).await;
    assert_eq!(pointers(&problem), [("/payload", "invalid_payload")]);
}

#[tokio::test]
async fn a_former_name_is_understood() {
    let house = House::open().await;
    let payload = json!({"to": {"email": "ada@example.org"}});
    let body = answer(house.post("/jobs/email", &payload), 202).await;
    assert_eq!(body["data"]["type"], "send");
}

#[tokio::test]
async fn kinds_of_the_engine_are_as_unknown_as_any() {
    let house = House::open().await;
    for kind in ["inbox-sync", "nap"] {
        let long = json!({"type": kind, "payload": {}});
        let problem = answer(house.post("/jobs", &long), 422).await;
        assert_eq!(pointers(&problem), [("/type", "unknown_type")]);
        assert_eq!(
            problem["errors"][0]["message"],
            format!("there is no kind {kind:?}; the kinds are classify, send")
        );
        let problem = answer(house.post(&format!("/jobs/{kind}"), &json!({})), 422).await;
        assert_eq!(pointers(&problem), [("", "unknown_type")]);
    }
}

#[tokio::test]
async fn what_is_not_expected_is_pointed_at() {
    let house = House::open().await;
    for (body, pointer) in [
        (json!(null), ""),
        (json!(["send", {}]), ""),
        (json!({}), ""),
        (json!({"type": "send"}), ""),
        (json!({"type": "send", "payload": {"to": {"email": "a@b"}, "cc": 1}}), "/payload/cc"),
        (json!({"type": "send", "payload": {}, "id": "job_1"}), "/id"),
        (json!({"type": "send", "payload": {}, "priority": "urgent"}), "/priority"),
        (json!({"type": "send", "payload": {}, "run_at": "tomorrow"}), "/run_at"),
        (json!({"type": "classify", "payload": 1, "run_at": "2028-01-01T00:00:00Z"}), "/run_at"),
        (json!({"type": "classify", "payload": 1, "max_attempts": 0}), "/max_attempts"),
        (json!({"type": "classify", "payload": 1, "max_attempts": -1}), "/max_attempts"),
        (json!({"type": "classify", "payload": 1, "tags": ["a", "b c"]}), "/tags/1"),
        (json!({"type": "classify", "payload": 1, "lane": "x\r\ny"}), "/lane"),
        (json!({"jobs": []}), "/jobs"),
        (json!({"jobs": [good(), 1]}), "/jobs/1"),
        (json!({"jobs": [good()], "type": "send"}), "/type"),
    ] {
        let problem = answer(house.post("/jobs", &body), 422).await;
        assert_eq!(pointers(&problem)[0].0, pointer, "{body}: {problem}");
    }
    assert_eq!(house.queue.all(), []);
}

#[tokio::test]
async fn the_past_is_now() {
    let house = House::open().await;
    let mut job = good();
    job["run_at"] = json!("1999-01-01T00:00:00Z");
    let body = answer(house.post("/jobs", &job), 202).await;
    assert_eq!(body["data"]["status"], "queued");
}

#[tokio::test]
async fn a_job_that_is_there_already_is_answered_in_place_of_its_twin() {
    let house = House::open().await;
    let job = json!({"type": "send", "payload": {"to": {"email": "a@b"}, "only_one": "x"}});
    let first = answer(house.post("/jobs", &job), 202).await;
    let id = first["data"]["id"].as_str().unwrap();

    let response = sent(house.post("/jobs", &job)).await;

    assert_eq!(header(&response, "location"), format!("/jobs/{id}"));
    let second: Value = response.json().await.unwrap();
    assert_eq!(second["data"]["id"], id);
    assert_eq!(house.queue.all().len(), 1);
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused_with_the_place() {
    let house = House::open().await;
    let post = |bytes: Vec<u8>| {
        let request = house.request(Method::POST, "/jobs").bearer_auth(ACME);
        request.header("content-type", "application/json").body(bytes)
    };
    for (bytes, code, words) in [
        (b"".to_vec(), "invalid_json", "line 1 column 0"),
        (b"{\"type\":\"send\",".to_vec(), "invalid_json", "line 1 column 15"),
        (b"{} {}".to_vec(), "invalid_json", "trailing characters"),
        (b"{\"type\":\"send\",\"type\":\"send\"}".to_vec(), "invalid_json", "occurs twice"),
        (b"{\"type\":\"\xff\"}".to_vec(), "invalid_json", "byte 10"),
        (b"[".repeat(100_000), "json_too_deep", "deeper than 32 levels at byte 33"),
    ] {
        let problem = answer(post(bytes), 400).await;
        assert_eq!(problem["code"], code);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}

#[tokio::test]
async fn one_job_has_less_room_than_many() {
    let house = House::open().await;
    let padded = |size: usize| {
        let mut job = json!({"type": "classify", "payload": ""});
        let rest = size - job.to_string().len();
        job["payload"] = json!("x".repeat(rest));
        job
    };
    answer(house.post("/jobs", &padded(256 * 1_024)), 202).await;
    let problem = answer(house.post("/jobs", &padded(256 * 1_024 + 1)), 413).await;
    assert_eq!(problem["code"], "payload_too_large");

    let quarter = |size: usize| json!({"type": "classify", "payload": "x".repeat(size)});
    let batch = json!({"jobs": vec![quarter(200_000); 5]});
    answer(house.post("/jobs", &batch), 202).await;
    answer(house.post("/jobs/classify", &batch), 413).await;
    let batch = json!({"jobs": vec![quarter(200_000); 6]});
    answer(house.post("/jobs", &batch), 413).await;
}

#[tokio::test]
async fn only_json_is_taken_and_given() {
    let house = House::open().await;
    let post = || house.request(Method::POST, "/jobs").bearer_auth(ACME).body(good().to_string());
    let json = || post().header("content-type", "application/json; charset=utf-8");

    answer(post(), 415).await;
    answer(post().header("content-type", "text/plain"), 415).await;
    answer(json().header("content-encoding", "gzip"), 415).await;
    answer(json().header("accept", "text/html"), 406).await;
    answer(json().header("accept", "application/json;q=0, */*"), 406).await;
    answer(json().header("accept", "text/html, application/*;q=0.5"), 202).await;
    answer(json(), 202).await;
}
