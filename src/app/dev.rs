//! What `up` and `demo` begin with: a tenant, a key, a mailbox.

use std::path::Path;

use jobs::contract::{Moment, TenantId, ports::Clock};

use super::App;
use crate::{
    cli::{Failure, apply, keys},
    clock::SystemClock,
    http::auth::Keys,
    secrets::Environment,
    store::{KeyRecord, MailboxSettings, NewKey, NewKeyError},
};

/// The mailbox of tenant `dev`; its mail is written to files.
const DEV_MAILBOX: &str = "dev@example.com";
/// What marks the keys that are made here.
const LABEL: &str = "made by postrider up";

impl App {
    /// Whether this is a key that the façade would take.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn knows_key(&self, key: &str) -> Result<bool, Failure> {
        let caller = self.store.caller(key).await;
        Ok(caller.map_err(|fault| Failure::unavailable(fault.to_string()))?.is_some())
    }

    /// Makes tenant `dev` and its mailbox `dev@example.com`, where they are missing, and a new key.
    ///
    /// # Errors
    ///
    /// When the store is out of reach, or the tenant has all the keys that it may have.
    pub async fn make_dev(&self) -> Result<String, Failure> {
        let (tenant, now) = (dev(), SystemClock.now());
        self.store.create_tenant(&tenant, now).await?;
        if self.store.mailbox_row(&tenant, DEV_MAILBOX).await?.is_none() {
            self.store.apply(&tenant, &[MailboxSettings::file(DEV_MAILBOX)], &[], &[], now).await?;
        }
        self.revoke_lost_keys(&tenant, now).await?;
        let new = NewKey {
            environment: Environment::Test,
            label: Some(LABEL.into()),
            scopes: keys::all_scopes(self.intake.catalogue()),
            expires_at: None,
        };
        match self.store.create_key(&tenant, &new, now).await {
            Ok(key) => Ok(key.reveal().to_owned()),
            Err(NewKeyError::TooMany(_)) => Err(Failure::config(
                "tenant dev has all the keys that it may have: revoke one with \
                 `postrider keys revoke --tenant dev ID`",
            )),
            Err(NewKeyError::Store(error)) => Err(error.into()),
        }
    }

    /// A key is made anew because the one before is lost: nobody shall use that one.
    async fn revoke_lost_keys(&self, tenant: &TenantId, now: Moment) -> Result<(), Failure> {
        let keys = self.store.keys(tenant).await?;
        let lost =
            |key: &&KeyRecord| key.label.as_deref() == Some(LABEL) && key.revoked_at.is_none();
        for key in keys.iter().filter(lost) {
            self.store.revoke_key(tenant, &key.id, now).await?;
        }
        Ok(())
    }

    /// Loads a file of mailboxes or of people for tenant `dev`, as `postrider apply` does.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub async fn apply(&self, file: &Path) -> Result<(), Failure> {
        let args = apply::ApplyArgs {
            files: vec![file.to_owned()],
            tenant: dev(),
            create_tenant: false,
            skip_invalid: false,
        };
        let mut unread = std::io::sink();
        Ok(apply::run(&args, &self.apply_deps(), false, &mut unread).await?)
    }

    /// What `postrider apply` works with.
    pub fn apply_deps(&self) -> apply::ApplyDeps<'_> {
        apply::ApplyDeps {
            store: &self.store,
            lanes: &self.queue,
            limits: &self.limits,
            guard: &self.guard,
            clock: &SystemClock,
            env: &|name| std::env::var(name).ok(),
        }
    }
}

fn dev() -> TenantId {
    "dev".parse().expect("a tenant name by the rules of TenantId")
}
