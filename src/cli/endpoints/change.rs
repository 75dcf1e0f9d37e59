//! `postrider endpoints rotate|disable|enable|test`.

use std::time::Duration;

use jobs::contract::{Job, JobId, ports::Clock};
use serde::de::{IntoDeserializer, value::Error};
use serde_json::json;

use super::{EndpointArgs, RotateArgs, find, replay::submit};
use crate::{
    app::App,
    cli::{Failure, Out},
    clock::SystemClock,
    config::duration,
    intake::JobRequest,
    store::RotateSecretError,
};

/// The longest grace of a rotated secret.
const LONGEST_GRACE: Duration = Duration::from_secs(7 * 86_400);

pub(super) async fn rotate(args: &RotateArgs, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    let EndpointArgs { id, tenant } = &args.endpoint;
    let grace = match &args.grace {
        None => app.config.webhooks.grace,
        Some(text) => duration::<_>(IntoDeserializer::<Error>::into_deserializer(text.as_str()))
            .map_err(|e| Failure::data(format!("--grace: {e}")))?,
    };
    if grace > LONGEST_GRACE {
        return Err(Failure::data("--grace: expected at most 7d"));
    }
    let now = SystemClock.now();
    let rotated = app.store.rotate_endpoint_secret(tenant, id, grace, now).await;
    let secret = rotated.map_err(|error| match error {
        RotateSecretError::Store(error) => error.into(),
        other => Failure::data(other.to_string()),
    })?;
    let until = now.plus(grace);
    if out.is_json() {
        let document = json!({"id": id, "secret": secret.reveal(), "old_signs_until": until});
        return Ok(out.json(&document)?);
    }
    out.line(secret.reveal())?;
    let before = match grace {
        Duration::ZERO => "Secrets before it sign no more.".to_owned(),
        _ => format!("The secret before signs beside it until {until}."),
    };
    Ok(out.line(format!("Keep it now: it is not shown again. {before}"))?)
}

pub(super) async fn enable(
    args: &EndpointArgs,
    enabled: bool,
    app: &App,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    find(args, app).await?;
    let (EndpointArgs { id, tenant }, now) = (args, SystemClock.now());
    let changed = match enabled {
        true => app.store.enable_endpoint(tenant, id, now).await?,
        false => app.store.disable_endpoint(tenant, id, now).await?,
    };
    if out.is_json() {
        return Ok(out.json(&json!({"id": id, "enabled": enabled, "changed": changed}))?);
    }
    let state = if enabled { "enabled" } else { "disabled" };
    let was = if changed { "" } else { " already" };
    Ok(out.line(format!("The endpoint {id} is {state}{was}."))?)
}

pub(super) async fn test(args: &EndpointArgs, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    find(args, app).await?;
    let data = json!({"message": "This is a test."});
    let payload = json!({"endpoint_id": args.id, "event": "webhook.test", "data": data});
    let request = JobRequest::new(jobs::WebhookDelivery::KIND, payload);
    let ids: Vec<JobId> = submit(&args.tenant, vec![request], app).await?;
    let id = ids[0];
    if out.is_json() {
        return Ok(out.json(&json!({"job": id}))?);
    }
    Ok(out.line(format!("{id} delivers webhook.test; `postrider jobs wait` waits for it"))?)
}
