//! An endpoint's row: what is sealed of it, and how it is read.

use std::{collections::BTreeMap, fmt::Display};

use jobs::contract::{Moment, TenantId, ports::Format};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{EndpointRow, EndpointSettings, Store, StoreError};
use crate::{secrets::Place, webhooks::SigningSecret};

/// A query for whole rows; what follows says which.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, description, format, confidential, events, signature, rate, disabled, \
             failing_since, circuit_until, created_at FROM endpoints ",
            $which
        )
    };
}
pub(super) use select;

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    description: Option<String>,
    format: String,
    pub(super) confidential: String,
    events: String,
    signature: Option<String>,
    rate: Option<String>,
    pub(super) disabled: Option<String>,
    failing_since: Option<i64>,
    circuit_until: Option<i64>,
    created_at: i64,
}

/// What is sealed of an endpoint, in one piece.
#[derive(Serialize, Deserialize)]
pub(super) struct Confidential {
    url: String,
    headers: BTreeMap<String, String>,
    pub(super) secret: String,
    pub(super) old: Vec<Old>,
}

/// A rotated secret, and until when it signs.
#[derive(Serialize, Deserialize)]
pub(super) struct Old {
    pub(super) secret: String,
    pub(super) until: i64,
}

impl Confidential {
    pub(super) fn of(settings: &EndpointSettings, secret: &SigningSecret, old: Vec<Old>) -> Self {
        let plain = |(name, value): (&String, &SecretString)| {
            (name.clone(), value.expose_secret().to_owned())
        };
        Self {
            url: settings.url.expose_secret().to_owned(),
            headers: settings.headers.iter().map(plain).collect(),
            secret: secret.reveal().to_owned(),
            old,
        }
    }
}

pub(super) fn broken(what: &str, words: impl Display) -> StoreError {
    StoreError::Unusable(format!("the {what} of an endpoint: {words}"))
}

fn place<'a>(tenant: &'a TenantId, id: &'a str) -> Place<'a> {
    Place { tenant: tenant.as_str(), table: "endpoints", column: "confidential", row: id }
}

pub(super) const fn word(format: Format) -> &'static str {
    match format {
        Format::Standard => "standard",
        Format::Slack => "slack",
    }
}

fn format_of(word: &str) -> Result<Format, StoreError> {
    match word {
        "standard" => Ok(Format::Standard),
        "slack" => Ok(Format::Slack),
        other => Err(broken("format", format!("{other:?} is none"))),
    }
}

fn secret_of(text: String) -> Result<SigningSecret, StoreError> {
    SigningSecret::read(&text.into()).map_err(|words| broken("secret", words))
}

impl Row {
    /// The row as it is, with what was sealed of it.
    pub(super) fn read(self, opened: Confidential) -> Result<EndpointRow, StoreError> {
        let Confidential { url, headers, secret, old } = opened;
        let old = old
            .into_iter()
            .map(|Old { secret, until }| Ok((secret_of(secret)?, Moment::from_millis(until))));
        let signature = self.signature.as_deref().map(serde_json::from_str).transpose();
        let rate = self.rate.map(|rate| rate.parse()).transpose();
        let settings = EndpointSettings {
            id: self.id,
            description: self.description,
            url: url.into(),
            format: format_of(&self.format)?,
            events: serde_json::from_str(&self.events).map_err(|e| broken("events", e))?,
            headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
            second: signature.map_err(|e| broken("signature", e))?,
            rate: rate.map_err(|words: String| broken("rate", words))?,
            secret: Some(secret_of(secret)?),
            enabled: Some(self.disabled.is_none()),
        };
        Ok(EndpointRow {
            settings,
            old_secrets: old.collect::<Result<_, StoreError>>()?,
            disabled: self.disabled,
            failing_since: self.failing_since.map(Moment::from_millis),
            circuit_until: self.circuit_until.map(Moment::from_millis),
            created_at: Moment::from_millis(self.created_at),
        })
    }
}

impl Store {
    pub(super) fn seal_endpoint(
        &self,
        tenant: &TenantId,
        id: &str,
        what: &Confidential,
    ) -> Result<String, StoreError> {
        let text = serde_json::to_string(what).map_err(|e| broken("secrets", e))?;
        Ok(self.secrets.seal(place(tenant, id), &text.into()))
    }

    pub(super) fn unseal_endpoint(
        &self,
        tenant: &TenantId,
        id: &str,
        sealed: &str,
    ) -> Result<Confidential, StoreError> {
        let opened = self.secrets.unseal(place(tenant, id), sealed);
        let opened = opened.map_err(|e| broken("secrets do not open", e))?;
        serde_json::from_str(opened.expose_secret()).map_err(|e| broken("secrets", e))
    }

    pub(super) fn read_endpoint(
        &self,
        tenant: &TenantId,
        row: Row,
    ) -> Result<EndpointRow, StoreError> {
        let opened = self.unseal_endpoint(tenant, &row.id, &row.confidential)?;
        row.read(opened)
    }
}
