//! Mailboxes as the accounts that mail is sent from.

use async_trait::async_trait;
use jobs::contract::{Fault, TenantId};

use super::{MailboxRow, MailboxSettings, Store, StoreError, Transport};
use crate::mail::{self, Account, Accounts, SmtpAccount};

#[async_trait]
impl Accounts for Store {
    async fn account(&self, tenant: &TenantId, address: &str) -> Result<Option<Account>, Fault> {
        let row = self.mailbox_row(tenant, address).await?;
        Ok(row.map(|MailboxRow { settings, .. }| account(settings)).transpose()?)
    }
}

fn account(settings: MailboxSettings) -> Result<Account, StoreError> {
    let MailboxSettings { address, host, port, security, username, password, .. } = settings;
    let transport = match settings.transport {
        Transport::File => mail::Transport::File,
        Transport::Smtp => {
            // `apply` refuses an SMTP mailbox without these, so that only a hand in the store can
            // have taken them away.
            let (Some(host), Some(port), Some(security)) = (host, port, security) else {
                let words = format!("the mailbox {address} has no host, port or security");
                return Err(StoreError::Unusable(words));
            };
            mail::Transport::Smtp(SmtpAccount { host, port, security, username, password })
        }
    };
    Ok(Account { address, transport })
}
