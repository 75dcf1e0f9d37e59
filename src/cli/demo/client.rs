//! A caller of the façade: what a product would do, in a few lines.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::Failure;

/// How long the façade is asked to hold its answer, at most.
const HELD: &str = "wait=20";

/// A caller with a key.
pub(super) struct Client {
    address: SocketAddr,
    key: String,
}

/// What the façade answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(address: SocketAddr, key: String) -> Self {
        Self { address, key }
    }

    /// `POST /jobs` with this body.
    pub(super) async fn submit(&self, body: &Value) -> Result<Answer, Failure> {
        self.ask(Method::POST, "/jobs", Bytes::from(body.to_string())).await
    }

    /// `GET /jobs/<id>`, answered when the job has ended.
    pub(super) async fn ended(&self, id: &str) -> Result<Value, Failure> {
        let Answer { status, mut body } =
            self.ask(Method::GET, &format!("/jobs/{id}"), Bytes::new()).await?;
        let job = body["data"].take();
        if status != 200 || job["completed_at"].is_null() {
            return Err(Failure::job(format!("{id} did not end: {status}, {}", job["status"])));
        }
        Ok(job)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
        let mut request = Request::builder();
        if method == Method::GET {
            request = request.header("prefer", HELD);
        }
        let request = request
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| failed(&e))?;
        let stream = TcpStream::connect(self.address).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        connection.abort();
        let body = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
        Ok(Answer { status, body })
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::unavailable(format!("the façade did not answer: {error}"))
}
