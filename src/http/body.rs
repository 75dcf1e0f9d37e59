//! The bytes of a request: how many, and how long they may take.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    header::{CONTENT_LENGTH, HeaderMap},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{codes::ErrorCode, error::ApiError};

/// The largest body of one job, in bytes.
pub(crate) const SINGLE: usize = 256 * 1_024;
/// The largest body of many jobs, in bytes.
pub(super) const BATCH: usize = 1_024 * 1_024;

/// The largest body of one job about many items, under the path of its kind, in bytes: a million ids of 26
/// characters.
pub(crate) const BULK: usize = 32 * 1_024 * 1_024;
/// How many bodies larger than those of many jobs are read and checked at once.
pub(super) const LARGE_AT_ONCE: usize = 2;

/// Refuses a body that says of itself that it is too large, before a byte of it is read.
pub(super) fn declared(headers: &HeaderMap, most: usize) -> Result<(), ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > u64::try_from(most).unwrap_or(u64::MAX) => Err(too_large(most)),
        _ => Ok(()),
    }
}

/// Reads a body of at most `most` bytes within `patience`. A large one takes one of the places in `large`,
/// to be kept until all that is made of it is gone.
///
/// # Errors
///
/// 413 as soon as it is larger, 408 when it takes longer, 400 when it breaks off, 503 when no place came free.
pub(super) async fn read<'l>(
    mut body: Incoming,
    most: usize,
    patience: Duration,
    large: &'l Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'l>>), ApiError> {
    let until = Instant::now() + patience;
    let mut bytes = BytesMut::new();
    let mut place = None;
    loop {
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Ok(None) => return Ok((bytes.freeze(), place)),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(broken_off()),
            Err(_) => return Err(too_slow(patience)),
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        if place.is_none() && bytes.len() + data.len() > BATCH {
            // What was read waits for its place; the rest is not read meanwhile.
            let taken = tokio::time::timeout_at(until, large.acquire()).await;
            let taken = taken.map_err(|_| ApiError::unavailable().closing())?;
            place = Some(taken.expect("the semaphore is never closed"));
        }
        bytes.extend_from_slice(&data);
    }
}

/// The refusal of a body of more than `most` bytes.
pub(super) fn too_large(most: usize) -> ApiError {
    let detail = format!(
        "A body may have at most {most} bytes here: {} KiB for one job, {} KiB for many, {} KiB for \
         one job about many items under the path of its type.",
        SINGLE / 1_024,
        BATCH / 1_024,
        BULK / 1_024
    );
    ApiError::new(ErrorCode::PayloadTooLarge, detail).closing()
}

fn too_slow(patience: Duration) -> ApiError {
    let detail = format!("The body did not arrive within {} ms.", patience.as_millis());
    ApiError::new(ErrorCode::RequestTimeout, detail).closing()
}

fn broken_off() -> ApiError {
    let detail = "The body broke off, or its chunks are not framed as HTTP/1.1 says.";
    ApiError::new(ErrorCode::InvalidBody, detail).closing()
}
