//! Mailboxes: from where a tenant writes.

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Mailbox, Mailboxes},
};
use secrecy::SecretString;

use super::{
    EndpointSettings, MailboxRow, MailboxSettings, Put, Registered, Store, StoreError,
    db::{Tx, on, on_conn},
    name_of,
    warmup::{self, WarmupRow},
};
use crate::{
    config::Rate,
    limits::{EndpointPace, Rates},
    mail::Security,
    secrets::Place,
};

/// What applying settings changed.
#[derive(Debug)]
pub struct Applied {
    /// Of each mailbox.
    pub mailboxes: Vec<Put>,
    /// Of each suppression.
    pub suppressions: Vec<Put>,
    /// Of each endpoint.
    pub endpoints: Vec<Registered>,
}

/// How many characters of a server's words about a refused login are kept.
const LONGEST_REFUSAL: usize = 300;

const PUT: &str = include_str!("queries/mailbox_put.sql");
const FIND: &str = concat!(include_str!("queries/mailboxes.sql"), " AND m.name = $2");
const ALL: &str = concat!(include_str!("queries/mailboxes.sql"), " ORDER BY m.name");
const REFUSED: &str = "UPDATE mailboxes SET refused_logins = refused_logins + 1, refusal = $3 \
     WHERE tenant = $1 AND name = $2 RETURNING refused_logins";
const WORKED: &str = "UPDATE mailboxes SET refused_logins = 0, refusal = NULL \
     WHERE tenant = $1 AND name = $2 AND refused_logins > 0";

#[derive(sqlx::FromRow)]
struct Row {
    address: String,
    display_name: Option<String>,
    transport: String,
    host: Option<String>,
    port: Option<i64>,
    security: Option<String>,
    username: Option<String>,
    password: Option<String>,
    limits: String,
    enabled: i64,
    refused_logins: i64,
    refusal: Option<String>,
    #[sqlx(flatten)]
    warmup: WarmupRow,
}

fn place<'a>(tenant: &'a TenantId, name: &'a str) -> Place<'a> {
    Place { tenant: tenant.as_str(), table: "mailboxes", column: "password", row: name }
}

impl Row {
    /// Everything but the password, which only those who need it unseal.
    fn read(self) -> Result<(MailboxRow, Option<String>), StoreError> {
        let broken = |what: &str, words: String| {
            StoreError::Unusable(format!("the {what} of a mailbox: {words}"))
        };
        let limits: Vec<String> = serde_json::from_str(&self.limits)
            .map_err(|error| broken("limits", error.to_string()))?;
        let limits = limits.iter().map(|rate| rate.parse()).collect::<Result<_, _>>();
        let security = self.security.map(|word| word.parse()).transpose();
        let port = self.port.map(u16::try_from).transpose();
        let settings = MailboxSettings {
            address: self.address,
            display_name: self.display_name,
            transport: self.transport.parse().map_err(|words| broken("transport", words))?,
            host: self.host,
            port: port.map_err(|error| broken("port", error.to_string()))?,
            security: security.map_err(|words| broken("security", words))?,
            username: self.username,
            password: None,
            limits: limits.map_err(|words| broken("limits", words))?,
            enabled: self.enabled != 0,
            warmup: self.warmup.read()?,
        };
        let refused_logins = u32::try_from(self.refused_logins).unwrap_or(u32::MAX);
        Ok((MailboxRow { settings, refused_logins, refusal: self.refusal }, self.password))
    }
}

impl Store {
    /// The tenant's mailbox with this address (compared without case), with its password unsealed.
    ///
    /// # Errors
    ///
    /// When the store is out of reach, or the password was sealed with another key.
    pub async fn mailbox_row(
        &self,
        tenant: &TenantId,
        address: &str,
    ) -> Result<Option<MailboxRow>, StoreError> {
        let name = name_of(address);
        let Some((mut row, sealed)) = self.mailbox(tenant, &name).await? else { return Ok(None) };
        row.settings.password = self.unseal(tenant, &name, sealed)?;
        Ok(Some(row))
    }

    /// The tenant's mailboxes in the order of their addresses, without their passwords.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn mailboxes(&self, tenant: &TenantId) -> Result<Vec<MailboxRow>, StoreError> {
        let rows: Vec<Row> = on!(&self.reader, p => sqlx::query_as(ALL)
            .bind(tenant.as_str())
            .fetch_all(p)
            .await)?;
        rows.into_iter().map(|row| row.read().map(|(row, _)| row)).collect()
    }

    /// Makes mailboxes and endpoints or replaces their settings, and adds suppressions, an address or
    /// `@domain` and its reason each: all or nothing. Says of each what that changed, in the order
    /// given.
    ///
    /// # Errors
    ///
    /// When the tenant is not there, or the store is out of reach.
    pub async fn apply(
        &self,
        tenant: &TenantId,
        mailboxes: &[MailboxSettings],
        suppressions: &[(String, String)],
        endpoints: &[EndpointSettings],
        now: Moment,
    ) -> Result<Applied, StoreError> {
        self.require_tenant(tenant).await?;
        let mut tx = self.writer.begin().await?;
        let mut mailboxes_put = Vec::with_capacity(mailboxes.len());
        for settings in mailboxes {
            mailboxes_put.push(self.put_mailbox(&mut tx, tenant, settings, now).await?);
        }
        let mut suppressions_put = Vec::with_capacity(suppressions.len());
        for (entry, reason) in suppressions {
            let added = super::suppressions::add(&mut tx, tenant, entry, reason, now).await?;
            suppressions_put.push(if added { Put::Created } else { Put::Unchanged });
        }
        let endpoints = self.put_endpoints(&mut tx, tenant, endpoints, now).await?;
        tx.commit().await?;
        self.endpoints.forget_all_of(tenant);
        Ok(Applied { mailboxes: mailboxes_put, suppressions: suppressions_put, endpoints })
    }

    async fn put_mailbox(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        settings: &MailboxSettings,
        now: Moment,
    ) -> Result<Put, StoreError> {
        let name = name_of(&settings.address);
        let before: Option<Row> = on_conn!(Tx, tx, c => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(&name)
            .fetch_optional(&mut **c)
            .await)?;
        let put = if before.is_some() { Put::Updated } else { Put::Created };
        if let Some((mut row, sealed)) = before.map(Row::read).transpose()? {
            // A password that does not open any more is another password: it is replaced.
            row.settings.password = self.unseal(tenant, &name, sealed).unwrap_or_default();
            if row.is_as(settings) {
                return Ok(Put::Unchanged);
            }
        }
        let sealed = settings
            .password
            .as_ref()
            .map(|secret| self.secrets.seal(place(tenant, &name), secret));
        let limits: Vec<String> = settings.limits.iter().map(Rate::to_string).collect();
        on_conn!(Tx, tx, c => sqlx::query(PUT)
            .bind(tenant.as_str())
            .bind(&name)
            .bind(&settings.address)
            .bind(&settings.display_name)
            .bind(settings.transport.as_str())
            .bind(&settings.host)
            .bind(settings.port.map(i64::from))
            .bind(settings.security.map(Security::as_str))
            .bind(&settings.username)
            .bind(sealed)
            .bind(serde_json::Value::from(limits).to_string())
            .bind(i64::from(settings.enabled))
            .bind(now.millis())
            .execute(&mut **c)
            .await
            .map(|_| ()))?;
        if let Some(warmup) = &settings.warmup {
            warmup::put(tx, tenant, &name, warmup, now).await?;
        }
        Ok(put)
    }

    async fn mailbox(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Option<(MailboxRow, Option<String>)>, StoreError> {
        let row: Option<Row> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(name)
            .fetch_optional(p)
            .await)?;
        row.map(Row::read).transpose()
    }

    fn unseal(
        &self,
        tenant: &TenantId,
        name: &str,
        sealed: Option<String>,
    ) -> Result<Option<SecretString>, StoreError> {
        let opened = sealed.map(|sealed| self.secrets.unseal(place(tenant, name), &sealed));
        opened.transpose().map_err(|error| {
            StoreError::Unusable(format!("the password of a mailbox does not open: {error}"))
        })
    }
}

#[async_trait]
impl Mailboxes for Store {
    async fn find(&self, tenant: &TenantId, address: &str) -> Result<Option<Mailbox>, Fault> {
        let found = self.mailbox(tenant, &name_of(address)).await?;
        Ok(found.map(|(row, _)| Mailbox {
            status: row.status(),
            address: row.settings.address,
            display_name: row.settings.display_name,
        }))
    }

    async fn login_refused(
        &self,
        tenant: &TenantId,
        address: &str,
        words: &str,
    ) -> Result<u32, Fault> {
        let words: String = words.chars().filter(|c| *c != '\0').take(LONGEST_REFUSAL).collect();
        let count: Option<i64> = on!(&self.writer, p => sqlx::query_scalar(REFUSED)
            .bind(tenant.as_str())
            .bind(name_of(address))
            .bind(words)
            .fetch_optional(p)
            .await)
        .map_err(StoreError::from)?;
        Ok(u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX))
    }

    async fn login_worked(&self, tenant: &TenantId, address: &str) -> Result<(), Fault> {
        on!(&self.writer, p => sqlx::query(WORKED)
            .bind(tenant.as_str())
            .bind(name_of(address))
            .execute(p)
            .await
            .map(|_| ()))
        .map_err(StoreError::from)?;
        Ok(())
    }
}

#[async_trait]
impl Rates for Store {
    async fn mailbox_rates(
        &self,
        tenant: &TenantId,
        address: &str,
    ) -> Result<Option<Vec<Rate>>, Fault> {
        let found = self.mailbox(tenant, &name_of(address)).await?;
        Ok(found.map(|(row, _)| row.settings.limits))
    }

    async fn endpoint_pace(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<EndpointPace>, Fault> {
        Ok(self.pace_of(tenant, id).await?)
    }
}
