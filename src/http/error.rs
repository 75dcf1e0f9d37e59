//! A refusal, and the problem document (RFC 9457) that says so.

use hyper::{
    Response,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use jobs::contract::{Fault, Problem};
use serde::Serialize;

use super::{Body, codes::ErrorCode, request_id::RequestId};
use crate::queue::QueueError;

/// Problems that one answer lists at most; a caller who gets a thousand wrong has one mistake.
const MOST_PROBLEMS: usize = 100;
/// What a caller is told to wait when something that Postrider needs is out of reach, in seconds.
const UNAVAILABLE_FOR: u64 = 5;

/// What makes a browser ask its user (RFC 7617).
const BASIC: &str = "Basic realm=\"postrider: your API key as the password\", charset=\"UTF-8\"";

/// A refusal on its way to the caller.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    code: ErrorCode,
    detail: String,
    problems: Vec<Problem>,
    required_scope: Option<String>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    close: bool,
    invite: bool,
}

impl ApiError {
    /// A refusal with a sentence about this occurrence.
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            problems: Vec::new(),
            required_scope: None,
            retry_after: None,
            allow: None,
            close: false,
            invite: false,
        }
    }

    /// One answer for every key that is not good: which of the reasons it is tells an attacker
    /// something and its owner nothing new.
    pub(super) fn unauthorized() -> Self {
        Self::new(ErrorCode::Unauthorized, "Send a valid key as `Authorization: Bearer prk_…`.")
    }

    /// The key lacks a scope.
    pub(super) fn insufficient_scope(scope: &str) -> Self {
        let detail = format!("This needs a key with the scope {scope}.");
        let error = Self::new(ErrorCode::InsufficientScope, detail);
        Self { required_scope: Some(scope.to_owned()), ..error }
    }

    /// One answer for every job that the tenant does not have.
    pub(super) fn job_not_found() -> Self {
        Self::new(ErrorCode::JobNotFound, "There is no job with this id.")
    }

    /// The path is known, but not with this method.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("The methods of this path are {allow}.");
        Self { allow: Some(allow), ..Self::new(ErrorCode::MethodNotAllowed, detail) }
    }

    /// The request was understood, but these things in it are wrong.
    pub(super) fn invalid(mut problems: Vec<Problem>) -> Self {
        let found = problems.len();
        let detail = match found {
            1 => "1 problem was found; nothing was accepted.".to_owned(),
            n if n > MOST_PROBLEMS => format!(
                "{n} problems were found, of which the first {MOST_PROBLEMS} are listed; nothing \
                 was accepted."
            ),
            n => format!("{n} problems were found; nothing was accepted."),
        };
        problems.truncate(MOST_PROBLEMS);
        Self { problems, ..Self::new(ErrorCode::ValidationFailed, detail) }
    }

    /// Something is out of reach. What it is stays in the log.
    pub(super) fn unavailable() -> Self {
        let detail = "This cannot be done right now; please try again later.";
        Self::new(ErrorCode::Unavailable, detail).retry_after(UNAVAILABLE_FOR)
    }

    /// A mistake of ours. What it is stays in the log.
    pub(super) fn internal() -> Self {
        let detail = "Something went wrong on our side; the request id helps us to find it.";
        Self::new(ErrorCode::InternalError, detail)
    }

    /// The same, to be tried again after this many seconds.
    #[must_use]
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same, as the last answer on this connection: what else is in flight on it cannot be told
    /// apart from the rest of the body.
    #[must_use]
    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// The same, for a browser that may ask its user for a key.
    #[must_use]
    pub(super) fn inviting(self, invite: bool) -> Self {
        Self { invite, ..self }
    }

    /// The answer.
    pub(super) fn into_response(self, request_id: &RequestId) -> Response<Body> {
        let document = serde_json::to_vec(&Document::of(&self, request_id))
            .expect("a struct of strings and numbers is always valid JSON");
        let mut response = Response::new(Body::from(document));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // A 404 may otherwise be kept by caches (RFC 9110, section 15.1), and the job may come.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.invite {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(BASIC));
        }
        response
    }

    /// RFC 6750, section 3.
    fn challenge(&self) -> Option<HeaderValue> {
        match (self.code, &self.required_scope) {
            (ErrorCode::Unauthorized, _) => {
                Some(HeaderValue::from_static("Bearer realm=\"postrider\""))
            }
            (ErrorCode::InsufficientScope, Some(scope)) => HeaderValue::try_from(format!(
                "Bearer realm=\"postrider\", error=\"insufficient_scope\", scope=\"{scope}\""
            ))
            .ok(),
            _ => None,
        }
    }
}

/// The problem document: RFC 9457, and the members that callers of older interfaces know.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    message: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Problem],
}

impl<'a> Document<'a> {
    fn of(error: &'a ApiError, request_id: &'a RequestId) -> Self {
        Self {
            r#type: format!("/errors/{}", error.code.as_str()),
            title: error.code.title(),
            status: error.code.status().as_u16(),
            detail: &error.detail,
            code: error.code.as_str(),
            message: &error.detail,
            request_id: request_id.as_str(),
            required_scope: error.required_scope.as_deref(),
            errors: &error.problems,
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::Unavailable(_) => {
                tracing::warn!(error = %error, "a request was refused: the queue is out of reach");
                Self::unavailable()
            }
            // The caller can do nothing about it, but once it is mended the same request is good.
            QueueError::Denied(_) => {
                tracing::error!(error = %error, "a request was refused: the queue refuses this process");
                Self::unavailable()
            }
            QueueError::Unusable(_) => {
                tracing::error!(error = %error, "a request failed in the queue");
                Self::internal()
            }
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Transient(_) | Fault::Throttled { .. } => {
                tracing::warn!(error = %fault, "a request was refused: the store is out of reach");
                Self::unavailable()
            }
            Fault::Permanent(_) => {
                tracing::error!(error = %fault, "a request failed in the store");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_queue_cannot_do_now_is_no_fault_of_ours() {
        let rows = [
            (QueueError::Unavailable("away".into()), ApiError::unavailable()),
            (QueueError::Denied("WRONGPASS".into()), ApiError::unavailable()),
            (QueueError::Unusable("another schema".into()), ApiError::internal()),
        ];
        for (error, expected) in rows {
            assert_eq!(ApiError::from(error.clone()), expected, "{error}");
        }
    }
}
