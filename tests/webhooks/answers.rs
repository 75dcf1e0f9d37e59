//! The client against a receiver that behaves badly.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Class, Delivery, DeliveryState, Format, Post, RetryAfter, Webhooks},
};
use postrider::webhooks::{
    Address, Addresses, Client, Course, Deliverer, Guard, Resolver, SigningSecret, WebhooksConfig,
    signature,
};
use proptest::prelude::*;

use crate::support::{
    defaults,
    receiver::{Act, Got, Receiver},
};

/// Every name is this address.
pub(super) struct Everywhere(pub(super) IpAddr);

#[async_trait]
impl Resolver for Everywhere {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![self.0])
    }
}

/// The defaults, but for loopback, which is allowed, and deadlines that a test can wait for.
pub(super) fn config() -> WebhooksConfig {
    let mut config = defaults().webhooks;
    config.egress.allow_http = true;
    config.egress.allow_cidrs = vec!["127.0.0.1/32".parse().unwrap()];
    config.deadlines.total = Duration::from_millis(400);
    config
}

fn client(config: &WebhooksConfig) -> Client {
    let resolver = Arc::new(Everywhere("127.0.0.1".parse().unwrap()));
    Client::new(config, Guard::new(config, resolver)).unwrap()
}

pub(super) fn request() -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::POST);
    request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

async fn post(url: &str) -> Course {
    client(&config()).post("test", url, request()).await
}

fn class(course: Course) -> Class {
    course.answer.unwrap_err().class
}

#[tokio::test]
async fn statuses_and_retry_after_are_read_and_redirects_are_not_followed() {
    // Given a receiver that would redirect to another one
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let to = format!("Location: {}\r\n", elsewhere.url("/"));
    receiver.next([
        Act::Answer(200, String::new(), "thanks".into()),
        Act::Answer(301, to.clone(), String::new()),
        Act::Answer(307, to, String::new()),
        Act::status(410),
        Act::retry_after(429, "120"),
        Act::retry_after(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
        Act::retry_after(429, "tomorrow"),
        Act::status(500),
    ]);
    // When it is asked, over one client
    let (client, url) = (client(&config()), receiver.url("/hook?x=1"));
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(client.post("test", &url, request()).await.answer.unwrap());
    }
    // Then every answer is what it said, and nobody went elsewhere.
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 301, 307, 410, 429, 503, 429, 500]);
    assert_eq!(answers[0].body, b"thanks");
    assert_eq!(answers[4].retry_after, Some(RetryAfter::For(Duration::from_secs(120))));
    assert_eq!(
        answers[5].retry_after,
        Some(RetryAfter::Until("1994-11-06T08:49:37Z".parse().unwrap()))
    );
    assert_eq!(answers[6].retry_after, None);
    assert_eq!(elsewhere.connections(), 0);
    // And one connection was enough.
    assert_eq!(receiver.connections(), 1);
    let got = &receiver.got()[0];
    assert_eq!(got.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(got.header("host"), receiver.address.to_string());
}

#[tokio::test]
async fn whatever_takes_too_long_ends_at_the_deadline() {
    let receiver = Receiver::start().await;
    for act in [Act::Hang, Act::DripHead, Act::DripBody] {
        receiver.next([act.clone()]);
        let course = post(&receiver.url("/")).await;
        assert!(course.timings.total_ms >= 400, "{act:?}");
        assert!(course.remote.is_some() && course.timings.connect_ms.is_some(), "{act:?}");
        assert_eq!(class(course), Class::Timeout, "{act:?}");
    }
}

#[tokio::test]
async fn of_an_endless_or_packed_body_the_beginning_is_enough() {
    let receiver = Receiver::start().await;
    receiver.next([Act::Endless, Act::GzipBomb]);
    let answer = post(&receiver.url("/")).await.answer.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 16 << 10));
    // What is packed stays packed.
    let answer = post(&receiver.url("/")).await.answer.unwrap();
    assert_eq!(&answer.body[..3], &[0x1f, 0x8b, 8]);
    assert!(answer.body.len() < 11_000);
}

#[tokio::test]
async fn whatever_breaks_off_or_is_no_http_is_said_to_be_broken() {
    let receiver = Receiver::start().await;
    for act in [Act::CloseMidBody, Act::Close, Act::Nonsense, Act::HugeHead] {
        receiver.next([act.clone()]);
        assert_eq!(class(post(&receiver.url("/")).await), Class::Broken, "{act:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_dialled_again() {
    // Given a receiver that closes after each answer
    let receiver = Receiver::start().await;
    let client = client(&config());
    receiver.next([Act::status(200), Act::Close, Act::status(201)]);
    let url = receiver.url("/");
    // When the kept connection turns out to be closed, then another one is made.
    assert_eq!(client.post("test", &url, request()).await.answer.unwrap().status, 200);
    assert_eq!(client.post("test", &url, request()).await.answer.unwrap().status, 201);
    assert_eq!(receiver.connections(), 2);
    // Another endpoint's requests have connections of their own.
    client.post("other", &url, request()).await.answer.unwrap();
    assert_eq!(receiver.connections(), 3);
}

#[tokio::test]
async fn nobody_there_is_said_without_an_address() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/");
    drop(receiver);
    let unanswered = post(&url).await.answer.unwrap_err();
    assert_eq!(unanswered.class, Class::Connect);
    assert!(!unanswered.message.contains("127"), "{}", unanswered.message);
}

#[tokio::test]
async fn a_certificate_is_checked() {
    // Given a receiver with a certificate of its own, for one name
    let (receiver, pem) = Receiver::with_tls(&["hooks.example.org"]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let port = receiver.address.port();
    let (right, wrong) =
        (format!("https://hooks.example.org:{port}/"), format!("https://example.org:{port}/"));
    // When nobody vouches for it, then there is no trust;
    assert_eq!(class(post(&right).await), Class::Tls);
    // when somebody does, then there is, for that name only.
    let trusting = client(&WebhooksConfig { ca_file, ..config() });
    let answer = trusting.post("test", &right, request()).await.answer.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(class(trusting.post("test", &wrong, request()).await), Class::Tls);
    assert_eq!(receiver.got()[0].header("host"), format!("hooks.example.org:{port}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the data, what is sent is what was stored, byte for byte, and the signature is over it.
    #[test]
    fn signed_bytes_are_sent_bytes(
        event in "[a-z]{1,8}(\\.[a-z0-9_]{1,8}){0,2}",
        body in proptest::collection::vec(any::<u8>(), 0..2_000),
        seconds in 0_i64..4_000_000_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (got, secret, body) = runtime.block_on(sent(event, body, seconds));
        prop_assert_eq!(&got.body, &body);
        let id = got.header("webhook-id");
        let expected = signature(std::slice::from_ref(&secret), id, seconds, &body);
        prop_assert_eq!(got.header("webhook-signature"), expected);
        prop_assert_eq!(got.header("webhook-timestamp"), seconds.to_string());
    }
}

/// What a receiver gets of a delivery with this body, and by which secret it was signed.
async fn sent(event: String, body: Vec<u8>, seconds: i64) -> (Got, SigningSecret, Vec<u8>) {
    let receiver = Receiver::start().await;
    let secret = SigningSecret::generate();
    let address = Address {
        url: receiver.url("/").into(),
        format: Format::Standard,
        headers: BTreeMap::new(),
        secrets: vec![secret.clone()],
        second: None,
    };
    let deliverer = Deliverer::new(Arc::new(One(address)), client(&config()));
    let delivery = Delivery {
        id: "dlv_1".into(),
        endpoint: "crm".into(),
        message_id: "msg_1".into(),
        event,
        body: body.clone(),
        attempts: 1,
        state: DeliveryState::Waiting,
    };
    let at = Moment::from_millis(seconds * 1_000 + 999);
    let post = Post { delivery: &delivery, attempt: 1, at };
    let exchange = deliverer.post(&"dev".parse().unwrap(), &post).await.unwrap();
    assert_eq!(exchange.answer.unwrap().status, 200);
    (receiver.got().remove(0), secret, body)
}

/// One address for every endpoint.
struct One(Address);

#[async_trait]
impl Addresses for One {
    async fn address(&self, _: &TenantId, _: &str, _: Moment) -> Result<Option<Address>, Fault> {
        Ok(Some(self.0.clone()))
    }
}
