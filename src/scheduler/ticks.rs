//! How far each entry of the crontab has got, wherever that is kept.

use async_trait::async_trait;
use jobs::contract::{Fault, Moment, TenantId};

/// Remembers up to which moment the ticks of an entry have been dealt with, over restarts and for
/// every scheduler alike.
#[async_trait]
pub trait Ticks: Send + Sync {
    /// Up to which moment the entry has been dealt with; none when it is new.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn last(&self, tenant: &TenantId, name: &str) -> Result<Option<Moment>, Fault>;

    /// Moves an entry from `from` to `to`; `false`, and nothing is changed, when it is not at `from`
    /// any more because another scheduler was faster.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn advance(
        &self,
        tenant: &TenantId,
        name: &str,
        from: Option<Moment>,
        to: Moment,
    ) -> Result<bool, Fault>;
}
