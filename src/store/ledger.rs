//! The effect ledger over SQL.

use std::time::Duration;

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, RunInfo, TenantId,
    ports::{Effect, EffectState, Ledger, Opened},
};
use serde_json::Value;

use super::{Store, StoreError, db::on};

const OPEN: &str = include_str!("queries/effect_open.sql");
const CLOSE: &str = include_str!("queries/effect_close.sql");
const FIND: &str = "SELECT state, job, fence, receipt, updated_at FROM effects \
     WHERE tenant = $1 AND effect_key = $2";
const DISPATCH: &str = "UPDATE effects SET state = 'dispatching', updated_at = $5 \
     WHERE tenant = $1 AND effect_key = $2 AND job = $3 AND fence = $4 AND state = 'intent'";
const UNKNOWN: &str = "SELECT effect_key FROM effects \
     WHERE tenant = $1 AND state = 'unknown' ORDER BY updated_at DESC, effect_key LIMIT $2";

#[derive(sqlx::FromRow)]
struct Row {
    state: String,
    job: String,
    fence: i64,
    receipt: Option<String>,
    updated_at: i64,
}

impl Store {
    /// The ledger's entry for an effect key.
    ///
    /// # Errors
    ///
    /// When the store is out of reach, or the entry is not readable.
    pub async fn effect(&self, tenant: &TenantId, key: &str) -> Result<Option<Effect>, StoreError> {
        let row: Option<Row> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(key)
            .fetch_optional(p)
            .await)?;
        let Some(row) = row else { return Ok(None) };
        let receipt = row.receipt.as_deref().map(serde_json::from_str).transpose();
        Ok(Some(Effect {
            state: state_of(&row.state)?,
            run: format!("{}/{}", row.job, row.fence),
            receipt: receipt
                .map_err(|error| StoreError::Unusable(format!("a receipt: {error}")))?,
            updated_at: Moment::from_millis(row.updated_at),
        }))
    }

    /// Keys of effects that nobody knows the end of, newest first: a person must look.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn unknown_effects(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        Ok(on!(&self.reader, p => sqlx::query_scalar(UNKNOWN)
            .bind(tenant.as_str())
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?)
    }

    async fn take(
        &self,
        run: &RunInfo,
        key: &str,
        now: Moment,
        stale_after: Duration,
    ) -> Result<Opened, StoreError> {
        let taken: Option<String> = on!(&self.writer, p => sqlx::query_scalar(OPEN)
            .bind(run.tenant.as_str())
            .bind(key)
            .bind(run.job.to_string())
            .bind(fence(run))
            .bind(now.millis())
            .bind(now.minus(stale_after).millis())
            .fetch_optional(p)
            .await)?;
        match taken.as_deref().map(state_of).transpose()? {
            Some(EffectState::Intent) => return Ok(Opened::Mine),
            Some(_) => return Ok(Opened::Unknown),
            None => {}
        }
        Ok(match self.effect(&run.tenant, key).await? {
            Some(Effect { state: EffectState::Accepted, receipt, .. }) => {
                Opened::AlreadyAccepted(receipt)
            }
            Some(Effect { state: EffectState::Unknown, .. }) => Opened::Unknown,
            // Held by somebody, or gone this instant: asking again later is right in both cases.
            _ => Opened::Busy,
        })
    }
}

#[async_trait]
impl Ledger for Store {
    async fn open(
        &self,
        run: &RunInfo,
        key: &str,
        now: Moment,
        stale_after: Duration,
    ) -> Result<Opened, Fault> {
        Ok(self.take(run, key, now, stale_after).await?)
    }

    async fn dispatch(&self, run: &RunInfo, key: &str, now: Moment) -> Result<bool, Fault> {
        let changed = on!(&self.writer, p => sqlx::query(DISPATCH)
            .bind(run.tenant.as_str())
            .bind(key)
            .bind(run.job.to_string())
            .bind(fence(run))
            .bind(now.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()));
        Ok(changed.map_err(StoreError::from)? == 1)
    }

    async fn close(
        &self,
        run: &RunInfo,
        key: &str,
        state: EffectState,
        receipt: Option<Value>,
        now: Moment,
    ) -> Result<(), Fault> {
        if matches!(state, EffectState::Intent | EffectState::Dispatching) {
            let words = format!("an effect does not end as {}", word(state));
            return Err(Fault::permanent("not_an_end", words));
        }
        on!(&self.writer, p => sqlx::query(CLOSE)
            .bind(run.tenant.as_str())
            .bind(key)
            .bind(run.job.to_string())
            .bind(fence(run))
            .bind(word(state))
            .bind(receipt.map(|receipt| receipt.to_string()))
            .bind(now.millis())
            .execute(p)
            .await
            .map(|_| ()))
        .map_err(StoreError::from)?;
        Ok(())
    }
}

fn fence(run: &RunInfo) -> i64 {
    // A fence counts claims of one job: it does not get there.
    i64::try_from(run.fence).unwrap_or(i64::MAX)
}

const STATES: [(EffectState, &str); 5] = [
    (EffectState::Intent, "intent"),
    (EffectState::Dispatching, "dispatching"),
    (EffectState::Accepted, "accepted"),
    (EffectState::Refused, "refused"),
    (EffectState::Unknown, "unknown"),
];

fn word(state: EffectState) -> &'static str {
    STATES
        .iter()
        .find_map(|(known, word)| (*known == state).then_some(*word))
        .expect("the list has every state, as its test shows")
}

fn state_of(text: &str) -> Result<EffectState, StoreError> {
    let known = STATES.iter().find(|(_, word)| *word == text);
    known
        .map(|(state, _)| *state)
        .ok_or_else(|| StoreError::Unusable(format!("an effect's state {text:?} is none")))
}
