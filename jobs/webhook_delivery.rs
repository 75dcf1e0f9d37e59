//! `webhook-delivery`: an event for one endpoint, or for every endpoint that subscribed to it.
//!
//! Without an endpoint the job is a fan-out: it takes in one delivery for each subscriber, each under
//! a key of its own, so that a run that is repeated repeats none of them. With one it is a delivery:
//! at least once, signed, tried again over three days. Whatever says "not now" (`Retry-After`, an
//! open circuit) parks the endpoint's lane and spends no attempt.

mod check;
mod deliver;
mod events;
mod judge;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::{
    check::{is_name, is_subscription},
    events::matches,
};
use crate::contract::{
    Context, Done, Job, LaneName, Moment, Outcome, Problem, Retry, Stop, ports::FollowUp, schema,
};

/// The largest body that is delivered, in bytes.
pub const LARGEST_BODY: usize = 256 << 10;
/// Deliveries of a fan-out that are taken in at once.
const AT_ONCE: usize = 16;
const DAY: Duration = Duration::from_secs(86_400);

/// An event for one endpoint, or for every endpoint of the tenant that subscribed to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookDelivery {
    /// The endpoint; by default every endpoint that subscribed to the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// The event's type: words of `a-z`, `0-9` and `_`, with dots between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
    /// Names the event, and becomes `webhook-id`: unfinished deliveries of one event to one endpoint
    /// are one. By default made from the job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// When it happened; by default when it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub timestamp: Option<Moment>,
    /// Delivers again what was delivered before under this id (`dlv_…`), in place of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

impl Job for WebhookDelivery {
    const KIND: &'static str = "webhook-delivery";
    const RETRY: Retry = Retry {
        max_attempts: 10,
        waits: &[
            Duration::from_secs(5),
            Duration::from_secs(300),
            Duration::from_secs(1_800),
            Duration::from_secs(7_200),
            Duration::from_secs(18_000),
            Duration::from_secs(36_000),
            Duration::from_secs(50_400),
            Duration::from_secs(72_000),
            DAY,
        ],
        jitter: 0.2,
    };
    // Above the longest request that the configuration admits, with room for the log.
    const TIMEOUT: Duration = Duration::from_secs(90);
    // As long as a delivery can be replayed. An endpoint that never succeeds is disabled before.
    const PATIENCE: Duration = Duration::from_secs(14 * 86_400);

    fn check(&self) -> Vec<Problem> {
        check::check(self)
    }

    fn schema() -> Value {
        schema::<Self>()
    }

    fn example() -> Value {
        json!({
            "event": "ticket.created",
            "data": {"ticket_id": "t_1042", "subject": "Where is my parcel?"},
        })
    }

    fn lane(&self) -> LaneName {
        self.endpoint_id.as_deref().map_or_else(LaneName::tenant, LaneName::endpoint)
    }

    fn unique(&self) -> Option<String> {
        let of = self.endpoint_id.as_deref().unwrap_or("*");
        let event = self.event_id.as_ref().map(|event| format!("{of}:{event}"));
        self.replay.as_ref().map(|delivery| format!("replay:{delivery}")).or(event)
    }

    async fn perform(self, ctx: &Context) -> Outcome {
        match self.endpoint_id.clone() {
            Some(endpoint) => deliver::deliver(self, &endpoint, ctx).await,
            None => self.fan_out(ctx).await,
        }
    }
}

impl WebhookDelivery {
    /// What `webhook-id` says.
    fn message_id(&self, ctx: &Context) -> String {
        self.event_id.clone().unwrap_or_else(|| ctx.info().job.with_prefix("msg"))
    }

    async fn fan_out(self, ctx: &Context) -> Outcome {
        let event = self.event.as_deref().unwrap_or_default();
        let endpoints = ctx.ports().endpoints.subscribers(ctx.tenant(), event).await?;
        if endpoints.is_empty() {
            return Ok(Done::Skipped(format!("no endpoint has subscribed to {event}")));
        }
        let message_id = self.message_id(ctx);
        let timestamp = self.timestamp.unwrap_or(ctx.info().created_at);
        let mut deliveries = Vec::with_capacity(endpoints.len());
        for some in endpoints.chunks(AT_ONCE) {
            let taken = join_all(some.iter().map(|id| self.one(ctx, id, &message_id, timestamp)));
            for (id, job) in some.iter().zip(taken.await) {
                deliveries.push(json!({"endpoint_id": id, "job_id": job?}));
            }
        }
        Ok(Done::Finished(json!({"event_id": message_id, "deliveries": deliveries})))
    }

    /// Takes in the delivery to one subscriber.
    async fn one(
        &self,
        ctx: &Context,
        endpoint: &str,
        message_id: &str,
        timestamp: Moment,
    ) -> Result<crate::contract::JobId, Stop> {
        let delivery = Self {
            endpoint_id: Some(endpoint.to_owned()),
            event_id: Some(message_id.to_owned()),
            timestamp: Some(timestamp),
            ..self.clone()
        };
        let payload = json!(delivery);
        let key = format!("event:{}:{endpoint}", ctx.info().job);
        let job = FollowUp { kind: Self::KIND, payload };
        Ok(ctx.ports().follow_ups.submit(ctx.info(), &key, job).await?)
    }
}

/// The body of a delivery: minified, its members in this order.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: Moment,
    data: &'a Map<String, Value>,
}

impl WebhookDelivery {
    /// The bytes that are signed and sent; the same for the same job, whenever they are made.
    fn body(&self, submitted_at: Moment) -> Vec<u8> {
        let nothing = Map::new();
        let body = Body {
            r#type: self.event.as_deref().unwrap_or_default(),
            timestamp: self.timestamp.unwrap_or(submitted_at),
            data: self.data.as_ref().unwrap_or(&nothing),
        };
        serde_json::to_vec(&body).expect("texts and JSON values are JSON")
    }
}
