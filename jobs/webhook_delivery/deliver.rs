//! One delivery: endpoint, circuit, request, log, consequence.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    WebhookDelivery, events,
    judge::{Consequence, Facts, judge},
};
use crate::contract::{
    Cause, Context, Done, Fault, Moment, Outcome, Scope, Stop,
    ports::{
        Attempt, Deliveries, Delivery, DeliveryState, Endpoint, EndpointStatus, Exchange, Health,
        Post, Trigger,
    },
};

/// The circuit: of so many attempts within the span, so many in a hundred must fail to open it.
const CIRCUIT_SPAN: Duration = Duration::from_secs(300);
const CIRCUIT_ATTEMPTS: u32 = 10;
const CIRCUIT_PERCENT: u32 = 70;
/// How long an open circuit rests, and how often others look while a probe is under way.
const CIRCUIT_PAUSE: Duration = Duration::from_secs(30);
const PROBE_LOOK: Duration = Duration::from_secs(1);
/// After this a probe is forgotten: longer than a run may take.
const PROBE_LOST: Duration = Duration::from_secs(100);
/// An endpoint that fails for so long, without one success, is disabled.
const FAILING_AT_MOST: Duration = Duration::from_secs(120 * 3_600);
/// Tries to write down that a delivery got through.
const WRITES: u32 = 3;

/// Delivers to one endpoint.
pub(super) async fn deliver(job: WebhookDelivery, id: &str, ctx: &Context) -> Outcome {
    let Some(endpoint) = ctx.ports().endpoints.find(ctx.tenant(), id).await? else {
        return Err(cancel("unknown_endpoint", format!("this tenant has no endpoint {id:?}")));
    };
    let (mut delivery, trigger) = delivery(&job, id, ctx).await?;
    if delivery.state == DeliveryState::Delivered && trigger != Trigger::Replay {
        // An earlier run got this far and then lost its worker.
        return Ok(done(&delivery));
    }
    if let EndpointStatus::Disabled(why) = &endpoint.status {
        delivery.state = DeliveryState::Failed;
        log(ctx).record(ctx.tenant(), &delivery, None, CIRCUIT_SPAN, ctx.now()).await?;
        ctx.touched_nothing();
        return Err(cancel("endpoint_disabled", format!("the endpoint is disabled: {why}")));
    }
    circuit(&endpoint, ctx).await?;
    delivery.attempts += 1;
    let at = ctx.now();
    let post = Post { delivery: &delivery, attempt: delivery.attempts, at };
    let exchange = ctx.ports().webhooks.post(ctx.tenant(), &post).await?;
    conclude(ctx, &endpoint, delivery, Made { trigger, at, exchange }).await
}

/// An attempt that was made.
struct Made {
    trigger: Trigger,
    at: Moment,
    exchange: Exchange,
}

fn log(ctx: &Context) -> &dyn Deliveries {
    &*ctx.ports().deliveries
}

fn cancel(code: &'static str, words: String) -> Stop {
    Stop::Cancel { cause: Cause::new(code, words) }
}

fn done(delivery: &Delivery) -> Done {
    Done::Finished(json!({
        "delivery_id": delivery.id,
        "event_id": delivery.message_id,
        "attempts": delivery.attempts,
    }))
}

/// The delivery that this job is about, as it stands, and why it is tried now.
async fn delivery(
    job: &WebhookDelivery,
    endpoint: &str,
    ctx: &Context,
) -> Result<(Delivery, Trigger), Stop> {
    if let Some(id) = &job.replay {
        let found = log(ctx).find(ctx.tenant(), id).await?;
        let found = found.filter(|delivery| delivery.endpoint == endpoint);
        let words = || format!("the log has no delivery {id:?} to this endpoint");
        let delivery = found.ok_or_else(|| cancel("unknown_delivery", words()))?;
        return Ok((delivery, Trigger::Replay));
    }
    let id = ctx.info().job.with_prefix("dlv");
    // The first run of a job has nothing to look for.
    if ctx.info().fence > 1
        && let Some(delivery) = log(ctx).find(ctx.tenant(), &id).await?
    {
        let by_hand = delivery.state == DeliveryState::Failed;
        return Ok((delivery, if by_hand { Trigger::Manual } else { Trigger::Scheduled }));
    }
    let delivery = Delivery {
        id,
        endpoint: endpoint.to_owned(),
        message_id: job.message_id(ctx),
        event: job.event.clone().unwrap_or_default(),
        body: job.body(ctx.info().created_at),
        attempts: 0,
        state: DeliveryState::Waiting,
    };
    Ok((delivery, Trigger::Scheduled))
}

/// Lets a run through a closed circuit, and one through a half-open one; the rest wait as a lane.
async fn circuit(endpoint: &Endpoint, ctx: &Context) -> Result<(), Stop> {
    let Some(open_until) = endpoint.circuit_until else { return Ok(()) };
    let now = ctx.now();
    let until = if now < open_until {
        open_until
    } else {
        let lost = now.plus(PROBE_LOST);
        if ctx.ports().endpoints.probe(ctx.tenant(), &endpoint.id, now, lost).await? {
            return Ok(());
        }
        now.plus(PROBE_LOOK)
    };
    ctx.touched_nothing();
    let why = "the endpoint fails too often; its circuit is open".to_owned();
    Err(Stop::Snooze { until, why, scope: Scope::Lane })
}

/// Writes an attempt down, draws its consequences, and says how the run ends.
async fn conclude(
    ctx: &Context,
    endpoint: &Endpoint,
    mut delivery: Delivery,
    made: Made,
) -> Outcome {
    let info = ctx.info();
    let facts = Facts {
        format: endpoint.format,
        now: ctx.now(),
        attempt: info.attempt,
        max_attempts: info.max_attempts,
        chance: chance(&info.run_id()),
    };
    let Consequence { state, stop, next_at, disable } = judge(&made.exchange, &facts);
    delivery.state = state;
    let attempt = Attempt { trigger: made.trigger, at: made.at, exchange: made.exchange, next_at };
    match stop {
        None => Ok(delivered(ctx, &delivery, &attempt).await),
        Some(stop) => {
            // That an endpoint is disabled is news of its own.
            let gone = disable.is_some();
            failed(ctx, endpoint, &delivery, &attempt, disable).await?;
            if let Stop::Retry { cause, .. } | Stop::Cancel { cause } = &stop
                && !gone
            {
                news(ctx, &delivery, cause).await?;
            }
            Err(stop)
        }
    }
}

/// The endpoint took it. Nothing that fails from here on may make it be sent again.
async fn delivered(ctx: &Context, delivery: &Delivery, attempt: &Attempt) -> Done {
    for _ in 0..WRITES {
        let now = ctx.now();
        let written = log(ctx).record(ctx.tenant(), delivery, Some(attempt), CIRCUIT_SPAN, now);
        match written.await {
            Err(Fault::Transient(_) | Fault::Throttled { .. }) => {}
            _ => break,
        }
    }
    if ctx.info().attempt > events::FAILING_AFTER {
        // Good news that cannot be told is no reason to deliver again.
        let _ = events::about_delivery(ctx, events::RECOVERED, delivery, None).await;
    }
    done(delivery)
}

/// Writes a failure down, and protects the endpoint: disables it, or opens its circuit.
async fn failed(
    ctx: &Context,
    endpoint: &Endpoint,
    delivery: &Delivery,
    attempt: &Attempt,
    disable: Option<String>,
) -> Result<(), Fault> {
    let (tenant, now, endpoints) = (ctx.tenant(), ctx.now(), &ctx.ports().endpoints);
    let health = log(ctx).record(tenant, delivery, Some(attempt), CIRCUIT_SPAN, now).await?;
    if let Some(why) = disable.or_else(|| overdue(&health, now)) {
        if endpoints.disable(tenant, &endpoint.id, &why, now).await? {
            events::disabled(ctx, &endpoint.id, &why).await?;
        }
    } else if endpoint.circuit_until.is_some() || trips(&health) {
        endpoints.open_circuit(tenant, &endpoint.id, now.plus(CIRCUIT_PAUSE)).await?;
    }
    Ok(())
}

fn overdue(health: &Health, now: Moment) -> Option<String> {
    let since = health.failing_since?;
    let hours = FAILING_AT_MOST.as_secs() / 3_600;
    (now.since(since) >= FAILING_AT_MOST)
        .then(|| format!("every delivery since {since} failed: for {hours} hours or longer"))
}

fn trips(health: &Health) -> bool {
    let Health { recent, recent_failed, .. } = *health;
    recent >= CIRCUIT_ATTEMPTS
        && u64::from(recent_failed) * 100 >= u64::from(recent) * u64::from(CIRCUIT_PERCENT)
}

/// Says that a delivery keeps failing, or is given up.
async fn news(ctx: &Context, delivery: &Delivery, cause: &Cause) -> Result<(), Fault> {
    let (attempt, words) = (ctx.info().attempt, cause.to_string());
    if delivery.state == DeliveryState::Failed {
        events::about_delivery(ctx, events::EXHAUSTED, delivery, Some(&words)).await
    } else if attempt == events::FAILING_AFTER {
        events::about_delivery(ctx, events::FAILING, delivery, Some(&words)).await
    } else {
        Ok(())
    }
}

/// A number of `0.0..1.0` that is another one for each run, and the same for the same.
fn chance(run: &str) -> f64 {
    let digest = Sha256::digest(run.as_bytes());
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
