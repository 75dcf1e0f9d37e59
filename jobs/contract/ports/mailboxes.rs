//! The tenant's mailboxes, as a job sees them: no credentials.

use async_trait::async_trait;

use crate::contract::{Fault, TenantId};

/// A mailbox that mail is sent from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Its address, which is also its name within the tenant.
    pub address: String,
    /// The name shown beside the address.
    pub display_name: Option<String>,
    /// Whether it may send.
    pub status: MailboxStatus,
}

/// Whether a mailbox may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxStatus {
    /// It may.
    Enabled,
    /// It may not; the text says why.
    Disabled(String),
}

/// The mailboxes of a tenant.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// The mailbox with this address (compared without case), if the tenant has it.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn find(&self, tenant: &TenantId, address: &str) -> Result<Option<Mailbox>, Fault>;

    /// Counts a refused login and answers how many there were in a row; the adapter disables the
    /// mailbox at its limit.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn login_refused(
        &self,
        tenant: &TenantId,
        address: &str,
        words: &str,
    ) -> Result<u32, Fault>;

    /// Forgets refused logins: the mailbox works again.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn login_worked(&self, tenant: &TenantId, address: &str) -> Result<(), Fault>;
}
