//! The log of deliveries.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Attempt, Deliveries, Delivery, DeliveryState, Health, Trigger},
};
use sqlx::QueryBuilder;

use super::{
    Store, StoreError,
    db::{Tx, on, on_conn},
};

const FIND: &str = "SELECT endpoint, message_id, event, body, state, attempts FROM deliveries \
     WHERE tenant = $1 AND id = $2";
/// Writes deliveries down as they stand. What was written first of their content stays.
const PUT: &str = "INSERT INTO deliveries (tenant, id, endpoint, message_id, event, body, state, \
     attempts, created_at, updated_at) ";
const STANDS: &str = " ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state, \
     attempts = excluded.attempts, updated_at = excluded.updated_at";
/// Writes attempts down; the same again, by a run that lost its lease, changes nothing.
const PUT_ATTEMPTS: &str = "INSERT INTO delivery_attempts (tenant, delivery, number, endpoint, cause, \
     at, ok, dns_ms, connect_ms, first_byte_ms, total_ms, remote, status, class, words, next_at) ";
const KNOWN: &str = " ON CONFLICT (tenant, delivery, number) DO NOTHING";
const HEALED: &str = "UPDATE endpoints SET failing_since = NULL, probe_until = NULL, \
     circuit_until = NULL, counted_from = CASE WHEN circuit_until IS NULL THEN counted_from ELSE ";
const UNWELL: &str = " END WHERE (failing_since IS NOT NULL OR circuit_until IS NOT NULL) \
     AND (tenant, id) IN (";
const FAILED: &str = "UPDATE endpoints SET failing_since = coalesce(failing_since, $3) \
     WHERE tenant = $1 AND id = $2 RETURNING failing_since, counted_from";
const RECENT: &str = "SELECT count(*), CAST(coalesce(sum(1 - ok), 0) AS BIGINT) \
     FROM delivery_attempts WHERE tenant = $1 AND endpoint = $2 AND at >= $3";

/// Rows that one statement writes, at most: each number of them is a statement that is prepared.
const ROWS: usize = 32;

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
    ///
    /// It does not wait until the disk has it. Whether and when a delivery is tried again is the
    /// queue's to know; what a power cut takes from here is the end of what operators read, and a
    /// delivery whose success is forgotten is made again under the same `webhook-id`.
    pub(super) async fn write_log(&self, entries: &[Entry]) -> Result<Vec<Health>, StoreError> {
        let turn = self.writer.turn().await?;
        let mut tx = self.log.begin_unwaited().await?;
        for some in entries.chunks(ROWS) {
            put(&mut tx, some).await?;
            put_attempts(&mut tx, some).await?;
        }
        let (healths, healed) = judge(&mut tx, entries).await?;
        tx.commit().await?;
        drop(turn);
        healed.iter().for_each(|(tenant, id)| self.endpoints.forget(tenant, id));
        Ok(healths)
    }
}

/// An endpoint, by its tenant and its name.
type Of = (TenantId, String);

/// Draws from the attempts, in their order, how their endpoints are doing, and says which of them
/// may have been healed.
async fn judge(tx: &mut Tx, entries: &[Entry]) -> Result<(Vec<Health>, HashSet<Of>), StoreError> {
    let (mut healths, mut all_healed) = (Vec::with_capacity(entries.len()), HashSet::new());
    // Endpoints of attempts that succeeded, since the last one that did not.
    let mut working: HashSet<Of> = HashSet::new();
    for Entry { tenant, delivery, attempt, span, now } in entries {
        let health = match attempt {
            None => Health::default(),
            Some(attempt) if succeeded(attempt) => {
                working.insert((tenant.clone(), delivery.endpoint.clone()));
                Health::default()
            }
            Some(_) => {
                if healed(tx, &working, *now).await? {
                    all_healed.extend(working.drain());
                }
                working.clear();
                failed(tx, tenant, &delivery.endpoint, *span, *now).await?
            }
        };
        healths.push(health);
    }
    let now = entries.iter().map(|entry| entry.now).max().unwrap_or_default();
    if healed(tx, &working, now).await? {
        all_healed.extend(working);
    }
    Ok((healths, all_healed))
}

fn succeeded(attempt: &Attempt) -> bool {
    attempt.exchange.answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
}

async fn put(tx: &mut Tx, entries: &[Entry]) -> Result<(), StoreError> {
    on_conn!(Tx, tx, c => {
        let mut insert = QueryBuilder::new(PUT);
        insert.push_values(entries, |mut row, Entry { tenant, delivery, now, .. }| {
            row.push_bind(tenant.as_str())
                .push_bind(&delivery.id)
                .push_bind(&delivery.endpoint)
                .push_bind(&delivery.message_id)
                .push_bind(&delivery.event)
                // Bodies are JSON, made of JSON: they are UTF-8.
                .push_bind(String::from_utf8_lossy(&delivery.body))
                .push_bind(state_word(delivery.state))
                .push_bind(i64::from(delivery.attempts))
                .push_bind(now.millis())
                .push_bind(now.millis());
        });
        insert.push(STANDS);
        insert.build().execute(&mut **c).await.map(|_| ())
    })?;
    Ok(())
}

async fn put_attempts(tx: &mut Tx, entries: &[Entry]) -> Result<(), StoreError> {
    let made = |entry: &'_ Entry| entry.attempt.is_some();
    if !entries.iter().any(made) {
        return Ok(());
    }
    on_conn!(Tx, tx, c => {
        let mut insert = QueryBuilder::new(PUT_ATTEMPTS);
        let rows = entries.iter().filter_map(|entry| Some((entry, entry.attempt.as_ref()?)));
        insert.push_values(rows, |mut row, (Entry { tenant, delivery, .. }, attempt)| {
            let exchange = &attempt.exchange;
            let (status, class, words) = match &exchange.answer {
                Ok(answer) => (Some(i64::from(answer.status)), None, &answer.excerpt),
                Err(unanswered) => (None, Some(unanswered.class.as_str()), &unanswered.message),
            };
            row.push_bind(tenant.as_str())
                .push_bind(&delivery.id)
                .push_bind(i64::from(delivery.attempts))
                .push_bind(&delivery.endpoint)
                .push_bind(cause(attempt.trigger))
                .push_bind(attempt.at.millis())
                .push_bind(i64::from(succeeded(attempt)))
                .push_bind(millis(exchange.timings.dns_ms))
                .push_bind(millis(exchange.timings.connect_ms))
                .push_bind(millis(exchange.timings.first_byte_ms))
                .push_bind(millis(Some(exchange.timings.total_ms)))
                .push_bind(&exchange.remote)
                .push_bind(status)
                .push_bind(class)
                // Postgres refuses a NUL in a text.
                .push_bind(words.replace('\0', " "))
                .push_bind(attempt.next_at.map(Moment::millis));
        });
        insert.push(KNOWN);
        insert.build().execute(&mut **c).await.map(|_| ())
    })?;
    Ok(())
}

/// Endpoints that work are not failing; a circuit that was open counts anew. Whether one was not well.
async fn healed(tx: &mut Tx, endpoints: &HashSet<Of>, now: Moment) -> Result<bool, StoreError> {
    if endpoints.is_empty() {
        return Ok(false);
    }
    let changed = on_conn!(Tx, tx, c => {
        let mut heal = QueryBuilder::new(HEALED);
        heal.push_bind(now.millis()).push(UNWELL);
        heal.push_values(endpoints, |mut row, (tenant, id)| {
            row.push_bind(tenant.as_str()).push_bind(id);
        });
        heal.push(")");
        heal.build().execute(&mut **c).await.map(|done| done.rows_affected())
    })?;
    Ok(changed > 0)
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
