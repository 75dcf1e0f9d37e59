//! `POST /jobs` and `POST /jobs/<type>`.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, LOCATION},
    http::request::Parts,
};
use jobs::contract::{JobId, Moment};
use serde::Serialize;
use serde_json::Value;

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
struct Asked {
    key: Option<String>,
    form: Form,
    body: Value,
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
        let Asked { key, form, body } = self.asked(kind, head, incoming).await?;
        let fingerprint = idempotency::fingerprint(&form.name(), &body);
        let jobs = self.checked(caller, request_id, &form, body).await?;
        let meta = Meta { request_id: request_id.as_str(), idempotency_key: key.as_deref() };
        let answer = fresh(&form, &jobs, self.queue.now(), meta)?;
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
    ) -> Result<Asked, ApiError> {
        negotiate::accepts_json(&head.headers)?;
        negotiate::content_type(&head.headers)?;
        let key = idempotency::key(&head.headers)?;
        let most = if kind.is_some() { body::SINGLE } else { body::BATCH };
        let bytes = body::read(incoming, most, self.config.body_timeout).await?;
        let body = json::parse(&bytes)?;
        let form = Form::of(kind, &body);
        // Whether a body is about one job or many shows only now.
        if !form.is_batch() && bytes.len() > body::SINGLE {
            return Err(body::too_large(body::SINGLE));
        }
        Ok(Asked { key, form, body })
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

fn fresh(form: &Form, jobs: &[NewJob], now: Moment, meta: Meta<'_>) -> Result<Bytes, ApiError> {
    let mut receipts: Vec<_> = jobs.iter().map(|job| Receipt::of(job, now)).collect();
    let data = match receipts.pop() {
        Some(receipt) if !form.is_batch() => Data::One(receipt),
        last => {
            receipts.extend(last);
            Data::Many(receipts)
        }
    };
    answer::to_json(&Answer { data, meta })
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
