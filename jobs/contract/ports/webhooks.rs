//! Webhooks: a tenant's endpoints, requests to them, and the log of deliveries.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::contract::{Fault, Moment, TenantId};

/// An endpoint, as a job sees it: no address, no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name within the tenant.
    pub id: String,
    /// In which form it wants events.
    pub format: Format,
    /// Whether it may be delivered to.
    pub status: EndpointStatus,
    /// Until when its circuit is open; a moment that is past means that a probe may go.
    pub circuit_until: Option<Moment>,
}

/// In which form an endpoint wants events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Signed JSON, as Standard Webhooks 1.0.0 says.
    Standard,
    /// A Slack message of blocks.
    Slack,
}

/// Whether an endpoint may be delivered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointStatus {
    /// It may.
    Enabled,
    /// It may not; the text says why.
    Disabled(String),
}

/// The endpoints of a tenant.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// The endpoint of this name, if the tenant has it.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn find(&self, tenant: &TenantId, id: &str) -> Result<Option<Endpoint>, Fault>;

    /// The names of the enabled endpoints that subscribed to `event`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn subscribers(&self, tenant: &TenantId, event: &str) -> Result<Vec<String>, Fault>;

    /// Takes the one probe that a circuit admits once its pause is over; `false` when another run
    /// has it. A probe that nobody hears of again is forgotten at `until`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn probe(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
        until: Moment,
    ) -> Result<bool, Fault>;

    /// Opens the endpoint's circuit until a moment.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn open_circuit(&self, tenant: &TenantId, id: &str, until: Moment) -> Result<(), Fault>;

    /// Disables the endpoint; `false` when it was disabled already.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn disable(
        &self,
        tenant: &TenantId,
        id: &str,
        why: &str,
        now: Moment,
    ) -> Result<bool, Fault>;
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name: `dlv_…`.
    pub id: String,
    /// The endpoint.
    pub endpoint: String,
    /// What `webhook-id` says: the same on every retry and replay.
    pub message_id: String,
    /// The event's type.
    pub event: String,
    /// The bytes that are signed and sent.
    pub body: Vec<u8>,
    /// Requests made so far.
    pub attempts: u32,
    /// How it stands.
    pub state: DeliveryState,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It will be tried (again).
    Waiting,
    /// The endpoint took it.
    Delivered,
    /// It is not tried any more; a replay may.
    Failed,
}

/// What brought an attempt about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The event, or the schedule of retries.
    Scheduled,
    /// An operator who retried the job.
    Manual,
    /// A replay.
    Replay,
}

/// An attempt, as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What brought it about.
    pub trigger: Trigger,
    /// When it began.
    pub at: Moment,
    /// What happened.
    pub exchange: Exchange,
    /// When the next one is due, if there will be one.
    pub next_at: Option<Moment>,
}

/// How an endpoint has been doing, after an attempt was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Since when every attempt failed; none when the last one did not.
    pub failing_since: Option<Moment>,
    /// Attempts within the span that was asked for.
    pub recent: u32,
    /// Attempts of these that failed.
    pub recent_failed: u32,
}

/// The log of deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The delivery of this name, if the tenant has it.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn find(&self, tenant: &TenantId, id: &str) -> Result<Option<Delivery>, Fault>;

    /// Writes a delivery down as it stands, with the attempt that was made, if one was; answers how
    /// its endpoint has been doing within `span`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn record(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        attempt: Option<&Attempt>,
        span: Duration,
        now: Moment,
    ) -> Result<Health, Fault>;
}

/// A request to make.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// What is delivered, and where to.
    pub delivery: &'a Delivery,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The moment that is signed.
    pub at: Moment,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The answer, or why there was none.
    pub answer: Result<Answer, Unanswered>,
    /// How long it took.
    pub timings: Timings,
    /// The address that was dialled; for operators.
    pub remote: Option<String>,
}

/// An answer, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What `Retry-After` said, if it could be read.
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the body, without secrets.
    pub excerpt: String,
}

/// For how long the other side wants to be left alone (RFC 9110 section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// So long from now.
    For(Duration),
    /// Until a moment.
    Until(Moment),
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// What sort of failure.
    pub class: Class,
    /// One sentence that the tenant may read: no internal address, no secret.
    pub message: String,
}

/// Sorts of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The address is not one that may be dialled.
    BlockedAddress,
    /// The URL is none that may be called.
    InvalidUrl,
    /// The name has no address, or nobody could say.
    Dns,
    /// No connection.
    Connect,
    /// No trust.
    Tls,
    /// It took too long.
    Timeout,
    /// The connection ended, or what came was no HTTP.
    Broken,
}

impl Class {
    /// The word for it, in causes and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlockedAddress => "blocked_address",
            Self::InvalidUrl => "invalid_url",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

/// How long the steps of a request took, in milliseconds; a step that was not reached has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Looking the name up.
    pub dns_ms: Option<u64>,
    /// Connecting, TLS included.
    pub connect_ms: Option<u64>,
    /// From the request to the head of the answer.
    pub first_byte_ms: Option<u64>,
    /// All of it.
    pub total_ms: u64,
}

/// Requests to endpoints.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Signs and sends a delivery. Never follows a redirect, never dials an address that is not
    /// public.
    ///
    /// # Errors
    ///
    /// A fault when the endpoint cannot be looked up; what became of a request is no error.
    async fn post(&self, tenant: &TenantId, post: &Post<'_>) -> Result<Exchange, Fault>;
}
