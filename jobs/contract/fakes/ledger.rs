//! The ledger, in memory.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use super::lock;
use crate::contract::{
    Fault, Moment, RunInfo, TenantId,
    ports::{Effect, EffectState, Ledger, Opened},
};

/// A ledger in memory.
#[derive(Default)]
pub struct FakeLedger {
    effects: Mutex<BTreeMap<(TenantId, String), Effect>>,
    closing_fails: Mutex<u32>,
    dispatching_fails: Mutex<u32>,
}

impl FakeLedger {
    /// The entry of a key of the tenant `dev`.
    pub fn effect(&self, key: &str) -> Option<Effect> {
        let tenant = "dev".parse().expect("dev is a tenant name");
        lock(&self.effects).get(&(tenant, key.to_owned())).cloned()
    }

    /// Lets the next `count` closings fail as if the store were away.
    pub fn fail_closing(&self, count: u32) {
        *lock(&self.closing_fails) = count;
    }

    /// Lets the next `count` dispatches fail as if the store were away.
    pub fn fail_dispatching(&self, count: u32) {
        *lock(&self.dispatching_fails) = count;
    }
}

fn away(left: &Mutex<u32>) -> Result<(), Fault> {
    let mut left = lock(left);
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    Err(Fault::transient("store_away", "the store is away"))
}

fn job_of(run: &str) -> &str {
    run.split_once('/').map_or(run, |(job, _)| job)
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn open(
        &self,
        run: &RunInfo,
        key: &str,
        now: Moment,
        stale_after: Duration,
    ) -> Result<Opened, Fault> {
        let mut effects = lock(&self.effects);
        let mine = Effect {
            state: EffectState::Intent,
            run: run.run_id(),
            receipt: None,
            updated_at: now,
        };
        let Some(effect) = effects.get_mut(&(run.tenant.clone(), key.to_owned())) else {
            effects.insert((run.tenant.clone(), key.to_owned()), mine);
            return Ok(Opened::Mine);
        };
        let free = job_of(&effect.run) == run.job.to_string()
            || now.since(effect.updated_at) >= stale_after;
        Ok(match effect.state {
            EffectState::Accepted => Opened::AlreadyAccepted(effect.receipt.clone()),
            EffectState::Unknown => Opened::Unknown,
            _ if !free => Opened::Busy,
            EffectState::Intent | EffectState::Refused => {
                *effect = mine;
                Opened::Mine
            }
            EffectState::Dispatching => {
                effect.state = EffectState::Unknown;
                effect.updated_at = now;
                Opened::Unknown
            }
        })
    }

    async fn dispatch(&self, run: &RunInfo, key: &str, now: Moment) -> Result<bool, Fault> {
        away(&self.dispatching_fails)?;
        let mut effects = lock(&self.effects);
        let effect = effects.get_mut(&(run.tenant.clone(), key.to_owned()));
        let ours = |e: &&mut Effect| e.run == run.run_id() && e.state == EffectState::Intent;
        Ok(effect.filter(ours).is_some_and(|effect| {
            effect.state = EffectState::Dispatching;
            effect.updated_at = now;
            true
        }))
    }

    async fn close(
        &self,
        run: &RunInfo,
        key: &str,
        state: EffectState,
        receipt: Option<Value>,
        now: Moment,
    ) -> Result<(), Fault> {
        away(&self.closing_fails)?;
        let mut effects = lock(&self.effects);
        let effect = effects.get_mut(&(run.tenant.clone(), key.to_owned()));
        if let Some(effect) = effect.filter(|e| e.run == run.run_id()) {
            *effect = Effect { state, run: run.run_id(), receipt, updated_at: now };
        }
        Ok(())
    }
}
