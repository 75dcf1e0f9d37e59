//! Answers and their bodies: whole, or told piece by piece while the caller listens.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use http_body_util::Full;
use hyper::{
    Response,
    body::{Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

use super::error::ApiError;

/// The body of an answer.
pub(super) enum Body {
    /// All of it is known.
    Whole(Full<Bytes>),
    /// It is told as things happen.
    Told(BoxStream<'static, Bytes>),
}

impl Body {
    /// A body of pieces.
    pub(super) fn told(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Told(pieces.boxed())
    }

    /// The same; what is given along lives until a body of pieces is told to its end, or given up.
    pub(super) fn along_with(self, what: impl Send + 'static) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes),
            Self::Told(pieces) => Self::told(pieces.inspect(move |_| {
                // Owned by this closure, and dropped with it.
                let _ = &what;
            })),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Pin::new(bytes).poll_frame(cx),
            Self::Told(pieces) => {
                pieces.poll_next_unpin(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Told(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Told(_) => SizeHint::default(),
        }
    }
}

/// The bytes of something as JSON.
pub(super) fn to_json(what: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(what).map(Bytes::from).map_err(|error| {
        tracing::error!(error = %error, "an answer could not be written as JSON");
        ApiError::internal()
    })
}

/// An answer of this media type.
pub(super) fn of_type(media: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// An answer that is JSON already.
pub(super) fn json(bytes: Bytes) -> Response<Body> {
    of_type("application/json", bytes)
}
