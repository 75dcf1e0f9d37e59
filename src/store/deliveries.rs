//! The log of deliveries.

use std::time::Duration;

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Attempt, Deliveries, Delivery, DeliveryState, Health, Trigger},
};

use super::{
    Store, StoreError,
    db::{Tx, on, on_conn},
};

const FIND: &str = "SELECT endpoint, message_id, event, body, state, attempts FROM deliveries \
     WHERE tenant = $1 AND id = $2";
const PUT: &str = include_str!("queries/delivery_put.sql");
const PUT_ATTEMPT: &str = include_str!("queries/attempt_put.sql");
const HEALED: &str = "UPDATE endpoints SET failing_since = NULL, probe_until = NULL, \
       counted_from = CASE WHEN circuit_until IS NULL THEN counted_from ELSE $3 END, \
       circuit_until = NULL \
     WHERE tenant = $1 AND id = $2 AND (failing_since IS NOT NULL OR circuit_until IS NOT NULL)";
const FAILED: &str = "UPDATE endpoints SET failing_since = coalesce(failing_since, $3) \
     WHERE tenant = $1 AND id = $2 RETURNING failing_since, counted_from";
const RECENT: &str = "SELECT count(*), CAST(coalesce(sum(1 - ok), 0) AS BIGINT) \
     FROM delivery_attempts WHERE tenant = $1 AND endpoint = $2 AND at >= $3";

#[derive(sqlx::FromRow)]
struct Row {
    endpoint: String,
    message_id: String,
    event: String,
    body: String,
    state: String,
    attempts: i64,
}

pub(super) fn state_word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
    }
}

pub(super) fn state_of(word: &str) -> Result<DeliveryState, StoreError> {
    match word {
        "waiting" => Ok(DeliveryState::Waiting),
        "delivered" => Ok(DeliveryState::Delivered),
        "failed" => Ok(DeliveryState::Failed),
        other => Err(StoreError::Unusable(format!("a delivery's state {other:?} is none"))),
    }
}

fn cause(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Scheduled => "scheduled",
        Trigger::Manual => "manual",
        Trigger::Replay => "replay",
    }
}

fn millis(span: Option<u64>) -> Option<i64> {
    span.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX))
}

#[async_trait]
impl Deliveries for Store {
    async fn find(&self, tenant: &TenantId, id: &str) -> Result<Option<Delivery>, Fault> {
        let row: Option<Row> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(p)
            .await)
        .map_err(StoreError::from)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Delivery {
            id: id.to_owned(),
            endpoint: row.endpoint,
            message_id: row.message_id,
            event: row.event,
            body: row.body.into_bytes(),
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            state: state_of(&row.state)?,
        }))
    }

    async fn record(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        attempt: Option<&Attempt>,
        span: Duration,
        now: Moment,
    ) -> Result<Health, Fault> {
        let entry = Entry::of(tenant, delivery, attempt, span, now);
        let healths = self.write_log(&[entry]).await?;
        Ok(healths.first().copied().unwrap_or_default())
    }
}

/// Something to write down.
pub(super) struct Entry {
    pub(super) tenant: TenantId,
    pub(super) delivery: Delivery,
    pub(super) attempt: Option<Attempt>,
    pub(super) span: Duration,
    pub(super) now: Moment,
}

impl Entry {
    pub(super) fn of(
        tenant: &TenantId,
        delivery: &Delivery,
        attempt: Option<&Attempt>,
        span: Duration,
        now: Moment,
    ) -> Self {
        let (tenant, delivery) = (tenant.clone(), delivery.clone());
        Self { tenant, delivery, attempt: attempt.cloned(), span, now }
    }
}

impl Store {
    /// Writes entries down, all or none, and says of each how its endpoint has been doing.
    pub(super) async fn write_log(&self, entries: &[Entry]) -> Result<Vec<Health>, StoreError> {
        let mut tx = self.writer.begin().await?;
        let mut healths = Vec::with_capacity(entries.len());
        for entry in entries {
            healths.push(write(&mut tx, entry).await?);
        }
        tx.commit().await?;
        Ok(healths)
    }
}

async fn write(tx: &mut Tx, entry: &Entry) -> Result<Health, StoreError> {
    let Entry { tenant, delivery, attempt, span, now } = entry;
    put(tx, tenant, delivery, *now).await?;
    let Some(attempt) = attempt else { return Ok(Health::default()) };
    put_attempt(tx, tenant, delivery, attempt).await?;
    if succeeded(attempt) {
        healed(tx, tenant, &delivery.endpoint, *now).await?;
        return Ok(Health::default());
    }
    failed(tx, tenant, &delivery.endpoint, *span, *now).await
}

fn succeeded(attempt: &Attempt) -> bool {
    attempt.exchange.answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
}

async fn put(
    tx: &mut Tx,
    tenant: &TenantId,
    delivery: &Delivery,
    now: Moment,
) -> Result<(), StoreError> {
    // Bodies are JSON, made of JSON: they are UTF-8.
    let body = String::from_utf8_lossy(&delivery.body);
    on_conn!(Tx, tx, c => sqlx::query(PUT)
        .bind(tenant.as_str())
        .bind(&delivery.id)
        .bind(&delivery.endpoint)
        .bind(&delivery.message_id)
        .bind(&delivery.event)
        .bind(body.as_ref())
        .bind(state_word(delivery.state))
        .bind(i64::from(delivery.attempts))
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|_| ()))?;
    Ok(())
}

async fn put_attempt(
    tx: &mut Tx,
    tenant: &TenantId,
    delivery: &Delivery,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    let exchange = &attempt.exchange;
    let (status, class, words) = match &exchange.answer {
        Ok(answer) => (Some(i64::from(answer.status)), None, &answer.excerpt),
        Err(unanswered) => (None, Some(unanswered.class.as_str()), &unanswered.message),
    };
    // Postgres refuses a NUL in a text.
    let words = words.replace('\0', " ");
    on_conn!(Tx, tx, c => sqlx::query(PUT_ATTEMPT)
        .bind(tenant.as_str())
        .bind(&delivery.id)
        .bind(i64::from(delivery.attempts))
        .bind(&delivery.endpoint)
        .bind(cause(attempt.trigger))
        .bind(attempt.at.millis())
        .bind(i64::from(succeeded(attempt)))
        .bind(millis(exchange.timings.dns_ms))
        .bind(millis(exchange.timings.connect_ms))
        .bind(millis(exchange.timings.first_byte_ms))
        .bind(millis(Some(exchange.timings.total_ms)))
        .bind(&exchange.remote)
        .bind(status)
        .bind(class)
        .bind(words)
        .bind(attempt.next_at.map(Moment::millis))
        .execute(&mut **c)
        .await
        .map(|_| ()))?;
    Ok(())
}

/// An endpoint that works is not failing; its circuit, if it was open, counts anew.
async fn healed(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
    now: Moment,
) -> Result<(), StoreError> {
    on_conn!(Tx, tx, c => sqlx::query(HEALED)
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|_| ()))?;
    Ok(())
}

async fn failed(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
    span: Duration,
    now: Moment,
) -> Result<Health, StoreError> {
    let since: Option<(i64, i64)> = on_conn!(Tx, tx, c => sqlx::query_as(FAILED)
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(now.millis())
        .fetch_optional(&mut **c)
        .await)?;
    let Some((failing_since, counted_from)) = since else { return Ok(Health::default()) };
    let from = now.minus(span).millis().max(counted_from);
    let (recent, recent_failed): (i64, i64) = on_conn!(Tx, tx, c => sqlx::query_as(RECENT)
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(from)
        .fetch_one(&mut **c)
        .await)?;
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Health {
        failing_since: Some(Moment::from_millis(failing_since)),
        recent: count(recent),
        recent_failed: count(recent_failed),
    })
}
