//! What comes over a connection when it is no well-behaved client that speaks.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    house::{ACME, House, answer, good},
    raw::{Raw, exchange, status},
};

fn post(body: &str, more: &str) -> String {
    format!(
        "POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

fn chunked(more: &str) -> String {
    format!(
        "POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n{more}\r\n"
    )
}

async fn hasty() -> House {
    House::with(|http| {
        http.header_timeout = Duration::from_millis(200);
        http.body_timeout = Duration::from_millis(200);
    })
    .await
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let house = House::open().await;
    let first = post(&good().to_string(), "");
    let middle = "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = post("{", "connection: close\r\n");

    let answers = exchange(&house, [&first, middle, &last].concat()).await;

    let statuses: Vec<u16> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| status(&answers[at..])).collect();
    assert_eq!(statuses, [202, 404, 400]);
    assert_eq!(house.queue.all().len(), 1);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let house = hasty().await;
    let began = Instant::now();
    for start in ["", "GET /jobs/x HT", "GET /jobs/x HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        assert_eq!(exchange(&house, start).await, "", "{start}");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused() {
    let house = hasty().await;
    let whole = post(&good().to_string(), "");
    for cut in [&whole[..whole.len() - 1], &chunked(""), &format!("{}5\r\n{{\"ty", chunked(""))] {
        let answer = exchange(&house, cut).await;
        assert_eq!(status(&answer), 408, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    }
    assert_eq!(house.queue.all(), []);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let house = House::open().await;
    let whole = post(&good().to_string(), "");
    let mut raw = Raw::to(&house).await;
    let answer = raw.say(&whole[..whole.len() - 5]).await.hush().await.rest().await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("\"code\":\"invalid_body\""), "{answer}");

    let answer = exchange(&house, format!("{}zz\r\n", chunked(""))).await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(house.queue.all(), []);
}

#[tokio::test]
async fn who_shuts_its_side_still_gets_its_answer() {
    let house = House::open().await;
    let mut raw = Raw::to(&house).await;
    let answer = raw.say(post(&good().to_string(), "")).await.hush().await.rest().await;
    assert_eq!(status(&answer), 202, "{answer}");

    // Also when the answer takes its time.
    let id = house.queue.all()[0].id;
    let get = format!(
        "GET /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         prefer: wait=1\r\n\r\n"
    );
    let mut raw = Raw::to(&house).await;
    let answer = raw.say(get).await.hush().await.rest().await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_body_too_large_is_refused_before_it_is_sent() {
    let house = House::open().await;
    let head = format!(
        "POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    );
    let answer = exchange(&house, head).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
}

#[tokio::test]
async fn a_body_too_large_is_refused_while_it_is_sent_and_the_answer_arrives() {
    let house = House::open().await;
    // Eight megabytes, all of them on the way before the answer is read.
    let chunk = format!("10000\r\n{}\r\n", "[".repeat(0x1_0000));
    let answer = exchange(&house, format!("{}{}0\r\n\r\n", chunked(""), chunk.repeat(128))).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains("\"code\":\"payload_too_large\""), "{answer}");

    let body = "x".repeat(8_000_000);
    let answer = exchange(&house, post(&body, "")).await;
    assert_eq!(status(&answer), 413, "{answer}");
}

#[tokio::test]
async fn chunks_are_as_good_as_a_length() {
    let house = House::open().await;
    let body = good().to_string();
    let (start, end) = body.split_at(10);
    let chunks = format!("a\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", end.len());
    let answer = exchange(&house, chunked("connection: close\r\n") + &chunks).await;
    assert_eq!(status(&answer), 202, "{answer}");
}

#[tokio::test]
async fn heads_that_are_too_large_or_wrong_are_refused() {
    let house = House::open().await;
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    for (head, expected) in [
        (format!("GET /jobs/x HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000)), 431),
        (format!("GET /jobs/x HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(70_000)), 431),
        ("NONSENSE\r\n\r\n".to_owned(), 400),
        ("GET /jobs/x HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        ("GET /jobs/x HTTP/1.1\r\nx: a\0b\r\n\r\n".to_owned(), 400),
        ("POST /jobs HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned(), 400),
        ("POST /jobs HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_owned(), 400),
    ] {
        let answer = exchange(&house, &head).await;
        let start = head.get(..60).unwrap_or(&head);
        assert_eq!(status(&answer), expected, "{start}: {answer}");
        assert!(answer.contains("\r\nx-request-id: req_"), "{start}: {answer}");
        assert!(answer.contains("\r\ncontent-type: application/problem+json"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], expected);
    }
    house.submitted().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_lead_nowhere() {
    let house = House::open().await;
    for path in [&b"/jobs/\xff\xfe"[..], b"/\xff", b"/jobs/%ff", b"/jobs/%00", b"/jobs/job_\x7f"] {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(path);
        request.extend_from_slice(
            b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ",
        );
        request.extend_from_slice(ACME.as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        let answer = exchange(&house, request).await;
        assert!([400, 404].contains(&status(&answer)), "{path:?}: {answer}");
    }
}

#[tokio::test]
async fn nothing_a_caller_says_becomes_a_header() {
    let house = House::open().await;
    let injected = "x\r\nset-cookie: a=b";
    let kind = serde_json::json!({"type": injected, "payload": {}});
    let problem = answer(house.post("/jobs", &kind), 422).await;
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("\\r\\n"));

    // A line folded into a value, and a request hidden behind a length, are what they look like.
    let more = "idempotency-key: a\r\n b\r\nconnection: close\r\n";
    let answer = exchange(&house, post(&good().to_string(), more)).await;
    assert!([400, 202].contains(&status(&answer)), "{answer}");
    assert!(!answer.contains("set-cookie"), "{answer}");
    let both = "transfer-encoding: chunked\r\nconnection: close\r\n";
    let hidden = exchange(&house, post("0\r\n\r\nGET /jobs HTTP/1.1\r\n\r\n", both)).await;
    assert!(hidden.matches("HTTP/1.1 ").count() == 1, "{hidden}");
}

#[tokio::test]
async fn idle_and_slow_connections_do_not_keep_others_out() {
    let house = House::open().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::to(&house).await;
        raw.say("POST /jobs HTTP/1.1\r\nhost: ").await;
        idle.push(raw);
    }
    let body: Value = answer(house.post("/jobs", &good()), 202).await;
    assert_eq!(body["data"]["status"], "queued");
}

#[tokio::test]
async fn silent_connections_make_room_where_all_places_are_taken() {
    // given callers that hold every place: one listens, one has been answered, the others say nothing
    let house = House::with(|http| http.connections = 50).await;
    let id = house.submitted().await;
    let mut listener = Raw::to(&house).await;
    let follow = format!(
        "GET /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    listener.say(follow).await.until("\"queued\"").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::to(&house).await;
        raw.say("POST /jobs HTTP/1.1\r\nhost: ").await;
        silent.push(raw);
    }

    // when others come, then each is served at once, long before a silent one runs out of patience
    let began = Instant::now();
    for _ in 0..60 {
        let answer = exchange(&house, post(&good().to_string(), "connection: close\r\n")).await;
        assert_eq!(status(&answer), 202, "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(silent[0].rest().await, "", "the oldest have left");

    // and who listens goes on listening
    house.queue.change(&id, |job| job.status = postrider::queue::Status::Completed);
    listener.until("\"completed\"").await;
}

#[tokio::test]
async fn who_comes_after_the_last_connection_is_served_when_an_answer_is_done() {
    let house = House::with(|http| http.connections = 1).await;
    let id = house.submitted().await;
    let mut first = Raw::to(&house).await;
    let wait = format!(
        "GET /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         prefer: wait=60\r\n\r\n"
    );
    let before = house.queue.reads();
    first.say(wait).await;
    crate::support::eventually("the first waits", || house.queue.reads() > before).await;
    let mut second = Raw::to(&house).await;
    second.say("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    // The first is still answered, and makes room then.
    house.queue.change(&id, |job| job.status = postrider::queue::Status::Completed);
    assert!(first.rest().await.contains("\"completed\""));
    assert_eq!(status(&second.rest().await), 404);
}

#[tokio::test]
async fn a_request_that_outlasts_its_grace_is_cut_off() {
    let house = House::with(|http| http.grace = Duration::from_millis(50)).await;
    let began = Instant::now();
    let mut raw = Raw::to(&house).await;
    let whole = post(&good().to_string(), "expect: 100-continue\r\n");
    let (head, _) = whole.split_at(whole.len() - 5);
    raw.say(head).await.until("100 Continue").await;

    house.stop.cancel();

    let queue = std::sync::Arc::clone(&house.queue);
    house.ended().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(queue.all(), []);
}
