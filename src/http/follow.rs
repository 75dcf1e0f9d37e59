//! `GET /jobs/<id>` as a stream of events (the HTML standard, section 9.2): the job as it is, then
//! each news of it, until it is final.
//!
//! A stream is a wait that gives several answers. It takes one of the tenant's places; whoever comes
//! after the last place hears how things are now, and when to ask again. A key that is revoked is
//! told nothing more.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use hyper::{Response, StatusCode, http::request::Parts};
use jobs::contract::Moment;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    Body,
    answer::of_type,
    auth::{CachedKeys, Guest},
    error::ApiError,
    facade::Engine,
    items::Items,
    linger::Line,
    page,
    request_id::RequestId,
    status::{Answer, Held, Question, hung_up, not_for_others},
    version::Version,
    view::JobView,
    wait::Watch,
};
use crate::queue::{JobRecord, Queue};

/// When to ask again, for whoever finds no place; in milliseconds.
const AGAIN_AFTER: &str = "retry: 5000\n";
/// What keeps a connection open where nothing happens: a comment.
const ALIVE: Bytes = Bytes::from_static(b": alive\n\n");
/// The query with which our page asks for its own pieces in place of JSON. It is between the page and
/// the façade, and no promise to anybody else.
const PIECES: &str = "page";

/// In which words the news is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    Json,
    Pieces,
}

impl Engine {
    /// Answers with the job's present and future.
    pub(super) async fn follow(
        &self,
        question: Question,
        request_id: &RequestId,
        head: &Parts,
    ) -> Result<Response<Body>, ApiError> {
        let telling = match head.uri.query() {
            Some(PIECES) => Telling::Pieces,
            _ => Telling::Json,
        };
        let known = head.headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let watch = self.hub.watch(question.tenant(), question.id);
        let job = self.read(&question).await?;
        let version = Version::of(&job);
        let is_known = known == Some(version.as_str());
        if is_known && job.status.is_final() {
            // So that a browser does not come back for ever.
            let mut response = Response::new(Body::default());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(response);
        }
        let request_id = request_id.as_str().to_owned();
        let teller = Teller { telling, request_id, items: self.items.clone() };
        let now = self.queue.now();
        let mut first = if is_known { ALIVE } else { teller.event(&job, now).await? };
        let body = match watch {
            Some(watch) if !job.status.is_final() => {
                let following = self.following(question, watch, teller, &job);
                Body::told(stream_of(first, following))
            }
            Some(_) => Body::told(stream::iter([first])),
            None => {
                first = Bytes::from([AGAIN_AFTER.as_bytes(), &first].concat());
                Body::told(stream::iter([first]))
            }
        };
        let mut response = of_type("text/event-stream", body);
        not_for_others(response.headers_mut());
        response.extensions_mut().insert(Held);
        Ok(response)
    }

    fn following(
        &self,
        question: Question,
        watch: Watch,
        teller: Teller,
        job: &JobRecord,
    ) -> Following {
        let beat = self.config.stream_beat;
        let mut alive = interval_at(Instant::now() + beat, beat);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Following {
            watch,
            alive,
            guest: question.guest,
            line: question.line,
            keys: Arc::clone(&self.keys),
            queue: Arc::clone(&self.queue),
            stop: self.stop.clone(),
            teller,
            newest: job.version,
            told: Version::of(job),
        }
    }
}

fn stream_of(first: Bytes, following: Following) -> impl Stream<Item = Bytes> + Send {
    enum Next {
        First(Bytes, Box<Following>),
        News(Box<Following>),
        Nothing,
    }
    stream::unfold(Next::First(first, Box::new(following)), |next| async move {
        match next {
            Next::First(first, following) => Some((first, Next::News(following))),
            Next::News(mut following) => {
                let (piece, last) = following.next().await?;
                Some((piece, if last { Next::Nothing } else { Next::News(following) }))
            }
            Next::Nothing => None,
        }
    })
}

/// Writes events.
struct Teller {
    telling: Telling,
    request_id: String,
    items: Items,
}

impl Teller {
    async fn event(&self, job: &JobRecord, now: Moment) -> Result<Bytes, ApiError> {
        let items = self.items.of(job).await?;
        let id = Version::of(job);
        let id = id.as_str();
        let mut event = match self.telling {
            Telling::Json => {
                let answer = super::answer::to_json(&Answer::of(job, &items, &self.request_id))?;
                let mut event = format!("event: job\nid: {id}\ndata: ").into_bytes();
                // JSON on one line: a line break inside it is written `\n`.
                event.extend_from_slice(&answer);
                event
            }
            Telling::Pieces => {
                let piece = page::piece(&JobView::of(job, &items), now);
                let lines: Vec<_> = piece.lines().map(|line| format!("data: {line}")).collect();
                format!("event: page\nid: {id}\n{}", lines.join("\n")).into_bytes()
            }
        };
        event.extend_from_slice(b"\n\n");
        Ok(event.into())
    }
}

/// Somebody who is told the news of a job.
struct Following {
    watch: Watch,
    alive: Interval,
    guest: Guest,
    line: Option<Line>,
    keys: Arc<CachedKeys>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
    teller: Teller,
    newest: u64,
    told: Version,
}

impl Following {
    /// The next piece, and whether it is the last one; nothing when there will be none.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = hung_up(self.line.as_ref()) => return None,
                _ = self.alive.tick() => {
                    return self.may_hear_more().await.then_some((ALIVE, false));
                }
                news = self.watch.next() => {
                    let job = news?;
                    let version = Version::of(&job);
                    if job.version < self.newest || version == self.told {
                        continue;
                    }
                    if !self.may_hear_more().await {
                        return None;
                    }
                    let event = self.teller.event(&job, self.queue.now()).await.ok()?;
                    self.newest = job.version;
                    self.told = version;
                    self.alive.reset();
                    return Some((event, job.status.is_final()));
                }
            }
        }
    }

    /// A store that cannot be asked ends the stream, too: its caller comes back, and is told why.
    async fn may_hear_more(&self) -> bool {
        self.guest.is_still_welcome(&*self.keys).await.unwrap_or(false)
    }
}
