//! What every answer carries, and what is written down of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Collected};
use hyper::{
    Method, Response,
    header::{HeaderName, HeaderValue},
};
use jobs::contract::TenantId;

use super::{
    Body, codes::ErrorCode, error::ApiError, limits::Budget, request_id::RequestId, status::Held,
};
use crate::telemetry::metrics;

/// Answers what never became a request, with all that an answer carries.
pub(super) fn refuse(status: u16) -> Bytes {
    let exchange = Exchange::begin("other");
    let (code, detail) = match status {
        431 => (
            ErrorCode::HeadersTooLarge,
            "The path and the headers are larger, or more, than is accepted.",
        ),
        _ => (ErrorCode::InvalidRequest, "This is no valid HTTP/1.1 request."),
    };
    let span = tracing::info_span!("request", request.id = %exchange.id);
    let refusal = ApiError::new(code, detail).closing().into_response(&exchange.id);
    span.in_scope(|| on_the_wire(exchange.end(refusal)))
}

/// An answer as bytes, for where hyper does not write it.
fn on_the_wire(answer: Response<Body>) -> Bytes {
    let (head, body) = answer.into_parts();
    let body = body.collect().now_or_never().and_then(Result::ok).map(Collected::to_bytes);
    let body = body.unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.into()
}

/// One request and what is known of it so far.
pub(super) struct Exchange {
    pub(super) id: RequestId,
    began: Instant,
    method: &'static str,
    pub(super) route: &'static str,
    pub(super) tenant: Option<TenantId>,
    pub(super) budget: Option<Budget>,
    answered: bool,
}

/// What the log and the metrics call the status of a request whose caller left before its answer;
/// nobody is sent it.
const GIVEN_UP: u16 = 499;

impl Drop for Exchange {
    /// A request that was given up has its line, too.
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let took = self.began.elapsed();
        metrics::answered(self.method, self.route, GIVEN_UP, took, true);
        self.log(GIVEN_UP, took, "a request was given up before its answer");
    }
}

impl Exchange {
    pub(super) fn begin(method: &'static str) -> Self {
        Self {
            id: RequestId::generate(),
            began: Instant::now(),
            method,
            route: "none",
            tenant: None,
            budget: None,
            answered: false,
        }
    }

    /// What every answer carries, and the one line that the log gets of it.
    pub(super) fn end(mut self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::try_from(self.id.as_str()) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        if let Some(budget) = &self.budget {
            budget.tell(headers);
        }
        let status = response.status().as_u16();
        let took = self.began.elapsed();
        let held = response.extensions().get::<Held>().is_some();
        metrics::answered(self.method, self.route, status, took, held);
        self.log(status, took, "a request was answered");
        self.answered = true;
        response
    }

    fn log(&self, status: u16, took: Duration, words: &'static str) {
        tracing::info!(
            http.method = self.method,
            http.route = self.route,
            http.status = status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            tenant = self.tenant.as_ref().map(TenantId::as_str),
            "{words}"
        );
    }
}

/// The methods that logs and metrics know: a caller can invent others without end.
pub(super) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
