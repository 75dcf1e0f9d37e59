//! What operators' tools ask: `/healthz`, `/readyz`, `/metrics`. On a listener of its own, which is
//! not for the world.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Body,
    serve::{self, Manners},
};
use crate::{
    queue::Queue,
    telemetry::metrics::{self, Metrics},
};

/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);
const MANNERS: Manners = Manners {
    header_timeout: Duration::from_secs(10),
    grace: Duration::from_secs(2),
    connections: 64,
    refuse: None,
};
const ALLOWED: &str = "GET, HEAD";

/// Something that must work before this process is of use.
pub struct Check {
    name: &'static str,
    probe: Probe,
}

/// What it lacks all the same, or why it does not work.
type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<String>, String>> + Send + Sync>;

impl Check {
    /// A check by this name; the probe's error goes to the log, the name to whoever asks.
    pub fn new<F>(name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let all = move |probed: Result<(), String>| probed.map(|()| Vec::new());
        Self { name, probe: Arc::new(move || Box::pin(probe().map(all))) }
    }

    /// The check that the queue can be reached and written to.
    pub fn of_queue(queue: &Arc<dyn Queue>) -> Self {
        let queue = Arc::clone(queue);
        let probe = move || -> BoxFuture<'static, _> {
            let queue = Arc::clone(&queue);
            Box::pin(async move {
                let lacks = queue.ready().await.map_err(|error| error.to_string())?;
                Ok(lacks.iter().map(ToString::to_string).collect())
            })
        };
        Self { name: "queue", probe: Arc::new(probe) }
    }

    /// What it lacks, if it works; nothing when it does not.
    async fn passes(&self) -> Option<Vec<String>> {
        let words = match tokio::time::timeout(PATIENCE, (self.probe)()).await {
            Ok(Ok(lacks)) => {
                for words in &lacks {
                    tracing::warn!(check = self.name, error = words, "ready, but not for all");
                }
                return Some(lacks);
            }
            Ok(Err(words)) => words,
            Err(_) => format!("no answer within {} ms", PATIENCE.as_millis()),
        };
        tracing::warn!(check = self.name, error = words, "not ready");
        None
    }
}

/// The admin listener, ready to serve.
pub struct Admin {
    /// Everything that must work for `/readyz`.
    pub checks: Vec<Check>,
    /// Where `/metrics` counts jobs.
    pub queue: Arc<dyn Queue>,
    /// What this process has counted.
    pub metrics: Metrics,
    /// Once cancelled, `/readyz` says that this process takes no more work.
    pub draining: CancellationToken,
}

impl Admin {
    /// Serves until `stop`, which is best given after everything else has ended.
    ///
    /// # Errors
    ///
    /// When the listener is of no use any more.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let admin = Arc::new(self);
        let upkeep = tokio::spawn({
            let metrics = admin.metrics.clone();
            async move { metrics.upkeep().await }
        });
        let served = serve::run(listener, &MANNERS, stop, move |request: Request<Incoming>| {
            let admin = Arc::clone(&admin);
            async move { admin.answer(request.method(), request.uri().path()).await }
        })
        .await;
        upkeep.abort();
        served
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
            return response;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => self.readiness().await,
            "/metrics" => self.exposition().await,
            _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    async fn readiness(&self) -> Response<Body> {
        let passed = join_all(self.checks.iter().map(Check::passes)).await;
        let word = |passed: &Option<Vec<String>>| match passed {
            Some(lacks) if lacks.is_empty() => "ok",
            // Other processes lack the same: taken out of rotation, they would help nobody.
            Some(_) => "degraded",
            None => "failed",
        };
        let mut checks: BTreeMap<&str, &str> =
            self.checks.iter().zip(&passed).map(|(c, passed)| (c.name, word(passed))).collect();
        let draining = self.draining.is_cancelled();
        if draining {
            checks.insert("draining", "failed");
        }
        let ready = !draining && passed.iter().all(Option::is_some);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut body = json!({ "ready": ready, "checks": checks });
        let warnings: Vec<String> = passed.into_iter().flatten().flatten().collect();
        if !warnings.is_empty() {
            body["warnings"] = json!(warnings);
        }
        answer(status, "application/json", body.to_string())
    }

    async fn exposition(&self) -> Response<Body> {
        // What this process has counted is told even when the queue is out of reach.
        let mut body = self.metrics.render();
        match tokio::time::timeout(PATIENCE, self.queue.queues()).await {
            Ok(Ok(queues)) => body.push_str(&metrics::of_queues(&queues, self.queue.now())),
            Ok(Err(error)) => tracing::warn!(error = %error, "jobs could not be counted"),
            Err(_) => tracing::warn!("jobs could not be counted: the queue is slow"),
        }
        answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
    }
}

fn text(status: StatusCode, words: String) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", words)
}

fn answer(status: StatusCode, media: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
