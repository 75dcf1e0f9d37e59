//! Databases of the host product.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::{Table, Unfit, ask};
use crate::store::{Db, db::Address};

/// Databases of the host product, by the names that declarations give them. Cheap to clone.
#[derive(Clone)]
pub struct Hosts(Arc<BTreeMap<String, Host>>);

/// A database, connected to when it is first asked.
pub(super) struct Host {
    pub(super) reader: Db,
    pub(super) writer: Db,
}

impl Hosts {
    /// These databases. Nothing is connected to yet.
    ///
    /// # Errors
    ///
    /// When a URL is none: which one, and what was expected.
    pub fn new(databases: &BTreeMap<String, SecretString>) -> Result<Self, String> {
        let mut hosts = BTreeMap::new();
        for (name, url) in databases {
            let address = Address::read_named(url.expose_secret())
                .map_err(|words| format!("database {name}: {words}"))?;
            let (reader, writer) = address.connect_lazily();
            hosts.insert(name.clone(), Host { reader, writer });
        }
        Ok(Self(Arc::new(hosts)))
    }

    /// Compares a table of one of them with its declaration.
    ///
    /// # Errors
    ///
    /// In what they differ, or that nobody can say.
    pub async fn check(&self, table: &Table) -> Result<(), Unfit> {
        match self.of(table) {
            Some(host) => ask(&host.reader, table).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The database of a table; none when it is in the store.
    pub(super) fn of(&self, table: &Table) -> Option<&Host> {
        self.0.get(table.database.as_ref()?)
    }
}
