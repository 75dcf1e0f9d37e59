//! The way of a request through the façade.

use std::{io, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONNECTION, HeaderValue},
    http::request::Parts,
};
use jobs::contract::ports::ItemErrors;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Body, HttpConfig, answer,
    auth::{CachedKeys, Guest, Keys, may_use_basic},
    body,
    error::ApiError,
    exchange::{Exchange, known, refuse},
    items::Items,
    limits::Allowance,
    negotiate::{self, Media},
    openapi, origin,
    router::Route,
    serve::{self, Manners},
    strangers::Strangers,
    wait::Hub,
};
use crate::{
    intake::Intake,
    queue::{Queue, QueueError},
};

/// What the façade works with.
pub struct FacadeDeps {
    /// Its section of the configuration.
    pub config: HttpConfig,
    /// Where jobs go, and where they are asked for.
    pub queue: Arc<dyn Queue>,
    /// What checks jobs.
    pub intake: Intake,
    /// What knows callers.
    pub keys: Arc<dyn Keys>,
    /// Where it is known what was wrong with single items.
    pub errors: Arc<dyn ItemErrors>,
}

/// The façade, ready to serve.
pub struct Facade {
    deps: FacadeDeps,
}

impl Facade {
    /// A façade that works with these.
    pub fn new(deps: FacadeDeps) -> Self {
        Self { deps }
    }

    /// Serves callers until `stop`: then no connection is accepted any more, callers that wait get
    /// what there is, requests that run have their grace, and connections are closed after their
    /// answer.
    ///
    /// # Errors
    ///
    /// When the listener is of no use any more.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let engine = Arc::new(Engine::new(self.deps, stop.clone()));
        let hub = Arc::clone(&engine.hub);
        let watcher = tokio::spawn({
            let stop = stop.clone();
            async move { hub.run(stop).await }
        });
        let manners = Manners {
            header_timeout: engine.config.header_timeout,
            grace: engine.config.grace,
            connections: engine.config.connections,
            refuse: Some(refuse),
        };
        let served = serve::run(listener, &manners, stop, move |request| {
            let engine = Arc::clone(&engine);
            async move { engine.answer(request).await }
        })
        .await;
        watcher.abort();
        served
    }
}

/// What every request is answered with.
pub(super) struct Engine {
    pub(super) config: HttpConfig,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) intake: Intake,
    pub(super) hub: Arc<Hub>,
    pub(super) stop: CancellationToken,
    pub(super) keys: Arc<CachedKeys>,
    pub(super) items: Items,
    /// Places for bodies that are larger than others: each costs many times its size.
    pub(super) large: Semaphore,
    allowance: Allowance,
    strangers: Strangers,
    document: Bytes,
}

impl Engine {
    fn new(deps: FacadeDeps, stop: CancellationToken) -> Self {
        let FacadeDeps { config, queue, intake, keys, errors } = deps;
        Self {
            hub: Arc::new(Hub::new(Arc::clone(&queue), config.waiters)),
            keys: Arc::new(CachedKeys::new(keys, config.key_cache)),
            items: Items(errors),
            large: Semaphore::new(body::LARGE_AT_ONCE),
            allowance: Allowance::new(config.rate_limit),
            strangers: Strangers::new(config.strangers),
            document: openapi::document(intake.catalogue()).to_string().into(),
            config,
            queue,
            intake,
            stop,
        }
    }

    /// Answers a request, whatever happens.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut exchange = Exchange::begin(known(request.method()));
        let span = tracing::info_span!("request", request.id = %exchange.id);
        async {
            let work = AssertUnwindSafe(self.carry_out(&mut exchange, request)).catch_unwind();
            let response = match work.await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => error.into_response(&exchange.id),
                Err(_) => {
                    // The words of a panic may hold anything: they are the panic hook's business.
                    tracing::error!("a request failed: its handler panicked");
                    ApiError::internal().into_response(&exchange.id)
                }
            };
            let mut response = exchange.end(response);
            if self.stop.is_cancelled() {
                // A caller must not send its next request into a connection that is about to close.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        .instrument(span)
        .await
    }

    async fn carry_out(
        &self,
        exchange: &mut Exchange,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let route = Route::of(request.method(), request.uri().path())?;
        exchange.route = route.template();
        let (mut head, incoming) = request.into_parts();
        origin::find(&mut head, &self.config.proxies);
        match route {
            Route::Options(allow) => Ok(options(allow)),
            Route::Document => {
                self.strangers.admit(&head.extensions, false)?;
                Ok(answer::json(self.document.clone()))
            }
            Route::Submit => {
                body::declared(&head.headers, body::BATCH)?;
                let guest = self.admit(exchange, &head).await?;
                // Boxed: what a connection keeps room for is small, and most of them wait.
                Box::pin(self.submit(&guest.caller, &exchange.id, None, &head, incoming)).await
            }
            Route::SubmitKind(kind) => {
                body::declared(&head.headers, self.largest(Some(&kind)))?;
                let guest = self.admit(exchange, &head).await?;
                let kind = Some(kind);
                Box::pin(self.submit(&guest.caller, &exchange.id, kind, &head, incoming)).await
            }
            Route::Status(id) => {
                let guest = self.admit(exchange, &head).await?;
                drop(incoming);
                Box::pin(self.status(guest, &exchange.id, &id, head)).await
            }
        }
    }

    /// The largest body of a submission; of which kind is known only from the path.
    pub(super) fn largest(&self, kind: Option<&str>) -> usize {
        match kind {
            None => body::BATCH,
            Some(kind) if self.is_bulk(kind) => body::BULK,
            Some(_) => body::SINGLE,
        }
    }

    /// Whether a kind is about many items.
    pub(super) fn is_bulk(&self, kind: &str) -> bool {
        self.intake.catalogue().find(kind).is_some_and(|kind| kind.bulk)
    }

    /// Lets a caller with a good key and requests left pass. No byte of a stranger's body is read:
    /// one that does not say how large it is meets its limit only after this.
    async fn admit(&self, exchange: &mut Exchange, head: &Parts) -> Result<Guest, ApiError> {
        let stranger = || ApiError::unauthorized().inviting(people_ask(head));
        let guest = Guest::by(head, &self.keys, &self.strangers).await?.ok_or_else(stranger)?;
        exchange.tenant = Some(guest.caller.tenant.clone());
        match self.allowance.draw(&*self.queue, &guest.caller.tenant).await {
            Ok(budget) => exchange.budget.insert(budget).admit()?,
            // A permit is a write, and a full disk refuses those: a question gets its answer all the
            // same.
            Err(error @ QueueError::Unavailable(_)) if head.method.is_safe() => {
                tracing::warn!(%error, "a question was let pass without a permit");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(guest)
    }

    /// Whether a caller that was let in would be let in again.
    pub(super) async fn still_welcome(&self, guest: &Guest) -> Result<bool, ApiError> {
        Ok(guest.is_still_welcome(&*self.keys).await?)
    }
}

/// Whether a browser asks on behalf of somebody who can be asked for a key.
fn people_ask(head: &Parts) -> bool {
    may_use_basic(&head.method) && negotiate::media(&head.headers) == Ok(Media::Page)
}

fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
