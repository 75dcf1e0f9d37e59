//! Declarations: files of resources, read whole, every mistake named.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jobs::contract::resource::Resources;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Place, resource};
use crate::config::Config;

/// Postrider's own resources.
pub const OWN: &str = include_str!("../../config/resources.toml");
const OWN_NAME: &str = "config/resources.toml";
/// The places of Postrider's own: no database of the product may be called so.
const OWN_PLACES: [&str; 2] = ["store", "queue"];

/// Everything that is declared.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    resources: Arc<Resources>,
    places: BTreeMap<String, Place>,
    databases: BTreeMap<String, SecretString>,
    /// Databases whose URL is in a variable that is not there, each in words.
    unset: Vec<String>,
}

/// Why there are no declarations; the words name every mistake, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeclarationError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    databases: BTreeMap<String, Database>,
    #[serde(default)]
    resources: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    url: SecretString,
}

/// Whose file is read, and so where its resources may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Postrider,
    Product,
}

impl Declarations {
    /// Postrider's own declarations, and the product's if the configuration has some.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and every mistake in it.
    pub fn configured(config: &Config) -> Result<Self, DeclarationError> {
        Self::configured_beside(config)?.whole()
    }

    /// The same for who touches no database of the product, and so need not know where they are: a resource
    /// in one whose URL is not there has no place.
    ///
    /// # Errors
    ///
    /// As [`Declarations::configured`], but for variables that are not there.
    pub fn configured_beside(config: &Config) -> Result<Self, DeclarationError> {
        let named = &config.resources.file;
        let own = config.data_dir.join("resources.toml");
        let file = match named.as_os_str().is_empty() {
            false => named,
            true if own.exists() => &own,
            true => return Self::own(),
        };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|e| DeclarationError(format!("cannot read the resources {name}: {e}")))?;
        Self::read_beside(&name, &text, &|name| std::env::var(name).ok())
    }

    /// Postrider's own declarations.
    ///
    /// # Errors
    ///
    /// Every mistake in them: a test keeps them free of any.
    pub fn own() -> Result<Self, DeclarationError> {
        let mut reader = Reader::default();
        reader.file(OWN_NAME, OWN, Owner::Postrider, &|_| None);
        reader.end()
    }

    /// The same, and the product's in a file called `name`; `env` knows variables.
    ///
    /// # Errors
    ///
    /// Every mistake in it, each with the name of its resource. No text repeats a URL.
    pub fn read(
        name: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DeclarationError> {
        Self::read_beside(name, text, env)?.whole()
    }

    fn read_beside(
        name: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DeclarationError> {
        let mut reader = Reader::default();
        reader.file(OWN_NAME, OWN, Owner::Postrider, &|_| None);
        reader.file(name, text, Owner::Product, env);
        reader.end()
    }

    fn whole(self) -> Result<Self, DeclarationError> {
        if self.unset.is_empty() { Ok(self) } else { Err(DeclarationError(self.unset.join("\n"))) }
    }

    /// What payloads can name.
    pub fn resources(&self) -> &Arc<Resources> {
        &self.resources
    }

    /// Where the records of a resource lie.
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.places.get(name)
    }

    /// Every place, by the name of its resource.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.places.iter().map(|(name, place)| (name.as_str(), place))
    }

    /// The URLs of the product's databases, by name.
    pub fn databases(&self) -> &BTreeMap<String, SecretString> {
        &self.databases
    }
}

#[derive(Default)]
struct Reader {
    read: Declarations,
    /// The databases of the file, also those about which something is wrong: that is said once.
    named: BTreeSet<String>,
    resources: Vec<Arc<jobs::contract::resource::Resource>>,
    mistakes: Vec<String>,
}

impl Reader {
    fn file(&mut self, name: &str, text: &str, owner: Owner, env: &dyn Fn(&str) -> Option<String>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                // The parser's whole text would repeat the line, and with it perhaps a password.
                let at = error.span().map_or(0, |span| span.start.min(text.len()));
                let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
                let words = error.message().replace('\n', ", ");
                self.mistakes.push(format!("{name}: line {line}: {words}"));
                return;
            }
        };
        for (called, database) in file.databases {
            self.named.insert(called.clone());
            if owner == Owner::Postrider || OWN_PLACES.contains(&&*called) {
                let words = format!("expected a name other than {}", OWN_PLACES.join(" and "));
                self.mistakes.push(format!("{name}: database {called:?}: {words}"));
                continue;
            }
            match url(&database, env) {
                Ok(url) => drop(self.read.databases.insert(called, url)),
                Err(words) => {
                    self.read.unset.push(format!("{name}: database {called:?}: {words}"));
                }
            }
        }
        for (index, table) in file.resources.into_iter().enumerate() {
            let called = match table.get("name").and_then(toml::Value::as_str) {
                Some(called) => format!("resource {called:?}"),
                None => format!("resource number {}", index + 1),
            };
            let found = self.resource(table, owner).err().unwrap_or_default();
            let found = found.iter().map(|words| format!("{name}: {called}: {words}"));
            self.mistakes.extend(found);
        }
    }

    fn resource(&mut self, table: toml::Table, owner: Owner) -> Result<(), Vec<String>> {
        let (resource, place) = resource::read(table)?;
        let name = resource.name.clone();
        let database = match &place {
            Place::DeadJobs => "queue",
            Place::Table(table) => table.database.as_deref().unwrap_or("store"),
        };
        let is_own = OWN_PLACES.contains(&database);
        if is_own != (owner == Owner::Postrider) {
            return Err(vec!["database: expected one that this file declares".to_owned()]);
        }
        if !is_own && !self.named.contains(database) {
            return Err(vec![format!("database: there is no [databases.{database}]")]);
        }
        if self.resources.iter().any(|other| other.name == name) {
            return Err(vec!["name: another resource has it".to_owned()]);
        }
        if is_own || self.read.databases.contains_key(database) {
            self.read.places.insert(name, place);
        }
        self.resources.push(resource);
        Ok(())
    }

    fn end(mut self) -> Result<Declarations, DeclarationError> {
        if !self.mistakes.is_empty() {
            self.mistakes.splice(0..0, self.read.unset);
            return Err(DeclarationError(self.mistakes.join("\n")));
        }
        self.read.resources = Arc::new(Resources::new(self.resources));
        Ok(self.read)
    }
}

/// The URL itself, or what the variable that it names says.
fn url(database: &Database, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, String> {
    let Some(variable) = database.url.expose_secret().strip_prefix("env:") else {
        return Ok(database.url.clone());
    };
    let value = env(variable).filter(|value| !value.is_empty());
    value
        .map(SecretString::from)
        .ok_or_else(|| format!("url: the environment has no variable {variable:?}, or it is empty"))
}
