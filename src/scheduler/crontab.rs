//! The crontab: a file of entries, read whole, every mistake named.

use std::{collections::BTreeSet, path::Path};

use jiff::tz::TimeZone;
use jobs::contract::{Catalogue, TenantId, resource::Resources};
use serde::Deserialize;
use serde_json::Value;

use super::{Expression, Timetable};
use crate::config::Config;

/// What becomes of ticks that nobody fired in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are dropped.
    #[default]
    Skip,
    /// The newest of them fires, for all.
    Once,
    /// Each of them fires, oldest first.
    All,
}

/// One line of the crontab.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name, within the tenant.
    pub name: String,
    /// Whose job it submits.
    pub tenant: TenantId,
    /// When.
    pub timetable: Timetable,
    /// The wire name of the job's kind.
    pub kind: String,
    /// The job's payload.
    pub payload: Value,
    /// What becomes of missed ticks.
    pub missed: Missed,
}

/// The crontab.
#[derive(Debug, Clone, Default)]
pub struct Crontab {
    entries: Vec<Entry>,
}

/// Why there is no crontab; the words name every mistake, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CrontabError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    entries: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    cron: String,
    #[serde(default = "utc")]
    time_zone: String,
    tenant: TenantId,
    #[serde(rename = "type")]
    kind: String,
    payload: toml::Table,
    #[serde(default)]
    missed: Missed,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Crontab {
    /// Reads the crontab in `path`, for these kinds and resources.
    ///
    /// # Errors
    ///
    /// When it cannot be read, and every mistake in it, each with the name of its entry.
    pub fn read(
        path: &Path,
        catalogue: &Catalogue,
        declared: &Resources,
    ) -> Result<Self, CrontabError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| CrontabError(format!("cannot read the crontab {name}: {e}")))?;
        Self::parse(&name, &text, catalogue, declared)
    }

    /// Reads the crontab that the configuration names, or `crontab.toml` in the data directory if
    /// there is one.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn configured(
        config: &Config,
        catalogue: &Catalogue,
        declared: &Resources,
    ) -> Result<Self, CrontabError> {
        if !config.scheduler.crontab.as_os_str().is_empty() {
            return Self::read(&config.scheduler.crontab, catalogue, declared);
        }
        let own = config.data_dir.join("crontab.toml");
        if own.exists() { Self::read(&own, catalogue, declared) } else { Ok(Self::default()) }
    }

    /// Reads a crontab called `name`.
    ///
    /// # Errors
    ///
    /// Every mistake in it, each with the name of its entry.
    pub fn parse(
        name: &str,
        text: &str,
        catalogue: &Catalogue,
        declared: &Resources,
    ) -> Result<Self, CrontabError> {
        let file: File = toml::from_str(text).map_err(|e| {
            CrontabError(format!("{name} is no crontab: {}", e.to_string().trim_end()))
        })?;
        let mut entries = Vec::with_capacity(file.entries.len());
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        for (index, table) in file.entries.into_iter().enumerate() {
            let called = called(&table, index);
            match entry(table, catalogue, declared) {
                Ok(entry) if names.insert((entry.tenant.clone(), entry.name.clone())) => {
                    entries.push(entry);
                }
                Ok(entry) => {
                    let words = format!("tenant {} has another entry of this name", entry.tenant);
                    mistakes.push(format!("{name}: {called}: {words}"));
                }
                Err(found) => {
                    mistakes.extend(found.iter().map(|words| format!("{name}: {called}: {words}")));
                }
            }
        }
        if mistakes.is_empty() {
            Ok(Self { entries })
        } else {
            Err(CrontabError(mistakes.join("\n")))
        }
    }

    /// The entries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, in the order of the file.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

fn called(table: &toml::Table, index: usize) -> String {
    match table.get("name").and_then(toml::Value::as_str) {
        Some(name) => format!("entry {name:?}"),
        None => format!("entry number {}", index + 1),
    }
}

fn entry(
    table: toml::Table,
    catalogue: &Catalogue,
    declared: &Resources,
) -> Result<Entry, Vec<String>> {
    let written: Written = serde_path_to_error::deserialize(table).map_err(|e| {
        let words = e.inner().to_string().trim().replace('\n', " ");
        vec![match e.path().to_string().as_str() {
            "." => words,
            path => format!("{path}: {words}"),
        }]
    })?;
    let mut mistakes = Vec::new();
    if !is_name(&written.name) {
        mistakes.push("name: expected 1 to 64 letters, digits, '-', '_' or '.'".to_owned());
    }
    let expression: Result<Expression, _> = written.cron.parse();
    let expression = expression.map_err(|words| mistakes.push(format!("cron: {words}"))).ok();
    let zone = TimeZone::get(&written.time_zone).ok();
    if zone.is_none() {
        let got = &written.time_zone;
        mistakes.push(format!("time_zone: expected a name such as Europe/Berlin, got {got:?}"));
    }
    let payload = json(toml::Value::Table(written.payload));
    mistakes.extend(job(&written.kind, &payload, catalogue, declared));
    match (expression, zone) {
        (Some(expression), Some(zone)) if mistakes.is_empty() => Ok(Entry {
            name: written.name,
            tenant: written.tenant,
            timetable: Timetable::new(expression, zone),
            kind: written.kind,
            payload,
            missed: written.missed,
        }),
        _ => Err(mistakes),
    }
}

/// Everything wrong with the job that an entry submits.
fn job(kind: &str, payload: &Value, catalogue: &Catalogue, declared: &Resources) -> Vec<String> {
    let Some(known) = catalogue.find(kind) else {
        let kinds = catalogue.kinds().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        return vec![format!("type: there is no kind {kind:?}; the kinds are {kinds}")];
    };
    let problems = known.check(payload, declared).err().unwrap_or_default();
    problems.into_iter().map(|p| format!("/payload{}: {}", p.pointer, p.message)).collect()
}

/// TOML as JSON; a date or time becomes its text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => Value::Bool(yes),
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(k, v)| (k, json(v))).collect(),
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}
