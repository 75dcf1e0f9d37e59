//! The log of deliveries, as operators read it, and how it is kept short.

use jobs::contract::{Moment, TenantId, ports::DeliveryState};
use serde::Serialize;

use super::{
    Store, StoreError,
    db::on,
    deliveries::{state_of, state_word},
};

const LIST: &str = "SELECT id, event, message_id, state, attempts, created_at, updated_at \
     FROM deliveries WHERE tenant = $1 AND endpoint = $2 AND ($3 = '' OR state = $3) \
     ORDER BY created_at DESC, id DESC LIMIT $4";
const ATTEMPTS: &str = "SELECT number, cause, at, dns_ms, connect_ms, first_byte_ms, total_ms, \
     remote, status, class, words, next_at FROM delivery_attempts \
     WHERE tenant = $1 AND endpoint = $2 AND delivery = $3 ORDER BY number";
const FAILED: &str = "SELECT id FROM deliveries \
     WHERE tenant = $1 AND endpoint = $2 AND state = 'failed' AND updated_at >= $3 AND id > $4 \
     ORDER BY id LIMIT $5";
const PRUNE_ATTEMPTS: &str = "DELETE FROM delivery_attempts WHERE (tenant, delivery) IN \
     (SELECT tenant, id FROM deliveries WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
const PRUNE: &str = "DELETE FROM deliveries WHERE (tenant, id) IN \
     (SELECT tenant, id FROM deliveries WHERE created_at < $1 ORDER BY created_at LIMIT $2)";

/// A delivery, as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryRecord {
    /// Its name: `dlv_…`.
    pub id: String,
    /// The event's type.
    pub event: String,
    /// What `webhook-id` says.
    pub event_id: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Requests made so far.
    pub attempts: u32,
    /// When it was first written down.
    pub created_at: Moment,
    /// When that changed last.
    pub updated_at: Moment,
}

/// An attempt, as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptLine {
    /// Its number within the delivery, from 1.
    pub number: u32,
    /// `scheduled`, `manual` or `replay`.
    pub trigger: String,
    /// When it began.
    pub at: Moment,
    /// Milliseconds of the look-up.
    pub dns_ms: Option<u64>,
    /// Milliseconds of the connection, TLS included.
    pub connect_ms: Option<u64>,
    /// Milliseconds from the request to the answer's head.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds of all of it.
    pub total_ms: u64,
    /// The address that was dialled.
    pub remote: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub class: Option<String>,
    /// The answer's beginning, or the failure in words.
    pub words: String,
    /// When the next attempt was due.
    pub next_at: Option<Moment>,
}

#[derive(sqlx::FromRow)]
struct Listed {
    id: String,
    event: String,
    message_id: String,
    state: String,
    attempts: i64,
    created_at: i64,
    updated_at: i64,
}

#[derive(sqlx::FromRow)]
struct Line {
    number: i64,
    cause: String,
    at: i64,
    dns_ms: Option<i64>,
    connect_ms: Option<i64>,
    first_byte_ms: Option<i64>,
    total_ms: i64,
    remote: Option<String>,
    status: Option<i64>,
    class: Option<String>,
    words: String,
    next_at: Option<i64>,
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Line {
    fn read(self) -> AttemptLine {
        AttemptLine {
            number: small(self.number),
            trigger: self.cause,
            at: Moment::from_millis(self.at),
            dns_ms: self.dns_ms.map(i64::unsigned_abs),
            connect_ms: self.connect_ms.map(i64::unsigned_abs),
            first_byte_ms: self.first_byte_ms.map(i64::unsigned_abs),
            total_ms: self.total_ms.unsigned_abs(),
            remote: self.remote,
            status: self.status.and_then(|status| u16::try_from(status).ok()),
            class: self.class,
            words: self.words,
            next_at: self.next_at.map(Moment::from_millis),
        }
    }
}

impl Store {
    /// The newest deliveries to an endpoint, of one state if wished.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn deliveries(
        &self,
        tenant: &TenantId,
        endpoint: &str,
        state: Option<DeliveryState>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let rows: Vec<Listed> = on!(&self.reader, p => sqlx::query_as(LIST)
            .bind(tenant.as_str())
            .bind(endpoint)
            .bind(state.map_or("", state_word))
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?;
        let read = |row: Listed| {
            Ok(DeliveryRecord {
                id: row.id,
                event: row.event,
                event_id: row.message_id,
                state: state_of(&row.state)?,
                attempts: small(row.attempts),
                created_at: Moment::from_millis(row.created_at),
                updated_at: Moment::from_millis(row.updated_at),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// The attempts of a delivery to an endpoint, in their order.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn attempts(
        &self,
        tenant: &TenantId,
        endpoint: &str,
        delivery: &str,
    ) -> Result<Vec<AttemptLine>, StoreError> {
        let rows: Vec<Line> = on!(&self.reader, p => sqlx::query_as(ATTEMPTS)
            .bind(tenant.as_str())
            .bind(endpoint)
            .bind(delivery)
            .fetch_all(p)
            .await)?;
        Ok(rows.into_iter().map(Line::read).collect())
    }

    /// Names of deliveries to an endpoint that failed since a moment, in the order of their names, those
    /// after `after`.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn failed_deliveries(
        &self,
        tenant: &TenantId,
        endpoint: &str,
        since: Moment,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        Ok(on!(&self.reader, p => sqlx::query_scalar(FAILED)
            .bind(tenant.as_str())
            .bind(endpoint)
            .bind(since.millis())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?)
    }

    /// Removes at most `max` deliveries that were made before a moment, with their attempts, and
    /// answers how many.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn prune_deliveries(&self, before: Moment, max: u32) -> Result<u64, StoreError> {
        self.prune_with([PRUNE_ATTEMPTS, PRUNE], before, max).await
    }
}
