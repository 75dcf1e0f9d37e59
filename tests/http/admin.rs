//! The admin listener.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use postrider::{
    http::{
        admin::{Admin, Check},
        listen,
    },
    queue::Queue,
    telemetry::metrics,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::house::{House, header, soon};

struct Office {
    base: String,
    store_down: Arc<AtomicBool>,
    draining: CancellationToken,
    client: reqwest::Client,
}

impl Office {
    async fn of(house: &House) -> Self {
        let store_down = Arc::new(AtomicBool::new(false));
        let draining = CancellationToken::new();
        let queue: Arc<dyn Queue> = Arc::<super::memory::Memory>::clone(&house.queue);
        let down = Arc::clone(&store_down);
        let store = Check::new("store", move || {
            let down = down.load(SeqCst);
            async move { if down { Err("postgres://secret-host refused".into()) } else { Ok(()) } }
        });
        let admin = Admin {
            checks: vec![Check::of_queue(&queue), store],
            queue,
            metrics: metrics::install(),
            draining: draining.clone(),
        };
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(admin.serve(listener, CancellationToken::new()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base, store_down, draining, client }
    }

    async fn ask(&self, method: Method, path: &str) -> Response {
        soon(self.client.request(method, format!("{}{path}", self.base)).send()).await.unwrap()
    }

    async fn ready(&self) -> (u16, Value) {
        let response = self.ask(Method::GET, "/readyz").await;
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let house = House::open().await;
    let office = Office::of(&house).await;

    let all = json!({"ready": true, "checks": {"queue": "ok", "store": "ok"}});
    assert_eq!(office.ready().await, (200, all));

    office.store_down.store(true, SeqCst);
    let store = json!({"ready": false, "checks": {"queue": "ok", "store": "failed"}});
    assert_eq!(office.ready().await, (503, store));

    house.queue.set_down(true);
    let both = json!({"ready": false, "checks": {"queue": "failed", "store": "failed"}});
    assert_eq!(office.ready().await, (503, both));
    assert_eq!(office.ask(Method::GET, "/healthz").await.status(), 200, "the process lives");
}

#[tokio::test]
async fn a_queue_that_lacks_something_is_ready_and_says_what() {
    // Given a queue that takes no more jobs, or has parts that are away: other processes help nobody
    let house = House::open().await;
    let office = Office::of(&house).await;
    house.queue.set_above_mark(true);

    // When, then
    let degraded = json!({
        "ready": true,
        "checks": {"queue": "degraded", "store": "ok"},
        "warnings": ["it takes no more jobs"],
    });
    assert_eq!(office.ready().await, (200, degraded));
    house.queue.set_above_mark(false);
    assert_eq!(office.ready().await.1["checks"]["queue"], "ok");
}

#[tokio::test]
async fn who_drains_is_not_ready() {
    let house = House::open().await;
    let office = Office::of(&house).await;
    office.draining.cancel();
    let (status, body) = office.ready().await;
    assert_eq!((status, &body["checks"]["draining"]), (503, &json!("failed")));
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let house = House::open().await;
    let office = Office::of(&house).await;
    house.submitted().await;
    super::house::sent(house.get("/jobs/x/y")).await;

    let response = office.ask(Method::GET, "/metrics").await;

    assert_eq!(header(&response, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    for line in [
        "# TYPE postrider_http_requests_total counter",
        "postrider_http_requests_total{method=\"POST\",route=\"/jobs\",status=\"202\"} ",
        "postrider_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} ",
        "postrider_http_request_duration_seconds_bucket{route=\"/jobs\",le=\"0.25\"} ",
        "postrider_jobs_submitted_total{kind=\"send\"} ",
        // The queue is this test's own, so that these are exact.
        "postrider_jobs{queue=\"send\",status=\"queued\"} 1\n",
        "postrider_jobs{queue=\"send\",status=\"failed\"} 0\n",
        "postrider_queue_paused{queue=\"send\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_told_while_the_queue_is_out_of_reach() {
    let house = House::open().await;
    let office = Office::of(&house).await;
    house.submitted().await;
    house.queue.set_down(true);
    let response = office.ask(Method::GET, "/metrics").await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    assert!(text.contains("postrider_http_requests_total") && !text.contains("postrider_jobs{"));
}

#[tokio::test]
async fn there_is_nothing_else() {
    let house = House::open().await;
    let office = Office::of(&house).await;
    assert_eq!(office.ask(Method::GET, "/jobs").await.status(), 404);
    assert_eq!(office.ask(Method::POST, "/metrics").await.status(), 405);
    assert_eq!(office.ask(Method::HEAD, "/healthz").await.status(), 200);
}
