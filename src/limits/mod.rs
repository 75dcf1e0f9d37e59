//! What a lane may draw on.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::contract::{Fault, LaneName, Problem, TenantId};
use serde::Deserialize;

use crate::{
    config::Rate,
    queue::{LanePolicy, Limit},
};

/// The section `[limits]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// The windows of a mailbox that names none of its own; all of them hold.
    pub mailbox: Vec<Rate>,
    /// Jobs of one mailbox that run at once.
    pub mailbox_in_flight: u32,
    /// Jobs of a tenant's own lane, or of one that a caller named, that run at once.
    pub tenant_in_flight: u32,
}

impl LimitsConfig {
    /// Names the options whose values make no sense.
    pub fn ranges(&self, ranges: &mut crate::config::Ranges) {
        if self.mailbox.is_empty() {
            let words = "expected at least one rate such as 40/h, got none";
            ranges.problem("limits.mailbox", words.into());
        }
        ranges.number("limits.mailbox_in_flight", self.mailbox_in_flight, 1..=100);
        ranges.number("limits.tenant_in_flight", self.tenant_in_flight, 1..=10_000);
    }
}

/// The windows of single mailboxes, from wherever mailboxes are kept.
#[async_trait]
pub trait MailboxRates: Send + Sync {
    /// The windows of this mailbox: none of its own is `Some` of an empty list, no such mailbox is
    /// `None`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn rates(&self, tenant: &TenantId, address: &str) -> Result<Option<Vec<Rate>>, Fault>;
}

/// Resolves lanes to what they may draw on.
#[derive(Clone)]
pub struct Limits {
    config: LimitsConfig,
    mailboxes: Arc<dyn MailboxRates>,
}

impl Limits {
    /// Limits by this configuration and these mailboxes.
    pub fn new(config: LimitsConfig, mailboxes: Arc<dyn MailboxRates>) -> Self {
        Self { config, mailboxes }
    }

    /// What `lane` may draw on, or the problem with the payload that names it.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    pub async fn resolve(
        &self,
        tenant: &TenantId,
        lane: &LaneName,
    ) -> Result<Result<LanePolicy, Problem>, Fault> {
        let Some(address) = lane.as_mailbox() else {
            return Ok(Ok(LanePolicy {
                limits: Vec::new(),
                in_flight: Some(self.config.tenant_in_flight),
            }));
        };
        let Some(own) = self.mailboxes.rates(tenant, address).await? else {
            let words = format!("this tenant has no mailbox {address:?}");
            return Ok(Err(Problem::new("/account", "unknown_account", words)));
        };
        let rates = if own.is_empty() { &self.config.mailbox } else { &own };
        Ok(Ok(LanePolicy {
            limits: rates.iter().map(|rate| window("mailbox", lane.as_str(), *rate)).collect(),
            in_flight: Some(self.config.mailbox_in_flight),
        }))
    }
}

/// A window of `rate` over `bucket`, called `<what> <rate>`.
pub fn window(what: &str, bucket: &str, rate: Rate) -> Limit {
    Limit {
        bucket: bucket.to_owned(),
        label: format!("{what} {rate}"),
        count: rate.count,
        window_ms: u64::try_from(rate.window.as_millis()).unwrap_or(u64::MAX),
        shared: false,
    }
}
