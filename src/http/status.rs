//! `GET /jobs/<id>`: a job as it is, at once or when there is news.

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{CACHE_CONTROL, ETAG, HeaderValue, RETRY_AFTER, VARY},
    http::request::Parts,
};
use jobs::contract::{JobId, Moment, TenantId, ports::ItemError};
use serde::Serialize;

use super::{
    Body,
    answer::{json, to_json},
    auth::{Guest, JOBS_READ},
    error::ApiError,
    facade::Engine,
    linger::Line,
    negotiate::{self, Media},
    page,
    request_id::RequestId,
    version::{Known, Version},
    view::{JobView, Meta, poll_after},
    wait::Watch,
};
use crate::queue::JobRecord;

/// The body of an answer about a job, and the data of an event about it.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    data: JobView<'a>,
    meta: Meta<'a>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(job: &'a JobRecord, items: &'a [ItemError], request_id: &'a str) -> Self {
        Self { data: JobView::of(job, items), meta: Meta { request_id, idempotency_key: None } }
    }
}

/// What a caller has asked for: a job, as something.
pub(super) struct Question {
    pub(super) guest: Guest,
    pub(super) id: JobId,
    pub(super) media: Media,
    pub(super) line: Option<Line>,
}

impl Engine {
    /// Answers with what the caller may see of a job.
    pub(super) async fn status(
        &self,
        guest: Guest,
        request_id: &RequestId,
        id: &str,
        head: Parts,
    ) -> Result<Response<Body>, ApiError> {
        let media = negotiate::media(&head.headers)?;
        guest.caller.require(JOBS_READ)?;
        // What cannot be an id is as unknown as an id that nobody has.
        let id = id.parse().map_err(|_| ApiError::job_not_found())?;
        let line = head.extensions.get().cloned();
        let question = Question { guest, id, media, line };
        match media {
            Media::Events => self.follow(question, request_id, &head).await,
            Media::Json | Media::Page => {
                let (known, wish) = (Known::of(&head.headers), negotiate::wait(&head.headers));
                // Headers are pieces of what was read, and keep all of it while somebody waits.
                drop(head);
                self.show(&question, request_id, known, wish).await
            }
        }
    }

    async fn show(
        &self,
        question: &Question,
        request_id: &RequestId,
        known: Known,
        wish: Option<Duration>,
    ) -> Result<Response<Body>, ApiError> {
        let media = question.media;
        let Seen { job, known, held } = match wish {
            None => Seen { job: self.read(question).await?, known, held: None },
            Some(wish) => self.hold(question, known, wish).await?,
        };
        let version = Version::of(&job);
        let mut response = if known.includes(&version, media) {
            let mut response = Response::new(Body::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let items = self.items.of(&job).await?;
            if media == Media::Page {
                page::whole(&JobView::of(&job, &items), self.queue.now())
            } else {
                json(to_json(&Answer::of(&job, &items, request_id.as_str()))?)
            }
        };
        let headers = response.headers_mut();
        if let Some(tag) = version.etag(media) {
            headers.insert(ETAG, tag);
        }
        tell(headers, &job, held, self.queue.now());
        if held.is_some() {
            response.extensions_mut().insert(Held);
        }
        Ok(response)
    }

    /// The job that is asked for.
    pub(super) async fn read(&self, question: &Question) -> Result<Arc<JobRecord>, ApiError> {
        let job = self.queue.job(question.tenant(), question.id).await?;
        job.map(Arc::new).ok_or_else(ApiError::job_not_found)
    }

    /// Holds the answer until the job is final, or is not what the caller knows any more; or `wish`
    /// is over, the caller hangs up or the process stops. When too many callers of the tenant wait already, the wish is
    /// passed over and the answer does not claim that it was heeded.
    async fn hold(
        &self,
        question: &Question,
        known: Known,
        wish: Duration,
    ) -> Result<Seen, ApiError> {
        let watch = self.hub.watch(question.tenant(), question.id);
        let mut job = self.read(question).await?;
        let Some(mut watch) = watch else { return Ok(Seen { job, known, held: None }) };
        let media = question.media;
        let asked = known.clone().fixed(&Version::of(&job), media);
        let over = |job: &JobRecord| {
            let changed = asked != Known::Nothing && !asked.includes(&Version::of(job), media);
            job.status.is_final() || changed
        };
        if over(&job) {
            return Ok(Seen { job, known, held: Some(wish) });
        }
        let there = tokio::select! {
            there = until(&mut watch, &mut job, over) => there,
            () = tokio::time::sleep(wish) => true,
            () = self.stop.cancelled() => true,
            () = hung_up(question.line.as_ref()) => true,
        };
        // A key may have been revoked meanwhile, and must not open what came after.
        if !self.still_welcome(&question.guest).await? {
            return Err(ApiError::unauthorized());
        }
        if there {
            Ok(Seen { job, known: asked, held: Some(wish) })
        } else {
            Err(ApiError::job_not_found())
        }
    }
}

/// Takes news over into `job` until it is `over`; `false` when the job is gone.
async fn until(
    watch: &mut Watch,
    job: &mut Arc<JobRecord>,
    over: impl Fn(&JobRecord) -> bool,
) -> bool {
    while let Some(news) = watch.next().await {
        if news.version >= job.version {
            *job = news;
            if over(job) {
                return true;
            }
        }
    }
    false
}

/// Waits until the caller of a request is gone.
pub(super) async fn hung_up(line: Option<&Line>) {
    match line {
        Some(line) => line.hung_up().await,
        None => std::future::pending().await,
    }
}

impl Question {
    /// Whose job it is about.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.guest.caller.tenant
    }
}

/// What there is to answer with.
struct Seen {
    job: Arc<JobRecord>,
    known: Known,
    /// The wish of a caller that was heeded.
    held: Option<Duration>,
}

/// Marks an answer that was held: its duration says nothing about how fast the façade is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held;

fn tell(headers: &mut HeaderMap, job: &JobRecord, held: Option<Duration>, now: Moment) {
    not_for_others(headers);
    if let Some(seconds) = poll_after(job, now) {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(held) = held
        && let Ok(value) = HeaderValue::try_from(format!("wait={}", held.as_secs()))
    {
        headers.insert("preference-applied", value);
    }
}

/// Keeps caches from giving an answer about a job to anybody else, or for anything else.
pub(super) fn not_for_others(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept, Authorization, Prefer"));
}
