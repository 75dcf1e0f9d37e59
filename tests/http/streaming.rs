//! `Accept: text/event-stream`.

use std::time::{Duration, Instant};

use futures::future::join_all;
use jobs::contract::{Cursor, Moment};
use postrider::queue::{Status, Waiting, WaitingFor};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{
    house::{ACME, GLOBEX, House, SENDER, answer, header, sent, soon},
    raw::Raw,
};

fn following(house: &House, id: &str) -> RequestBuilder {
    house.get(&format!("/jobs/{id}")).header("accept", "text/event-stream")
}

/// The events of an answer, one after the other.
struct Events {
    response: Response,
    text: String,
}

/// What a listener is told.
#[derive(Debug, PartialEq)]
enum Told {
    Job { id: String, data: Value },
    Other(String),
    End,
}

impl Events {
    async fn of(request: RequestBuilder) -> Self {
        let response = sent(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        Self { response, text: String::new() }
    }

    async fn next(&mut self) -> Told {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return told(&block);
            }
            match soon(self.response.chunk()).await.unwrap() {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return Told::End,
            }
        }
    }

    /// The status and the id of the next event about the job, comments passed over.
    async fn job(&mut self) -> (String, String) {
        loop {
            match self.next().await {
                Told::Job { id, data } => {
                    return (data["data"]["status"].as_str().unwrap().to_owned(), id);
                }
                Told::Other(text) if text.starts_with(':') => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn told(block: &str) -> Told {
    let lines: Vec<&str> = block.split('\n').collect();
    match lines[..] {
        ["event: job", id, data] => Told::Job {
            id: id.strip_prefix("id: ").unwrap().to_owned(),
            data: serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
        },
        _ => Told::Other(block.to_owned()),
    }
}

#[tokio::test]
async fn a_job_is_told_from_now_to_its_end() {
    let house = House::open().await;
    let id = house.submitted().await;

    let mut events = Events::of(following(&house, &id)).await;
    let Told::Job { data, .. } = events.next().await else { panic!("no event") };
    let mut asked = answer(house.get(&format!("/jobs/{id}")), 200).await;
    asked["meta"] = data["meta"].clone();
    assert_eq!(data, asked, "an event says what an answer says");
    assert_eq!(data["meta"]["request_id"], header(&events.response, "x-request-id"));
    assert_eq!(header(&events.response, "vary"), "Accept, Authorization, Prefer");

    house.queue.change(&id, |job| job.status = Status::Processing);
    assert_eq!(events.job().await.0, "processing");
    house.queue.change(&id, |job| job.cursor = Cursor { processed: 1, ..job.cursor.clone() });
    let Told::Job { data, .. } = events.next().await else { panic!("no event") };
    assert_eq!(data["data"]["processed_items"], 1);
    house.queue.change(&id, |job| job.status = Status::Completed);
    assert_eq!(events.job().await.0, "completed");
    assert_eq!(events.next().await, Told::End);
}

#[tokio::test]
async fn why_a_job_waits_is_news_though_its_record_is_the_same() {
    let house = House::open().await;
    let id = house.submitted().await;
    let mut events = Events::of(following(&house, &id)).await;
    let (_, first) = events.job().await;

    house.queue.surround(
        &id,
        Waiting {
            what: WaitingFor::Limit,
            reason: Some("mailbox 40/h".into()),
            until: Some(Moment::from_millis(1_781_082_900_000)),
        },
    );

    let Told::Job { id: second, data } = events.next().await else { panic!("no event") };
    assert_eq!(data["data"]["waiting"]["limit"], "mailbox 40/h");
    assert_ne!(first, second);
}

#[tokio::test]
async fn who_comes_back_hears_only_what_is_new() {
    let house = House::open().await;
    let id = house.submitted().await;
    let (_, last) = Events::of(following(&house, &id)).await.job().await;

    // Nothing is new: nothing is said but that the stream is alive.
    let mut events = Events::of(following(&house, &id).header("last-event-id", &last)).await;
    assert_eq!(events.next().await, Told::Other(": alive".into()));
    house.queue.change(&id, |job| job.status = Status::Failed);
    let (status, end) = events.job().await;
    assert_eq!(status, "failed");

    // Something is new: it is said at once, and the stream ends with the final state.
    let mut events = Events::of(following(&house, &id).header("last-event-id", &last)).await;
    assert_eq!(events.job().await, ("failed".to_owned(), end.clone()));
    assert_eq!(events.next().await, Told::End);

    // The end is known: a browser that gets 204 does not come back.
    let response = sent(following(&house, &id).header("last-event-id", &end)).await;
    assert_eq!(response.status(), 204);
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_alive() {
    let house = House::with(|http| http.stream_beat = Duration::from_millis(20)).await;
    let id = house.submitted().await;
    let mut events = Events::of(following(&house, &id)).await;
    events.job().await;
    for _ in 0..3 {
        assert_eq!(events.next().await, Told::Other(": alive".into()));
    }
}

#[tokio::test]
async fn a_stream_takes_a_place_and_gives_it_back() {
    let house = House::with(|http| http.waiters = 1).await;
    let id = house.submitted().await;
    let mut first = Events::of(following(&house, &id)).await;
    first.job().await;

    // Who finds no place hears how things are and when to ask again.
    let mut second = Events::of(following(&house, &id)).await;
    let Told::Other(text) = second.next().await else { panic!("it was given a place") };
    assert!(text.starts_with("retry: 5000\nevent: job\n"), "{text}");
    assert_eq!(second.next().await, Told::End);
    let wait = house.get(&format!("/jobs/{id}")).header("prefer", "wait=60");
    assert!(sent(wait).await.headers().get("preference-applied").is_none());
    // Another tenant has places of its own.
    let post = house.request(Method::POST, "/jobs").bearer_auth(GLOBEX);
    let theirs = answer(post.json(&super::house::good()), 202).await;
    let path = format!("/jobs/{}", theirs["data"]["id"].as_str().unwrap());
    let get = house.request(Method::GET, &path).bearer_auth(GLOBEX);
    let mut third = Events::of(get.header("accept", "text/event-stream")).await;
    third.job().await;
    house.queue.change(&id, |job| job.status = Status::Processing);
    first.job().await;

    // When the first one leaves, its place is free.
    drop(first);
    crate::support::eventually_ok("the place is free", || async {
        let mut events = Events::of(following(&house, &id)).await;
        match events.next().await {
            Told::Job { .. } => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let house = House::open().await;
    let id = house.submitted().await;
    let mut events = Events::of(following(&house, &id)).await;
    events.job().await;
    let began = Instant::now();
    house.stop.cancel();
    assert_eq!(events.next().await, Told::End);
    house.ended().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_revoked_key_hears_nothing_more() {
    let house = House::with(|http| {
        http.key_cache = Duration::ZERO;
        http.stream_beat = Duration::from_secs(300);
    })
    .await;
    let id = house.submitted().await;
    let mut events = Events::of(following(&house, &id)).await;
    events.job().await;
    let waiting = house.get(&format!("/jobs/{id}")).header("prefer", "wait=60");

    let (problem, ()) = tokio::join!(answer(waiting, 401), async {
        crate::support::eventually("both wait", || house.queue.reads() >= 2).await;
        house.keys.revoke(ACME);
        house.queue.change(&id, |job| {
            job.status = Status::Completed;
            job.result = Some(json!("CANARY"));
        });
    });

    assert_eq!(problem["code"], "unauthorized");
    assert_eq!(events.next().await, Told::End);
}

#[tokio::test]
async fn a_stream_is_closed_to_whom_an_answer_is_closed() {
    let house = House::open().await;
    let id = house.submitted().await;
    let ask = |key, id: &str| {
        let get = house.request(Method::GET, &format!("/jobs/{id}")).bearer_auth(key);
        get.header("accept", "text/event-stream")
    };
    let foreign = answer(ask(GLOBEX, &id), 404).await;
    let unknown = answer(ask(GLOBEX, "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404).await;
    assert_eq!(foreign["detail"], unknown["detail"]);
    answer(ask(SENDER, &id), 403).await;
    answer(ask("prk_no", &id), 401).await;
}

#[tokio::test]
async fn a_deleted_job_ends_its_streams() {
    let house = House::open().await;
    let id = house.submitted().await;
    let mut events = Events::of(following(&house, &id)).await;
    events.job().await;
    house.queue.forget(&id);
    assert_eq!(events.next().await, Told::End);
}

#[tokio::test]
async fn many_streams_cost_one_read_a_round() {
    let house = House::with(|http| http.waiters = 1_000).await;
    let id = house.submitted().await;
    let mut streams = join_all((0..100).map(|_| Events::of(following(&house, &id)))).await;
    for events in &mut streams {
        events.job().await;
    }
    let before = house.queue.reads();
    house.queue.change(&id, |job| job.status = Status::Completed);
    for events in &mut streams {
        assert_eq!(events.job().await.0, "completed");
        assert_eq!(events.next().await, Told::End);
    }
    let reads = house.queue.reads() - before;
    assert!(reads < 20, "{reads} reads for one change");
}

#[tokio::test]
async fn head_is_no_stream() {
    let house = House::open().await;
    let id = house.submitted().await;
    let mut raw = Raw::to(&house).await;
    let head = format!(
        "HEAD /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
         accept: text/event-stream\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n"
    );
    raw.say(head).await;
    // The next answer follows at once.
    let text = raw.until("route_not_found").await;
    assert!(text.starts_with("HTTP/1.1 200 OK") && !text.contains("event: job"), "{text}");
}
