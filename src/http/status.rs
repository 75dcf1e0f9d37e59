//! `GET /jobs/<id>`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY},
};
use jobs::contract::{JobId, Moment, TenantId};
use serde::Serialize;

use super::{
    Body,
    auth::{Caller, JOBS_READ},
    error::ApiError,
    facade::Engine,
    negotiate,
    request_id::RequestId,
    view::{JobView, Meta, poll_after},
    wait::Ended,
};
use crate::queue::JobRecord;

#[derive(Serialize)]
struct Answer<'a> {
    data: JobView<'a>,
    meta: Meta<'a>,
}

impl Engine {
    /// Answers with what the caller may see of a job, at once or when it is final.
    pub(super) async fn status(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        negotiate::accepts_json(headers)?;
        caller.require(JOBS_READ)?;
        // What cannot be an id is as unknown as an id that nobody has.
        let id: JobId = id.parse().map_err(|_| ApiError::job_not_found())?;
        let (job, held) = match negotiate::wait(headers) {
            None => (self.read(&caller.tenant, id).await?, None),
            Some(wish) => self.hold(&caller.tenant, id, wish).await?,
        };
        let meta = Meta { request_id: request_id.as_str(), idempotency_key: None };
        let answer = Answer { data: JobView::of(&job), meta };
        let mut response = json(&answer)?;
        tell(response.headers_mut(), &job, held, self.queue.now());
        if held.is_some() {
            response.extensions_mut().insert(Held);
        }
        Ok(response)
    }

    async fn read(&self, tenant: &TenantId, id: JobId) -> Result<Arc<JobRecord>, ApiError> {
        let job = self.queue.job(tenant, id).await?;
        job.map(Arc::new).ok_or_else(ApiError::job_not_found)
    }

    /// Holds the answer until the job is final, `wish` is over or the process stops. When too many
    /// callers of the tenant wait already, the wish is passed over and the answer does not claim
    /// that it was heeded.
    async fn hold(
        &self,
        tenant: &TenantId,
        id: JobId,
        wish: Duration,
    ) -> Result<(Arc<JobRecord>, Option<Duration>), ApiError> {
        let watch = self.hub.watch(tenant, id);
        let job = self.read(tenant, id).await?;
        let Some(mut watch) = watch else { return Ok((job, None)) };
        if job.status.is_final() {
            return Ok((job, Some(wish)));
        }
        let ended = tokio::select! {
            ended = watch.end() => Some(ended),
            () = tokio::time::sleep(wish) => None,
            () = self.stop.cancelled() => None,
        };
        match ended {
            Some(Ended::Final(job)) => Ok((job, Some(wish))),
            Some(Ended::Gone) => Err(ApiError::job_not_found()),
            None => Ok((watch.latest().unwrap_or(job), Some(wish))),
        }
    }
}

/// Marks an answer that was held: its duration says nothing about how fast the façade is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held;

/// An answer in JSON.
pub(super) fn json(answer: &impl Serialize) -> Result<Response<Body>, ApiError> {
    let bytes = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(error = %error, "an answer could not be written as JSON");
        ApiError::internal()
    })?;
    Ok(bytes_of_json(bytes.into()))
}

/// An answer that is JSON already.
pub(super) fn bytes_of_json(bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn tell(headers: &mut HeaderMap, job: &JobRecord, held: Option<Duration>, now: Moment) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept, Authorization, Prefer"));
    if let Some(seconds) = poll_after(job, now) {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(held) = held
        && let Ok(value) = HeaderValue::try_from(format!("wait={}", held.as_secs()))
    {
        headers.insert("preference-applied", value);
    }
}
