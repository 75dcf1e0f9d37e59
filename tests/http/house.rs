//! A façade that serves on loopback, with keys and a queue of its own.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use jobs::contract::{
    Catalogue, Fault, JobId, TenantId,
    ports::{ItemError, ItemErrors},
};
use postrider::{
    config::{Config, Rate},
    http::{
        Facade, FacadeDeps, HttpConfig,
        auth::{Caller, Keys},
        listen,
    },
    intake::Intake,
    limits::{EndpointPace, Limits, Rates},
    queue::Queue,
    resources::Declarations,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{kinds, memory::Memory};

/// Longer than anything that is waited for takes, shorter than anybody's patience.
const DEADLINE: Duration = Duration::from_secs(20);

const EVERY_SCOPE: [&str; 5] =
    ["jobs:read", "bulk-update:write", "send:write", "classify:write", "webhook-delivery:write"];

/// A key of tenant `acme` that allows everything, and one of `globex`.
pub(super) const ACME: &str = "prk_acme";
pub(super) const GLOBEX: &str = "prk_globex";
/// Keys of `acme` that allow one thing.
pub(super) const READER: &str = "prk_acme_reader";
pub(super) const SENDER: &str = "prk_acme_sender";

/// The result of a future that must not take long.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it takes far too long")
}

/// The keys that the house knows.
#[derive(Default)]
pub(super) struct Ring {
    down: AtomicBool,
    revoked: Mutex<BTreeSet<String>>,
    asked: AtomicUsize,
}

impl Ring {
    /// How often it was asked for a key.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// Revokes a key.
    pub(super) fn revoke(&self, key: &str) {
        self.revoked.lock().unwrap().insert(key.to_owned());
    }

    /// Puts the store of keys out of reach.
    pub(super) fn set_down(&self) {
        self.down.store(true, SeqCst);
    }
}

#[async_trait]
impl Keys for Ring {
    async fn caller(&self, bearer: &str) -> Result<Option<Caller>, Fault> {
        self.asked.fetch_add(1, SeqCst);
        if self.down.load(SeqCst) {
            return Err(Fault::transient("store_down", "postgres://secret-host refused"));
        }
        if self.revoked.lock().unwrap().contains(bearer) {
            return Ok(None);
        }
        let (tenant, scopes) = match bearer {
            ACME => ("acme", &EVERY_SCOPE[..]),
            GLOBEX => ("globex", &EVERY_SCOPE[..]),
            READER => ("acme", &["jobs:read"][..]),
            SENDER => ("acme", &["send:write"][..]),
            made if made.starts_with("prk_made/") => return Ok(caller_of(made)),
            "prk_panic" => panic!("a mistake, for the test of mistakes"),
            _ => return Ok(None),
        };
        let scopes: BTreeSet<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let tenant = tenant.parse().unwrap();
        Ok(Some(Caller { tenant, key_id: "test".into(), scopes }))
    }

    fn is_plausible(&self, bearer: &str) -> bool {
        bearer.starts_with("prk_")
    }
}

/// A key of a tenant with these scopes and no others.
pub(super) fn key(tenant: &str, scopes: &[&str]) -> String {
    format!("prk_made/{tenant}/{}", scopes.join(","))
}

fn caller_of(key: &str) -> Option<Caller> {
    let mut parts = key.split('/').skip(1);
    let (tenant, scopes) = (parts.next()?.parse().ok()?, parts.next()?);
    let scopes = scopes.split(',').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    Some(Caller { tenant, key_id: "made".into(), scopes })
}

/// The errors of items, the same for every job.
#[derive(Default)]
pub(super) struct Errors(Mutex<Vec<ItemError>>);

impl Errors {
    /// An item has failed.
    pub(super) fn add(&self, item_id: &str, code: &str, message: &str) {
        let mut errors = self.0.lock().unwrap();
        let ordinal = errors.len() as u64;
        let [item_id, code, message] = [item_id, code, message].map(str::to_owned);
        errors.push(ItemError { ordinal, item_id, code, message });
    }
}

#[async_trait]
impl ItemErrors for Errors {
    async fn item_errors(
        &self,
        _: &TenantId,
        _: JobId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ItemError>, Fault> {
        let errors = self.0.lock().unwrap();
        let later = errors.iter().filter(|error| after.is_none_or(|after| error.ordinal > after));
        Ok(later.take(limit as usize).cloned().collect())
    }
}

/// Every mailbox and endpoint is there, without limits of its own.
struct Everything;

#[async_trait]
impl Rates for Everything {
    async fn mailbox_rates(&self, _: &TenantId, _: &str) -> Result<Option<Vec<Rate>>, Fault> {
        Ok(Some(Vec::new()))
    }

    async fn endpoint_pace(&self, _: &TenantId, _: &str) -> Result<Option<EndpointPace>, Fault> {
        Ok(Some(EndpointPace::default()))
    }
}

/// A façade at work over a queue.
pub(super) struct House<Q = Memory> {
    pub(super) address: SocketAddr,
    pub(super) queue: Arc<Q>,
    pub(super) keys: Arc<Ring>,
    pub(super) errors: Arc<Errors>,
    pub(super) stop: CancellationToken,
    served: JoinHandle<io::Result<()>>,
    client: reqwest::Client,
}

impl House {
    /// A façade by the defaults, but for a rate limit that no test meets by accident.
    pub(super) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// A façade by a changed configuration.
    pub(super) async fn with(change: impl FnOnce(&mut HttpConfig)) -> Self {
        Self::of(kinds::catalogue(), change).await
    }

    /// A façade that knows these kinds.
    pub(super) async fn of(kinds: Catalogue, change: impl FnOnce(&mut HttpConfig)) -> Self {
        Self::over(Arc::new(Memory::new()), kinds, change).await
    }
}

impl<Q: Queue + 'static> House<Q> {
    /// A façade over this queue.
    pub(super) async fn over(
        queue: Arc<Q>,
        kinds: Catalogue,
        change: impl FnOnce(&mut HttpConfig),
    ) -> Self {
        let config = Config::load(None, []).unwrap();
        let mut http = config.http;
        http.rate_limit = "100000/min".parse().unwrap();
        change(&mut http);
        let keys = Arc::new(Ring::default());
        let errors = Arc::new(Errors::default());
        let facade = Facade::new(FacadeDeps {
            config: http,
            queue: Arc::<Q>::clone(&queue),
            intake: Intake::new(kinds, Limits::new(config.limits, Arc::new(Everything)))
                .declaring(Arc::clone(Declarations::own().unwrap().resources())),
            keys: Arc::<Ring>::clone(&keys),
            errors: Arc::<Errors>::clone(&errors),
        });
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(facade.serve(listener, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, queue, keys, errors, stop, served, client }
    }

    /// A request without a key.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// `POST` with the key of `acme` that allows everything.
    pub(super) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).bearer_auth(ACME).json(body)
    }

    /// `GET` with the key of `acme` that allows everything.
    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(ACME)
    }

    /// Submits a good job and answers with its id.
    pub(super) async fn submitted(&self) -> String {
        let answer = answer(self.post("/jobs", &good()), 202).await;
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits for the façade to end after its stop.
    pub(super) async fn ended(self) {
        soon(self.served).await.unwrap().unwrap();
    }
}

/// A submission in which nothing is wrong.
pub(super) fn good() -> Value {
    json!({"type": "send", "payload": {"to": {"email": "ada@example.org"}, "text": "hello"}})
}

/// The answer to a request.
pub(super) async fn sent(request: RequestBuilder) -> Response {
    soon(request.send()).await.unwrap()
}

/// The body of the answer to a request that must have this status.
pub(super) async fn answer(request: RequestBuilder, status: u16) -> Value {
    let response = sent(request).await;
    let got = response.status().as_u16();
    let text = soon(response.text()).await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

/// A header of an answer, as text.
pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}
