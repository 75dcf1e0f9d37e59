//! Addresses and domains that a tenant must not write to.

use async_trait::async_trait;

use crate::contract::{Fault, Moment, TenantId};

/// Why an address must not be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// `hard_bounce`, `unsubscribed`, `complaint`, `manual` …
    pub reason: String,
    /// Since when.
    pub since: Moment,
}

/// The suppression list of a tenant.
#[async_trait]
pub trait Suppressions: Send + Sync {
    /// The suppression that holds for this address or its domain, if there is one.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn find(&self, tenant: &TenantId, email: &str) -> Result<Option<Suppression>, Fault>;

    /// Suppresses an address; the first reason stays.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn add(
        &self,
        tenant: &TenantId,
        email: &str,
        reason: &str,
        now: Moment,
    ) -> Result<(), Fault>;
}
