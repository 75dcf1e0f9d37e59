//! Where the values come from, and what is said about a wrong one.

use std::{collections::BTreeMap, ffi::OsString, fmt, io, path::Path};

use toml::{Table, Value};

use super::{Config, Ranges};

/// Every option with its unit, default and reason.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

const PREFIX: &str = "POSTRIDER_";
/// Names of the project's own tests and scripts, and of flags of commands that talk to a façade; no
/// options of the program.
const NOT_OURS: [&str; 2] = ["POSTRIDER_TEST_", "POSTRIDER_CLIENT_"];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{from} is not valid TOML: {words}")]
    Syntax {
        /// The file.
        from: String,
        /// Where, and what was expected there.
        words: String,
    },
    /// Options that do not exist, or values that they cannot have; at least one.
    #[error("{}", lines(.0))]
    Wrong(Vec<WrongValue>),
}

/// An option that does not exist, or a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongValue {
    /// Who said it: a file, an environment variable, a flag.
    pub from: String,
    /// Which option: `http.listen`.
    pub option: String,
    /// What was expected and what was got.
    pub words: String,
}

impl fmt::Display for WrongValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.from, self.option, self.words)
    }
}

fn lines(wrong: &[WrongValue]) -> String {
    wrong.iter().map(WrongValue::to_string).collect::<Vec<_>>().join("\n")
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
        let mut layers = Layers::defaults();
        if let Some(path) = file {
            layers.file(path)?;
        }
        layers.env(env)?;
        layers.read()
    }
}

/// Values laid over one another, each with where it came from.
#[derive(Debug, Clone)]
pub struct Layers {
    table: Table,
    /// Who set which option last, by dotted path; options nobody set are the defaults'.
    from: BTreeMap<String, String>,
}

impl Layers {
    /// The built-in defaults.
    pub fn defaults() -> Self {
        let table = DEFAULTS.parse().expect("config/default.toml is TOML: a test reads it");
        Self { table, from: BTreeMap::new() }
    }

    /// Lays a file over what is there.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no TOML.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { file: name.clone(), source })?;
        self.text(&name, &text)
    }

    /// Lays TOML called `name` over what is there.
    ///
    /// # Errors
    ///
    /// When it is no TOML.
    pub fn text(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        // A file may begin with a byte order mark: some editors write one.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table: Table = text.parse().map_err(|e| syntax(name, text, &e))?;
        merge(&mut self.table, table, name, "", &mut self.from);
        Ok(())
    }

    /// Lays the variables that begin with `POSTRIDER_` over what is there.
    ///
    /// # Errors
    ///
    /// When a value is not of the option's type, or a section does not exist.
    pub fn env(
        &mut self,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in env {
            let Some(option) = name.strip_prefix(PREFIX) else { continue };
            if NOT_OURS.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let path: Vec<String> = option.split("__").map(str::to_lowercase).collect();
            self.set(&name, &path, &value)?;
        }
        Ok(())
    }

    /// Lays one value, told by `from`, over the option with this dotted path.
    ///
    /// # Errors
    ///
    /// As for a variable.
    pub fn option(&mut self, from: &str, option: &str, text: &str) -> Result<(), ConfigError> {
        let path: Vec<String> = option.split('.').map(str::to_owned).collect();
        self.set(from, &path, text)
    }

    /// Reads the configuration, and checks every value's range.
    ///
    /// # Errors
    ///
    /// Names the source, the option, what was expected and what was got.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let config: Config = serde_path_to_error::deserialize(Value::Table(self.table.clone()))
            .map_err(|e| {
                let words = in_words(e.inner().to_string().trim().replace('\n', " "));
                ConfigError::Wrong(vec![self.wrong(e.path().to_string(), words)])
            })?;
        let mut ranges = Ranges::default();
        config.ranges(&mut ranges);
        let wrong: Vec<_> =
            ranges.problems().map(|(option, words)| self.wrong(option, words)).collect();
        if wrong.is_empty() { Ok(config) } else { Err(ConfigError::Wrong(wrong)) }
    }

    /// Names who set `option`, or a part of it.
    fn wrong(&self, option: String, words: String) -> WrongValue {
        let is_in = |part: &str, whole: &str| {
            let rest = part.strip_prefix(whole);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let told = self.from.iter().find(|(path, _)| is_in(path, &option));
        let told = told.or_else(|| self.from.iter().rfind(|(path, _)| is_in(&option, path)));
        let from = told.map_or("the built-in defaults", |(_, from)| from.as_str());
        WrongValue { from: from.to_owned(), option, words }
    }

    /// Sets an option to a value of the type that it has now. Options that do not exist are set as
    /// well, for [`Self::read`] to refuse.
    fn set(&mut self, from: &str, path: &[String], text: &str) -> Result<(), ConfigError> {
        let wrong = |words: String| {
            let (from, option) = (from.to_owned(), path.join("."));
            ConfigError::Wrong(vec![WrongValue { from, option, words }])
        };
        let (last, sections) = path.split_last().expect("a split has at least one part");
        let mut at = &mut self.table;
        for section in sections {
            let next = at.get_mut(section).and_then(Value::as_table_mut);
            at = next.ok_or_else(|| wrong(format!("there is no section {section:?}")))?;
        }
        let value = typed(at.get(last), text).map_err(wrong)?;
        at.insert(last.clone(), value);
        self.from.insert(path.join("."), from.to_owned());
        Ok(())
    }
}

/// An error of the decoder without the names that only a programmer knows.
fn in_words(error: String) -> String {
    let most = |bits: u32| u64::MAX >> (64 - bits);
    for bits in [8, 16, 32, 64] {
        if let Some((got, rest)) = error.rsplit_once(&format!("expected u{bits}"))
            && (rest.is_empty() || rest.starts_with(' '))
        {
            return format!("{got}expected a whole number from 0 to {}{rest}", most(bits));
        }
    }
    error
}

/// `text` as a value of the type that `old` has.
fn typed(old: Option<&Value>, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("expected {what}, got {text:?}");
    Ok(match old {
        Some(Value::Integer(_)) => {
            Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?)
        }
        Some(Value::Boolean(_)) => {
            Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?)
        }
        Some(Value::Float(_)) => Value::Float(text.parse().map_err(|_| wrong("a number"))?),
        Some(Value::Array(items)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| typed(items.first(), part)).collect::<Result<_, _>>()?)
        }
        Some(Value::Table(_)) => return Err("it is a section, not an option".into()),
        Some(_) => Value::String(text.to_owned()),
        // A section with keys of the user's own (concurrency by queue) takes new ones.
        None => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
    })
}

fn merge(
    into: &mut Table,
    table: Table,
    name: &str,
    under: &str,
    from: &mut BTreeMap<String, String>,
) {
    for (key, value) in table {
        let path = if under.is_empty() { key.clone() } else { format!("{under}.{key}") };
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new, name, &path, from),
            (_, value) => {
                from.insert(path, name.to_owned());
                into.insert(key, value);
            }
        }
    }
}

/// Where the text stops being TOML. The line itself is not quoted: it may hold a secret.
fn syntax(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let words = format!("line {line}: {}", error.message().replace('\n', ", "));
    ConfigError::Syntax { from: name.to_owned(), words }
}

/// The variables of this process that Postrider reads; a value that is no text is an error.
///
/// # Errors
///
/// Names the variable.
pub fn variables(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let ours = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some(value.into_string().map(|value| (name.clone(), value)).map_err(|_| {
            let option = name[PREFIX.len()..].to_lowercase().replace("__", ".");
            let words = "expected UTF-8 text, got other bytes".to_owned();
            ConfigError::Wrong(vec![WrongValue { from: name, option, words }])
        }))
    };
    env.into_iter().filter_map(ours).collect()
}
