//! A receiver of requests that does as little as can be, and a bare loop that sends to it.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http1 as client,
    header::{CONTENT_TYPE, HOST},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Failure, noop::now_ms};

/// When a request is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    AtOnce,
    After(Duration),
    Never,
}

#[derive(Default)]
struct Heard {
    count: AtomicU64,
    took: Mutex<Vec<f64>>,
}

/// The receiver; it stops when this is dropped.
pub(super) struct Sink {
    heard: Arc<Heard>,
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Sink {
    /// Starts it on a free port.
    pub(super) async fn start(manner: Manner) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| failed(&e))?;
        let address = listener.local_addr().map_err(|e| failed(&e))?;
        let heard = Arc::new(Heard::default());
        let task = tokio::spawn(serve(listener, manner, Arc::clone(&heard)));
        Ok(Self { heard, address, _task: AbortOnDropHandle::new(task) })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Requests that have come.
    pub(super) fn count(&self) -> u64 {
        self.heard.count.load(Relaxed)
    }

    /// How long each took that said when it began, in ms.
    pub(super) fn took(&self) -> Vec<f64> {
        self.heard.took.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests a second, over so many kept connections: hyper and nothing else, which is below what
    /// reqwest is made of.
    pub(super) async fn bare_loop(&self, connections: u32, count: u32) -> Result<f64, Failure> {
        let left = Arc::new(AtomicU32::new(count));
        let began = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..connections {
            running.spawn(send(self.address, Arc::clone(&left)));
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|e| failed(&e))??;
        }
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::unavailable(format!("the benchmark's receiver: {error}"))
}

async fn send(address: SocketAddr, left: Arc<AtomicU32>) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
    stream.set_nodelay(true).map_err(|e| failed(&e))?;
    let (mut sender, connection) =
        client::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let body = Bytes::from(format!("{{\"padding\":\"{}\"}}", "x".repeat(250)));
    while left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/hook")
            .header(HOST, address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|e| failed(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        answer.into_body().collect().await.map_err(|e| failed(&e))?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, manner: Manner, heard: Arc<Heard>) {
    // Dropping the set closes the connections.
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let heard = Arc::clone(&heard);
        open.spawn(async move {
            let service = service_fn(move |request| hear(request, manner, Arc::clone(&heard)));
            // Who hangs up is done.
            let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn hear(
    request: Request<Incoming>,
    manner: Manner,
    heard: Arc<Heard>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // Only what is measured is looked into: looking costs.
    if matches!(manner, Manner::AtOnce)
        && let Ok(event) = serde_json::from_slice::<Value>(&body)
        && let Some(at) = event["data"]["at"].as_f64()
    {
        heard.took.lock().unwrap_or_else(PoisonError::into_inner).push(now_ms() - at);
    }
    heard.count.fetch_add(1, Relaxed);
    match manner {
        Manner::AtOnce => {}
        Manner::After(span) => tokio::time::sleep(span).await,
        Manner::Never => pending().await,
    }
    Ok(Response::new(Empty::new()))
}
