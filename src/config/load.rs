//! Where the values come from, and what is said about a wrong one.

use std::{io, path::Path};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::Config;

/// Every option with its unit, default and reason.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

const PREFIX: &str = "POSTRIDER_";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}")]
    Unreadable { file: String, source: io::Error },
    /// The file is no TOML.
    #[error("{from} is not valid TOML: {words}")]
    Syntax { from: String, words: String },
    /// An option that does not exist, or a value that it cannot have.
    #[error("{from}: {option}: {words}")]
    Value { from: String, option: String, words: String },
}

impl Config {
    /// The defaults, overridden by `file` and then by `env` (names and values).
    ///
    /// # Errors
    ///
    /// Names the source, the option, what was expected and what was got.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = parse("the built-in defaults", DEFAULTS)?;
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { file: name.clone(), source })?;
            merge(&mut table, parse(&name, &text)?);
            // Read once per source, so that an error can name where the value came from.
            read::<Self>(&name, &table)?;
        }
        for (name, value) in env {
            let Some(option) = name.strip_prefix(PREFIX) else { continue };
            if option.starts_with("TEST_") {
                continue; // names of the project's own tests
            }
            set(&mut table, &name, option, &value)?;
        }
        read("the environment", &table)
    }
}

fn parse(from: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|e| ConfigError::Syntax {
        from: from.to_owned(),
        words: e.to_string().trim_end().to_owned(),
    })
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Sets `SECTION__KEY` to a value of the type that the option has now, and refuses unknown options.
fn set(table: &mut Table, name: &str, option: &str, text: &str) -> Result<(), ConfigError> {
    let wrong = |words: String| ConfigError::Value {
        from: "the environment".into(),
        option: name.to_owned(),
        words,
    };
    let path: Vec<String> = option.split("__").map(str::to_lowercase).collect();
    let (last, sections) = path.split_last().expect("split gives at least one part");
    let mut at = table;
    for section in sections {
        let next = at.get_mut(section).and_then(Value::as_table_mut);
        at = next.ok_or_else(|| wrong(format!("there is no section {section:?}")))?;
    }
    let value = match at.get(last) {
        Some(Value::Integer(_)) => Value::Integer(
            text.parse().map_err(|_| wrong(format!("expected a whole number, got {text:?}")))?,
        ),
        Some(Value::Boolean(_)) => Value::Boolean(
            text.parse().map_err(|_| wrong(format!("expected true or false, got {text:?}")))?,
        ),
        Some(Value::Float(_)) => Value::Float(
            text.parse().map_err(|_| wrong(format!("expected a number, got {text:?}")))?,
        ),
        Some(Value::Array(_)) => Value::Array(
            text.split(',').map(|part| Value::String(part.trim().to_owned())).collect(),
        ),
        Some(Value::Table(_)) => {
            return Err(wrong("it is a section, not an option".into()));
        }
        // A section with keys of the user's own (concurrency by queue) takes new ones.
        Some(_) => Value::String(text.to_owned()),
        None => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
    };
    at.insert(last.clone(), value);
    Ok(())
}

fn read<T: DeserializeOwned>(from: &str, table: &Table) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|e| ConfigError::Value {
        from: from.to_owned(),
        option: e.path().to_string(),
        words: e.inner().to_string().trim().to_owned(),
    })
}
