//! The point of no return of a mail.

use std::sync::OnceLock;

use async_trait::async_trait;

use crate::contract::{
    Context, Fault,
    ports::{PointOfNoReturn, Suppression},
};

/// Why a mail was held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// The recipient was suppressed meanwhile.
    Suppressed(String),
    /// The ledger's entry is not this run's any more.
    NotOurs,
}

/// Asks, right before a mail is final, whether the recipient still may be written to, and then
/// commits to the ledger that the mail is out.
pub(super) struct Gate<'run> {
    ctx: &'run Context,
    key: &'run str,
    to: &'run str,
    held: OnceLock<Held>,
}

impl<'run> Gate<'run> {
    pub(super) fn new(ctx: &'run Context, key: &'run str, to: &'run str) -> Self {
        Self { ctx, key, to, held: OnceLock::new() }
    }

    /// Why it said no, if it did.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.get().cloned()
    }
}

#[async_trait]
impl PointOfNoReturn for Gate<'_> {
    async fn pass(&self) -> Result<bool, Fault> {
        let ports = self.ctx.ports();
        if let Some(found) = ports.suppressions.find(self.ctx.tenant(), self.to).await? {
            // A mail is asked about once; a second answer could only be the same.
            let _ = self.held.set(Held::Suppressed(suppressed(&found)));
            return Ok(false);
        }
        let ours = ports.ledger.dispatch(self.ctx.info(), self.key, self.ctx.now()).await?;
        if !ours {
            let _ = self.held.set(Held::NotOurs);
        }
        Ok(ours)
    }
}

/// Why nothing is sent to a suppressed recipient.
pub(super) fn suppressed(found: &Suppression) -> String {
    format!("the recipient is suppressed since {}: {}", found.since, found.reason)
}
