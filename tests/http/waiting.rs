//! `Prefer: wait`.

use std::time::{Duration, Instant};

use futures::future::join_all;
use postrider::queue::Status;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    house::{House, answer, header, sent, soon},
    raw::Raw,
};
use crate::support::eventually;

fn asking(house: &House, id: &str, prefer: &str) -> reqwest::RequestBuilder {
    house.get(&format!("/jobs/{id}")).header("prefer", prefer)
}

/// Waits until somebody really waits: the job was read once for each of them, and no answer came.
async fn waited_for(house: &House, callers: usize) {
    eventually("the callers wait", || house.queue.reads() >= callers).await;
}

async fn status(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = response.json().await.unwrap();
    body["data"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_answer_comes_when_the_job_ends() {
    let house = House::open().await;
    let id = house.submitted().await;
    let began = Instant::now();

    let (response, ()) = tokio::join!(sent(asking(&house, &id, "wait=30")), async {
        waited_for(&house, 1).await;
        // What is not the end is not answered.
        house.queue.change(&id, |job| job.status = Status::Processing);
        waited_for(&house, 2).await;
        house.queue.change(&id, |job| {
            job.status = Status::Completed;
            job.result = Some(json!({"done": true}));
        });
    });

    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(header(&response, "preference-applied"), "wait=30");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"]["status"], "completed");
    assert_eq!(body["data"]["result"], json!({"done": true}));
}

#[tokio::test]
async fn the_answer_comes_when_the_wish_is_over() {
    let house = House::open().await;
    let id = house.submitted().await;
    let began = Instant::now();

    let response = sent(asking(&house, &id, "wait=1")).await;

    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(header(&response, "preference-applied"), "wait=1");
    assert_eq!(status(response).await, "queued");
}

#[tokio::test]
async fn a_final_job_is_answered_at_once() {
    let house = House::open().await;
    let id = house.submitted().await;
    house.queue.change(&id, |job| job.status = Status::Cancelled);
    let response = sent(asking(&house, &id, "wait=60")).await;
    assert_eq!(status(response).await, "cancelled");
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_passed_over() {
    let house = House::open().await;
    let id = house.submitted().await;
    for wish in ["wait=0", "wait=61", "wait=soon", "respond-async"] {
        let response = sent(asking(&house, &id, wish)).await;
        assert!(response.headers().get("preference-applied").is_none(), "{wish}");
        assert_eq!(status(response).await, "queued");
    }
}

#[tokio::test]
async fn a_deleted_job_is_unknown_to_who_waited_for_it() {
    let house = House::open().await;
    let id = house.submitted().await;
    let (problem, ()) = tokio::join!(answer(asking(&house, &id, "wait=60"), 404), async {
        waited_for(&house, 1).await;
        house.queue.forget(&id);
    });
    assert_eq!(problem["code"], "job_not_found");
}

#[tokio::test]
async fn who_comes_after_the_last_place_is_answered_at_once() {
    let house = House::with(|http| http.waiters = 2).await;
    let id = house.submitted().await;

    let waiting = join_all((0..2).map(|_| sent(asking(&house, &id, "wait=60"))));
    let (waited, ()) = tokio::join!(waiting, async {
        waited_for(&house, 2).await;
        let third = sent(asking(&house, &id, "wait=60")).await;
        assert!(third.headers().get("preference-applied").is_none());
        assert_eq!(status(third).await, "queued");
        house.queue.change(&id, |job| job.status = Status::Completed);
    });
    for response in waited {
        assert_eq!(status(response).await, "completed");
    }
    // The places are free again.
    let other = house.submitted().await;
    let response = sent(asking(&house, &other, "wait=1")).await;
    assert_eq!(header(&response, "preference-applied"), "wait=1");
}

#[tokio::test]
async fn who_hangs_up_gives_its_place_back() {
    let house = House::with(|http| http.waiters = 1).await;
    let id = house.submitted().await;
    for accept in ["application/json", "text/event-stream"] {
        let began = Instant::now();
        let mut raw = Raw::to(&house).await;
        let before = house.queue.reads();
        let ask = format!(
            "GET /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             prefer: wait=60\r\naccept: {accept}\r\n\r\n",
            super::house::ACME
        );
        raw.say(ask).await;
        eventually("it waits", || house.queue.reads() > before).await;
        drop(raw);
        crate::support::eventually_ok("its place is free", || async {
            let response = sent(asking(&house, &id, "wait=1")).await;
            response.headers().get("preference-applied").map(|_| ()).ok_or("it is not")
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn who_will_say_nothing_more_is_answered_with_what_there_is() {
    let house = House::open().await;
    let id = house.submitted().await;
    let began = Instant::now();
    let mut raw = Raw::to(&house).await;
    let ask = format!(
        "GET /jobs/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         prefer: wait=60\r\n\r\n",
        super::house::ACME
    );
    raw.say(ask).await.hush().await;
    let text = raw.rest().await;
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("\"queued\""), "{text}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn waiters_do_not_multiply_reads() {
    let house = House::with(|http| http.waiters = 1_000).await;
    let id = house.submitted().await;

    let waiting = join_all((0..200).map(|_| sent(asking(&house, &id, "wait=60"))));
    let (waited, (reads, took)) = tokio::join!(waiting, async {
        waited_for(&house, 200).await;
        let (before, began) = (house.queue.reads(), Instant::now());
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        for _ in 0..300 {
            ticks.tick().await;
            house.queue.stir();
        }
        let told = (house.queue.reads() - before, began.elapsed());
        house.queue.change(&id, |job| job.status = Status::Completed);
        told
    });

    // However many changes there are: one read of the job for all, and that at most every 20 ms.
    assert!(waited.iter().all(|response| response.status() == 200));
    let most = took.as_millis() / 20 + 2;
    assert!(reads as u128 <= most, "{reads} reads in {took:?}");
}

#[tokio::test]
async fn a_stop_answers_waiters_with_what_there_is() {
    let house = House::open().await;
    let id = house.submitted().await;
    let began = Instant::now();

    let (response, ()) = tokio::join!(sent(asking(&house, &id, "wait=60")), async {
        waited_for(&house, 1).await;
        house.stop.cancel();
    });

    assert_eq!(header(&response, "connection"), "close");
    assert_eq!(status(response).await, "queued");
    house.ended().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_lets_nobody_in() {
    let house = House::open().await;
    let mut idle = Raw::to(&house).await;
    idle.say("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.until("}").await;

    house.stop.cancel();

    assert_eq!(idle.rest().await, "");
    let address = house.address;
    house.ended().await;
    assert!(soon(tokio::net::TcpStream::connect(address)).await.is_err());
}
