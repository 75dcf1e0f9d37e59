//! The ports: all that a job may ask of the world.
//!
//! Each port is a trait with few verbs in the job's words. Its adapters live in the engine; its
//! fakes in [`super::fakes`].

mod follow_ups;
mod ledger;
mod mail;
mod mailboxes;
mod records;
mod suppressions;
mod webhooks;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use self::{
    follow_ups::{FollowUp, FollowUps},
    ledger::{Effect, EffectState, Ledger, Opened},
    mail::*,
    mailboxes::{Mailbox, MailboxStatus, Mailboxes},
    records::{
        Account, Advance, Change, Changed, Chunk, ItemError, ItemErrors, Planned, Records, Search,
    },
    suppressions::{Suppression, Suppressions},
    webhooks::*,
};
use super::{Cursor, Fault, Moment, RunInfo};

/// Every port, as one run is handed them.
#[derive(Clone)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The log of webhook deliveries.
    pub deliveries: Arc<dyn Deliveries>,
    /// The tenant's webhook endpoints.
    pub endpoints: Arc<dyn Endpoints>,
    /// Jobs that follow from this one.
    pub follow_ups: Arc<dyn FollowUps>,
    /// What has been done to the world, so that it is not done twice.
    pub ledger: Arc<dyn Ledger>,
    /// Composing and sending mail.
    pub mail: Arc<dyn Mail>,
    /// The tenant's mailboxes.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Records that are changed in bulk.
    pub records: Arc<dyn Records>,
    /// Addresses that must not be written to.
    pub suppressions: Arc<dyn Suppressions>,
    /// Requests to webhook endpoints.
    pub webhooks: Arc<dyn Webhooks>,
}

/// The time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The current moment.
    fn now(&self) -> Moment;

    /// Waits this long. A clock that only tells the time does not wait.
    async fn sleep(&self, _span: Duration) {}
}

/// Where a long job says how far it has got.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Stores `cursor` for the job of this run.
    ///
    /// # Errors
    ///
    /// A fault when the run's lease is lost or the queue is out of reach.
    async fn checkpoint(&self, run: &RunInfo, cursor: &Cursor) -> Result<(), Fault>;
}
