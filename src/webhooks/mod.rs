//! Webhooks: signing, and requests that reach endpoints and nothing else.

mod client;
mod confidential;
mod config;
mod egress;
pub mod headers;
mod keep;
mod secret;
mod sign;
mod slack;
mod target;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT},
};
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Answer, Class, Exchange, Format, Post, Timings, Unanswered, Webhooks},
};
use secrecy::{ExposeSecret, SecretString};

pub use self::{
    client::{Client, Course, Raw},
    config::{DeadlinesConfig, EgressConfig, WebhooksConfig},
    egress::Egress,
    secret::SigningSecret,
    sign::{Over, SecondSignature, signature},
    target::{Guard, Resolver, SystemResolver, Target},
};

/// How much of an answer's body is kept in the log, in bytes.
const EXCERPT: usize = 2 << 10;

/// Where an endpoint is, and how requests to it are signed.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its URL; may be a credential.
    pub url: SecretString,
    /// In which form it wants events.
    pub format: Format,
    /// Further headers.
    pub headers: BTreeMap<String, SecretString>,
    /// The secrets that sign, the current one first.
    pub secrets: Vec<SigningSecret>,
    /// A second signature header.
    pub second: Option<SecondSignature>,
}

/// The addresses of endpoints, wherever they are kept.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// The address of an endpoint, with the secrets that sign at `now`.
    ///
    /// # Errors
    ///
    /// A fault when the store is out of reach, or what it holds does not open.
    async fn address(
        &self,
        tenant: &TenantId,
        endpoint: &str,
        now: Moment,
    ) -> Result<Option<Address>, Fault>;
}

/// Delivers to endpoints.
pub struct Deliverer {
    addresses: Arc<dyn Addresses>,
    client: Client,
}

impl Deliverer {
    /// A deliverer to these addresses.
    pub fn new(addresses: Arc<dyn Addresses>, client: Client) -> Self {
        Self { addresses, client }
    }
}

#[async_trait]
impl Webhooks for Deliverer {
    async fn post(&self, tenant: &TenantId, post: &Post<'_>) -> Result<Exchange, Fault> {
        let id = &post.delivery.endpoint;
        let found = self.addresses.address(tenant, id, post.at).await?;
        let gone = || Fault::permanent("unknown_endpoint", "the endpoint is not there any more");
        let address = found.ok_or_else(gone)?;
        let Some(request) = request(&address, post) else {
            let message = "the endpoint's headers cannot be sent".to_owned();
            let answer = Err(Unanswered { class: Class::InvalidUrl, message });
            return Ok(Exchange { answer, timings: Timings::default(), remote: None });
        };
        let keep_as = format!("{tenant} {id}");
        let course = self.client.post(&keep_as, address.url.expose_secret(), request).await;
        Ok(exchange(course, &address))
    }
}

/// The request, but for its address; nothing, when a header of the operator's is none.
fn request(address: &Address, post: &Post<'_>) -> Option<Request<Full<Bytes>>> {
    let delivery = post.delivery;
    let slack = address.format == Format::Slack;
    let body = if slack { slack::message(&delivery.body) } else { delivery.body.clone() };
    let body = Bytes::from(body);
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    for (name, value) in &address.headers {
        let mut value = HeaderValue::try_from(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    let mut set = |name: &str, value: String| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.insert(name, HeaderValue::try_from(value).ok()?);
        Some(())
    };
    set(CONTENT_TYPE.as_str(), "application/json".into())?;
    set(USER_AGENT.as_str(), concat!("Postrider/", env!("CARGO_PKG_VERSION")).into())?;
    if slack {
        return Some(request);
    }
    let (id, seconds) = (&delivery.message_id, post.at.seconds());
    set("webhook-id", id.clone())?;
    set("webhook-timestamp", seconds.to_string())?;
    set("webhook-signature", signature(&address.secrets, id, seconds, &body))?;
    set("x-postrider-event", delivery.event.clone())?;
    set("x-postrider-attempt", post.attempt.to_string())?;
    set("x-postrider-delivery", delivery.id.clone())?;
    if let Some(second) = &address.second {
        set(&second.header, second.value(&address.secrets, seconds, &body))?;
    }
    Some(request)
}

/// What happened, without what must not be told.
fn exchange(course: Course, address: &Address) -> Exchange {
    let Course { answer, timings, remote } = course;
    let answer = answer.map(|Raw { status, retry_after, body }| {
        let excerpt = excerpt(&body, address);
        Answer { status, retry_after, excerpt }
    });
    Exchange { answer, timings, remote: remote.map(|address| address.to_string()) }
}

/// The beginning of an answer's body, without control characters and without the endpoint's secrets:
/// some servers answer with what they got.
fn excerpt(body: &[u8], address: &Address) -> String {
    if body.is_empty() {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let mut text: String = text.chars().map(plain).collect();
    for secret in confidential::of(address) {
        text = text.replace(&secret, "…");
    }
    let end = (0..=EXCERPT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}
