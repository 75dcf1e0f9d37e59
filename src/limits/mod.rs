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
    /// Deliveries to one webhook endpoint that are made at once.
    pub endpoint_in_flight: u32,
    /// Bulk jobs over the records of one resource that run at once.
    pub resource_in_flight: u32,
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
        ranges.number("limits.endpoint_in_flight", self.endpoint_in_flight, 1..=100);
        ranges.number("limits.resource_in_flight", self.resource_in_flight, 1..=100);
        ranges.number("limits.tenant_in_flight", self.tenant_in_flight, 1..=10_000);
    }
}

/// What single mailboxes and endpoints may draw on, from wherever they are kept.
#[async_trait]
pub trait Rates: Send + Sync {
    /// The windows of a mailbox: none of its own is `Some` of an empty list, no such mailbox is
    /// `None`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn mailbox_rates(
        &self,
        tenant: &TenantId,
        address: &str,
    ) -> Result<Option<Vec<Rate>>, Fault>;

    /// The pace of a webhook endpoint; no such endpoint is `None`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn endpoint_pace(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<EndpointPace>, Fault>;
}

/// The pace of a webhook endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointPace {
    /// Its own window.
    pub own: Option<Rate>,
    /// A window that all endpoints of its URL share, and what the URL is called there.
    pub url: Option<(String, Rate)>,
}

/// Resolves lanes to what they may draw on.
#[derive(Clone)]
pub struct Limits {
    config: LimitsConfig,
    rates: Arc<dyn Rates>,
}

impl Limits {
    /// Limits by this configuration, and by what mailboxes and endpoints say themselves.
    pub fn new(config: LimitsConfig, rates: Arc<dyn Rates>) -> Self {
        Self { config, rates }
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
        if let Some(address) = lane.as_mailbox() {
            return self.mailbox(tenant, lane, address).await;
        }
        if let Some(id) = lane.as_endpoint() {
            return self.endpoint(tenant, lane, id).await;
        }
        let in_flight = Some(match lane.as_resource() {
            Some(_) => self.config.resource_in_flight,
            None => self.config.tenant_in_flight,
        });
        Ok(Ok(LanePolicy { limits: Vec::new(), in_flight }))
    }

    async fn mailbox(
        &self,
        tenant: &TenantId,
        lane: &LaneName,
        address: &str,
    ) -> Result<Result<LanePolicy, Problem>, Fault> {
        let Some(own) = self.rates.mailbox_rates(tenant, address).await? else {
            let words = format!("this tenant has no mailbox {address:?}");
            return Ok(Err(Problem::new("/account", "unknown_account", words)));
        };
        let rates = if own.is_empty() { &self.config.mailbox } else { &own };
        Ok(Ok(LanePolicy {
            limits: rates.iter().map(|rate| window("mailbox", lane.as_str(), *rate)).collect(),
            in_flight: Some(self.config.mailbox_in_flight),
        }))
    }

    async fn endpoint(
        &self,
        tenant: &TenantId,
        lane: &LaneName,
        id: &str,
    ) -> Result<Result<LanePolicy, Problem>, Fault> {
        let Some(EndpointPace { own, url }) = self.rates.endpoint_pace(tenant, id).await? else {
            let words = format!("this tenant has no endpoint {id:?}");
            return Ok(Err(Problem::new("/endpoint_id", "unknown_endpoint", words)));
        };
        let own = own.map(|rate| window("endpoint", lane.as_str(), rate));
        // The URL belongs to whoever answers there, whichever tenants send to it.
        let shared =
            url.map(|(bucket, rate)| Limit { shared: true, ..window("url", &bucket, rate) });
        Ok(Ok(LanePolicy {
            limits: own.into_iter().chain(shared).collect(),
            in_flight: Some(self.config.endpoint_in_flight),
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
