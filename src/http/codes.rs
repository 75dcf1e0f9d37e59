//! Every way to be refused: one code each, with its status and its title.

use hyper::StatusCode;

/// What callers' programs branch on. A code never changes its meaning or its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// What was sent is no HTTP/1.1.
    InvalidRequest,
    /// The body is not JSON, or not JSON that means one thing only.
    InvalidJson,
    /// The body nests deeper than is accepted.
    JsonTooDeep,
    /// A header has a value that it cannot have.
    InvalidHeader,
    /// The body was cut off, or framed wrongly.
    InvalidBody,
    /// No key, or none that is good.
    Unauthorized,
    /// The key does not allow this.
    InsufficientScope,
    /// There is no such job of this tenant.
    JobNotFound,
    /// There is nothing under this path.
    RouteNotFound,
    /// There is something under this path, but not for this method.
    MethodNotAllowed,
    /// The caller accepts nothing that could be answered.
    NotAcceptable,
    /// The body took too long to arrive.
    RequestTimeout,
    /// The body is larger than is accepted.
    PayloadTooLarge,
    /// The body is of a media type that is not understood.
    UnsupportedMediaType,
    /// The body is JSON, but not what is expected.
    ValidationFailed,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The tenant has sent as many requests as it may.
    RateLimited,
    /// The path and the headers are larger, or more, than is accepted.
    HeadersTooLarge,
    /// A mistake of Postrider's own.
    InternalError,
    /// Something that Postrider needs is out of reach, or full.
    Unavailable,
}

impl ErrorCode {
    /// Every code, by status.
    pub const ALL: [Self; 20] = [
        Self::InvalidRequest,
        Self::InvalidJson,
        Self::JsonTooDeep,
        Self::InvalidHeader,
        Self::InvalidBody,
        Self::Unauthorized,
        Self::InsufficientScope,
        Self::JobNotFound,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::ValidationFailed,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::Unavailable,
    ];

    /// The code as callers see it.
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The status that it goes with.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// The code in words, the same for every occurrence.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => ("invalid_request", S::BAD_REQUEST, "Not a valid request"),
            Self::HeadersTooLarge => {
                ("headers_too_large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers are too large")
            }
            Self::InvalidJson => ("invalid_json", S::BAD_REQUEST, "Body is not valid JSON"),
            Self::JsonTooDeep => ("json_too_deep", S::BAD_REQUEST, "Body nests too deep"),
            Self::InvalidHeader => ("invalid_header", S::BAD_REQUEST, "Invalid header"),
            Self::InvalidBody => ("invalid_body", S::BAD_REQUEST, "Body could not be read"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "Valid API key required"),
            Self::InsufficientScope => {
                ("insufficient_scope", S::FORBIDDEN, "API key does not allow this")
            }
            Self::JobNotFound => ("job_not_found", S::NOT_FOUND, "No such job"),
            Self::RouteNotFound => ("route_not_found", S::NOT_FOUND, "No such path"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::NotAcceptable => {
                ("not_acceptable", S::NOT_ACCEPTABLE, "No acceptable representation")
            }
            Self::RequestTimeout => ("request_timeout", S::REQUEST_TIMEOUT, "Body took too long"),
            Self::PayloadTooLarge => {
                ("payload_too_large", S::PAYLOAD_TOO_LARGE, "Body is too large")
            }
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::ValidationFailed => {
                ("validation_failed", S::UNPROCESSABLE_ENTITY, "Request is not valid")
            }
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                S::UNPROCESSABLE_ENTITY,
                "Idempotency key used for another request",
            ),
            Self::RateLimited => ("rate_limited", S::TOO_MANY_REQUESTS, "Rate limit exceeded"),
            Self::InternalError => ("internal_error", S::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Temporarily unavailable"),
        }
    }
}
