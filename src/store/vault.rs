//! What the secret key seals: the pepper of API keys, and wrapping all of it anew for another key.

use super::{Store, StoreError, db::on};
use crate::secrets::{Place, Secrets};

const PEPPER: &str = "api_key_pepper";
const KEEP: &str = "INSERT INTO vault (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const FIND: &str = "SELECT sealed FROM vault WHERE name = $1";

/// A column of sealed values: how they are read, and how one is replaced if it is still the same.
struct Column {
    table: &'static str,
    column: &'static str,
    all: &'static str,
    replace: &'static str,
}

const COLUMNS: [Column; 3] = [
    Column {
        table: "mailboxes",
        column: "password",
        all: "SELECT tenant, name, password FROM mailboxes WHERE password IS NOT NULL",
        replace: "UPDATE mailboxes SET password = $4 \
             WHERE tenant = $1 AND name = $2 AND password = $3",
    },
    Column {
        table: "endpoints",
        column: "confidential",
        all: "SELECT tenant, id, confidential FROM endpoints",
        replace: "UPDATE endpoints SET confidential = $4 \
             WHERE tenant = $1 AND id = $2 AND confidential = $3",
    },
    Column {
        table: "vault",
        column: "sealed",
        all: "SELECT '', name, sealed FROM vault",
        replace: "UPDATE vault SET sealed = $4 WHERE $1 = '' AND name = $2 AND sealed = $3",
    },
];

/// What wrapping anew did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rewrapped {
    /// Values that are wrapped by the current key now.
    pub rewrapped: u64,
    /// Values that were already.
    pub current: u64,
    /// Values that neither key opens.
    pub unreadable: u64,
}

impl Store {
    /// Finds the pepper that this store's API keys are hashed with, or draws one and keeps it. A store
    /// that was sealed with another key keeps its secrets: its API keys are then unknown.
    pub(super) async fn load_pepper(&mut self) -> Result<(), StoreError> {
        let place = Place { tenant: "", table: "vault", column: "sealed", row: PEPPER };
        let found = match self.kept(PEPPER).await? {
            Some(found) => found,
            None => {
                let sealed = self.secrets.seal(place, &self.secrets.pepper());
                on!(&self.writer, p => {
                    sqlx::query(KEEP).bind(PEPPER).bind(&sealed).execute(p).await.map(|_| ())
                })?;
                // Whoever was first, this is the one that everybody uses.
                self.kept(PEPPER).await?.unwrap_or(sealed)
            }
        };
        let opened = self.secrets.unseal(place, &found);
        match opened.map(|pepper| self.secrets.set_pepper(&pepper)) {
            Ok(true) => {}
            Ok(false) => tracing::error!("the pepper of API keys is damaged: no key is known"),
            Err(error) => {
                tracing::error!(%error, "the pepper of API keys does not open: no key is known");
            }
        }
        Ok(())
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(on!(&self.writer, p => {
            sqlx::query_scalar(FIND).bind(name).fetch_optional(p).await
        })?)
    }

    /// Wraps everything that is sealed by the current secret key; may be repeated, and broken off.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn rewrap(&self) -> Result<Rewrapped, StoreError> {
        let mut did = Rewrapped::default();
        for column in &COLUMNS {
            let rows: Vec<(String, String, String)> = on!(&self.reader, p => {
                sqlx::query_as(column.all).fetch_all(p).await
            })?;
            for (tenant, row, sealed) in rows {
                let place = Place {
                    tenant: &tenant,
                    table: column.table,
                    column: column.column,
                    row: &row,
                };
                match rewrapped(&self.secrets, place, &sealed) {
                    Some(None) => did.current += 1,
                    None => did.unreadable += 1,
                    Some(Some(anew)) => {
                        on!(&self.writer, p => sqlx::query(column.replace)
                            .bind(&tenant)
                            .bind(&row)
                            .bind(&sealed)
                            .bind(anew)
                            .execute(p)
                            .await
                            .map(|_| ()))?;
                        did.rewrapped += 1;
                    }
                }
            }
        }
        Ok(did)
    }

    /// Whether there is a secret key before the current one.
    pub fn has_previous_key(&self) -> bool {
        self.secrets.has_previous()
    }
}

/// What becomes of a value: nothing when no key opens it, nothing inside when it is as it should be.
fn rewrapped(secrets: &Secrets, place: Place<'_>, sealed: &str) -> Option<Option<String>> {
    match secrets.rewrap(place, sealed) {
        Ok(anew) => Some(anew),
        Err(error) => {
            let (table, row) = (place.table, place.row);
            tracing::error!(tenant = place.tenant, table, row, %error, "a sealed value does not open");
            None
        }
    }
}
