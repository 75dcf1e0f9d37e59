//! The receiver of the demo's webhooks: it verifies every signature, refuses to hear of a job twice, and
//! then accepts.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, header::RETRY_AFTER,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use jobs::contract::{
    TenantId,
    ports::{Clock, Format},
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{bulk, samples};
use crate::{
    app::App,
    cli::Failure,
    clock::SystemClock,
    store::EndpointSettings,
    webhooks::{SigningSecret, signature},
};

/// The event that it refuses twice.
const JOB_EVENT: &str = "job.completed";
/// The most that a webhook may be, in bytes.
const LARGEST: usize = 512 << 10;

/// What came, and what was answered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Heard {
    pub(super) event: String,
    pub(super) verified: bool,
    pub(super) answered: u16,
}

#[derive(Default)]
struct Inner {
    secret: Mutex<Option<SigningSecret>>,
    heard: Mutex<Vec<Heard>>,
}

/// The receiver; it stops when this is dropped.
pub(super) struct Receiver {
    inner: Arc<Inner>,
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    /// Starts it on a free port.
    pub(super) async fn start() -> Result<Self, Failure> {
        let wrong = |e| Failure::unavailable(format!("the webhook receiver cannot start: {e}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let inner = Arc::new(Inner::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&inner)));
        Ok(Self { inner, address, _task: AbortOnDropHandle::new(task) })
    }

    /// Registers itself as an endpoint of the tenant, under a secret by which it verifies.
    pub(super) async fn subscribe(&self, app: &App, tenant: &TenantId) -> Result<(), Failure> {
        let secret = SigningSecret::generate();
        *lock(&self.inner.secret) = Some(secret.clone());
        let endpoint = EndpointSettings {
            id: samples::ENDPOINT.to_owned(),
            description: Some("the demo's own receiver".to_owned()),
            url: format!("http://{}/", self.address).into(),
            format: Format::Standard,
            events: vec!["job.*".to_owned(), "ticket.*".to_owned()],
            headers: BTreeMap::new(),
            second: None,
            rate: None,
            secret: Some(secret),
            enabled: None,
        };
        app.store.apply(tenant, &[], &[], &[endpoint], SystemClock.now()).await?;
        Ok(())
    }

    /// All that it has heard.
    pub(super) fn heard(&self) -> Vec<Heard> {
        lock(&self.inner.heard).clone()
    }

    /// Whether it has taken all that it is told in a demo.
    pub(super) fn has_all(&self) -> bool {
        let heard = self.heard();
        let taken = |event| heard.iter().filter(|one| one.event == event && one.accepted()).count();
        taken(JOB_EVENT) > 0 && taken(bulk::TICKET_EVENT) >= bulk::TICKETS_TOLD
    }
}

impl Heard {
    /// Whether the delivery was taken.
    pub(super) fn accepted(&self) -> bool {
        self.answered == StatusCode::OK.as_u16()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under these locks, so a poisoned one is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    // Dropping the set closes the connections.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        open.spawn(async move {
            let service = service_fn(move |request| hear(request, Arc::clone(&inner)));
            // Whoever hangs up will come again.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn hear(
    request: Request<Incoming>,
    inner: Arc<Inner>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Empty::new());
    let Ok(body) = Limited::new(body, LARGEST).collect().await else {
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(response);
    };
    let secret = lock(&inner.secret).clone();
    let verified = secret.is_some_and(|secret| verifies(&secret, &head.headers, &body.to_bytes()));
    let event = text(&head.headers, "x-postrider-event").to_owned();
    let mut heard = lock(&inner.heard);
    let before = heard.iter().filter(|one| one.event == event).count();
    let status = match (verified, event == JOB_EVENT, before) {
        (false, ..) => StatusCode::UNAUTHORIZED,
        (true, true, 0) => StatusCode::SERVICE_UNAVAILABLE,
        (true, true, 1) => StatusCode::INTERNAL_SERVER_ERROR,
        (true, ..) => StatusCode::OK,
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    *response.status_mut() = status;
    heard.push(Heard { event, verified, answered: status.as_u16() });
    Ok(response)
}

/// What every receiver should do before it believes a word. (It should refuse old timestamps, too; this
/// one was started a minute ago.)
fn verifies(secret: &SigningSecret, headers: &HeaderMap, body: &[u8]) -> bool {
    let id = text(headers, "webhook-id");
    let Ok(seconds) = text(headers, "webhook-timestamp").parse() else { return false };
    let expected = signature(std::slice::from_ref(secret), id, seconds, body);
    text(headers, "webhook-signature").split(' ').any(|given| given == expected)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
