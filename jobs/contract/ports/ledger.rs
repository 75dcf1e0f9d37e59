//! The effect ledger: what has been done to the world, so that it is not done twice.
//!
//! `intent -> dispatching -> accepted | refused | unknown`. The step from `intent` to `dispatching`
//! is the point of no return: it is committed before the last byte that can take effect is written,
//! and only the run that holds the entry can take it.

use async_trait::async_trait;
use serde_json::Value;

use crate::contract::{Fault, Moment, RunInfo};

/// Where an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectState {
    /// Planned; nothing has left the house.
    Intent,
    /// Past the point of no return; the answer is not known yet.
    Dispatching,
    /// The other side took it.
    Accepted,
    /// The other side refused it; nothing happened there.
    Refused,
    /// Nobody knows whether it happened. Only a person, or evidence, can say.
    Unknown,
}

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Where it stands.
    pub state: EffectState,
    /// The run that holds it, as [`RunInfo::run_id`] names it.
    pub run: String,
    /// What the run before left to know: the receipt of an accepted effect.
    pub receipt: Option<Value>,
    /// When the entry last changed.
    pub updated_at: Moment,
}

/// What opening an entry found.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// The entry is this run's, in `intent`: go on.
    Mine,
    /// Already accepted; the receipt of then.
    AlreadyAccepted(Option<Value>),
    /// A run that vanished left it past the point of no return; it is marked `unknown` now.
    Unknown,
    /// Another job's run holds it, and may still be at work.
    Busy,
}

/// The ledger of effects of a tenant, by effect key.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Takes the entry of `key` for this run, or says why not.
    ///
    /// An entry in `intent` or `refused` is taken over from an earlier run of the same job, and from
    /// another job once it has not been touched for `stale_after`. An entry in `dispatching` is
    /// marked `unknown` when it belongs to an earlier run of the same job, or is that old.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn open(
        &self,
        run: &RunInfo,
        key: &str,
        now: Moment,
        stale_after: std::time::Duration,
    ) -> Result<Opened, Fault>;

    /// Takes the entry over the point of no return; `false` when it is not this run's any more, and
    /// nothing may be sent.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach: nothing may be sent then either.
    async fn dispatch(&self, run: &RunInfo, key: &str, now: Moment) -> Result<bool, Fault>;

    /// Writes how it ended: `accepted` with a receipt, `refused` or `unknown`. Writes nothing when
    /// the entry is not this run's any more.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn close(
        &self,
        run: &RunInfo,
        key: &str,
        state: EffectState,
        receipt: Option<Value>,
        now: Moment,
    ) -> Result<(), Fault>;
}
