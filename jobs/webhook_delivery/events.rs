//! What Postrider itself has to say about deliveries, as events like any other.

use serde_json::{Value, json};

use super::WebhookDelivery;
use crate::contract::{
    Context, Fault, Job,
    ports::{Delivery, FollowUp},
};

/// A delivery has failed four times.
pub(super) const FAILING: &str = "message.attempt.failing";
/// A delivery that was failing got through.
pub(super) const RECOVERED: &str = "message.attempt.recovered";
/// A delivery is not tried any more.
pub(super) const EXHAUSTED: &str = "message.attempt.exhausted";
/// An endpoint was disabled.
pub(super) const DISABLED: &str = "endpoint.disabled";

/// The failed attempt after which a delivery is said to be failing.
pub(super) const FAILING_AFTER: u32 = 4;

/// Whether a subscription (`*`, `ticket.*`, `ticket.created`) is one to this event.
pub fn matches(subscription: &str, event: &str) -> bool {
    match subscription.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => prefix.ends_with('.') && event.starts_with(prefix),
        None => subscription == event,
    }
}

/// Says something about a delivery, once for each job. Of deliveries that are such news themselves
/// nothing is said: an endpoint that fails would be told so for ever.
pub(super) async fn about_delivery(
    ctx: &Context,
    event: &'static str,
    delivery: &Delivery,
    failure: Option<&str>,
) -> Result<(), Fault> {
    if delivery.event.starts_with("message.attempt.") || delivery.event == DISABLED {
        return Ok(());
    }
    let data = json!({
        "endpoint_id": delivery.endpoint,
        "delivery_id": delivery.id,
        "event_id": delivery.message_id,
        "event": delivery.event,
        "attempts": delivery.attempts,
        "failure": failure,
    });
    let key = format!("{event}:{}", ctx.info().job);
    tell(ctx, event, &key, data).await
}

/// Says that an endpoint was disabled.
pub(super) async fn disabled(ctx: &Context, endpoint: &str, why: &str) -> Result<(), Fault> {
    let key = format!("{DISABLED}:{endpoint}:{}", ctx.info().job);
    tell(ctx, DISABLED, &key, json!({"endpoint_id": endpoint, "reason": why})).await
}

async fn tell(ctx: &Context, event: &str, key: &str, data: Value) -> Result<(), Fault> {
    let payload = json!({"event": event, "data": data});
    let job = FollowUp { kind: WebhookDelivery::KIND, payload };
    ctx.ports().follow_ups.submit(ctx.info(), key, job).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_match_whole_words() {
        for (subscription, event) in
            [("*", "a.b"), ("a.*", "a.b"), ("a.*", "a.b.c"), ("a.b", "a.b")]
        {
            assert!(matches(subscription, event), "{subscription} {event}");
        }
        for (subscription, event) in [("a.*", "a"), ("a.*", "ab.c"), ("a*", "ab"), ("a.b", "a.bc")]
        {
            assert!(!matches(subscription, event), "{subscription} {event}");
        }
    }
}
