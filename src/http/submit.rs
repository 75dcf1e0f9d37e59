//! `POST /jobs` and `POST /jobs/<type>`.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, LOCATION},
    http::request::Parts,
};
use jobs::contract::JobId;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::{
    Body, answer,
    auth::Caller,
    body,
    codes::ErrorCode,
    error::ApiError,
    facade::Engine,
    form::Form,
    idempotency, json, negotiate,
    request_id::RequestId,
    view::{Meta, Receipt},
};
use crate::{
    intake::{Producer, Rejection},
    queue::{Enqueued, Idempotency, NewJob, Submission, with_ids},
    telemetry::metrics,
};

#[derive(Serialize)]
struct Answer<'a> {
    data: Data<'a>,
    meta: Meta<'a>,
}

/// One receipt for one job, a list of them for many.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    One(Receipt<'a>),
    Many(Vec<Receipt<'a>>),
}

/// A submission that could be read, before anything in it is looked at.
struct Asked<'l> {
    key: Option<String>,
    form: Form,
    body: Value,
    /// The place of a large body.
    place: Option<SemaphorePermit<'l>>,
}

impl Engine {
    /// Takes jobs in, all of the request or nothing. `kind` is given by the short form.
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        kind: Option<String>,
        head: &Parts,
        incoming: Incoming,
    ) -> Result<Response<Body>, ApiError> {
        let Asked { key, form, body, place: _place } = self.asked(kind, head, incoming).await?;
        let fingerprint = idempotency::fingerprint(&form.name(), &body);
        let jobs = self.checked(caller, request_id, &form, body).await?;
        let meta = Meta { request_id: request_id.as_str(), idempotency_key: key.as_deref() };
        let answer = self.fresh(&form, &jobs, meta)?;
        let idempotency = key.as_ref().map(|key| Idempotency {
            key: format!("http:{key}"),
            fingerprint,
            answer: answer.clone(),
            keep: self.config.idempotency_keep,
        });
        let submission =
            Submission { tenant: caller.tenant.clone(), jobs: jobs.clone(), idempotency };
        match self.queue.enqueue(submission).await? {
            Enqueued::Fresh(taken) => {
                count(&jobs, &taken);
                let asked: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
                Ok(accepted(with_ids(&answer, &asked, &taken), false))
            }
            Enqueued::Replayed(answer) => Ok(accepted(answer, true)),
            Enqueued::KeyReused => Err(ApiError::new(
                ErrorCode::IdempotencyKeyReused,
                "This idempotency key was used for another request; use a new key for each.",
            )),
        }
    }

    /// Reads a submission: media types, headers, bytes, JSON.
    async fn asked(
        &self,
        kind: Option<String>,
        head: &Parts,
        incoming: Incoming,
    ) -> Result<Asked<'_>, ApiError> {
        negotiate::accepts_json(&head.headers)?;
        negotiate::content_type(&head.headers)?;
        let key = idempotency::key(&head.headers)?;
        let most = self.largest(kind.as_deref());
        let patience = self.config.body_timeout;
        let (bytes, place) = body::read(incoming, most, patience, &self.large).await?;
        let body = json::parse(&bytes)?;
        let form = Form::of(kind, &body);
        // Whether a body is about one job or many shows only now.
        if form == Form::Single && bytes.len() > body::SINGLE {
            return Err(body::too_large(body::SINGLE));
        }
        Ok(Asked { key, form, body, place })
    }

    /// The answer to jobs that are taken in now.
    fn fresh(&self, form: &Form, jobs: &[NewJob], meta: Meta<'_>) -> Result<Bytes, ApiError> {
        let now = self.queue.now();
        let receipt = |job| Receipt::of(job, self.is_bulk(&job.kind), now);
        let mut receipts: Vec<_> = jobs.iter().map(receipt).collect();
        let data = match receipts.pop() {
            Some(receipt) if !form.is_batch() => Data::One(receipt),
            last => {
                receipts.extend(last);
                Data::Many(receipts)
            }
        };
        answer::to_json(&Answer { data, meta })
    }

    /// Everything that is checked about the jobs themselves: scopes, then the schema.
    async fn checked(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        form: &Form,
        value: Value,
    ) -> Result<Vec<NewJob>, ApiError> {
        for scope in form.scopes(&value, self.intake.catalogue()) {
            caller.require(&scope)?;
        }
        let requests = form.requests(value).map_err(ApiError::invalid)?;
        let now = self.queue.now();
        let prepared = self
            .intake
            .prepare(&caller.tenant, Producer::Caller, requests, request_id.as_str(), now)
            .await;
        prepared.map_err(|rejection| match rejection {
            Rejection::Invalid(problems) => {
                ApiError::invalid(problems.into_iter().map(|p| form.place(p)).collect())
            }
            Rejection::Unavailable(fault) => fault.into(),
        })
    }
}

fn count(jobs: &[NewJob], ids: &[JobId]) {
    for (job, id) in jobs.iter().zip(ids) {
        if job.id == *id {
            metrics::submitted(&job.kind);
        }
    }
}

fn accepted(answer: Bytes, replayed: bool) -> Response<Body> {
    let location = location(&answer);
    let mut response = answer::json(answer);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Some(location) = location {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// Where the job of an answer is; an answer about many has no one place. It is read from the answer,
/// so that a replayed one gives the same.
fn location(answer: &[u8]) -> Option<HeaderValue> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let id = answer.pointer("/data/id")?.as_str()?;
    HeaderValue::try_from(format!("/jobs/{id}")).ok()
}
