//! Back into their lanes, with all their attempts.

use async_trait::async_trait;
use jobs::contract::{JobId, TenantId};

use super::Deed;
use crate::queue::{Changed, Queue, QueueError};

pub(super) struct Retry;

#[async_trait]
impl Deed for Retry {
    fn name(&self) -> &'static str {
        "retry"
    }

    async fn perform(
        &self,
        queue: &dyn Queue,
        tenant: &TenantId,
        id: JobId,
    ) -> Result<bool, QueueError> {
        Ok(queue.retry(tenant, id).await? == Changed::Done)
    }
}
