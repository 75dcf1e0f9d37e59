//! What applying a file did.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use super::{people::Seen, settings::Declared};
use crate::store::{Applied, Loaded, Put, Registered};

/// What applying one file did.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The file.
    pub file: String,
    /// Its mailboxes, if it is a file of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailboxes: Option<Counts>,
    /// Its suppressions, if it is a file of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressions: Option<Counts>,
    /// The addresses of the mailboxes that were made or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed_mailboxes: Vec<String>,
    /// Its endpoints, if it is a file of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Counts>,
    /// The signing secrets that were made, by endpoint: shown this once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Its endpoints that stay disabled, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disabled: BTreeMap<String, String>,
    /// Its people, if it is a file of people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prospects: Option<PeopleReport>,
}

/// How many things were created, updated and left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Not there before.
    pub created: u64,
    /// There before, and different.
    pub updated: u64,
    /// There before, and the same.
    pub unchanged: u64,
}

/// What loading people did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeopleReport {
    /// What it did to the tenant's prospects.
    #[serde(flatten)]
    pub loaded: Loaded,
    /// Rows that were left out because they are wrong.
    pub skipped: u64,
    /// What is wrong with the first of them, with their lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl FileReport {
    pub(super) fn settings(file: &Path, declared: &Declared, applied: Applied) -> Self {
        let Applied { mailboxes, suppressions, endpoints } = applied;
        let changed = declared.mailboxes.iter().zip(&mailboxes);
        let made = |registered: &Registered| {
            Some((registered.id.clone(), registered.made.as_ref()?.reveal().to_owned()))
        };
        let disabled =
            |registered: &Registered| Some((registered.id.clone(), registered.disabled.clone()?));
        let endpoints_put: Vec<Put> = endpoints.iter().map(|registered| registered.put).collect();
        Self {
            file: file.display().to_string(),
            mailboxes: Some(Counts::of(&mailboxes)),
            suppressions: Some(Counts::of(&suppressions)),
            endpoints: Some(Counts::of(&endpoints_put)),
            secrets: endpoints.iter().filter_map(made).collect(),
            disabled: endpoints.iter().filter_map(disabled).collect(),
            changed_mailboxes: changed
                .filter(|(_, put)| **put != Put::Unchanged)
                .map(|(mailbox, _)| mailbox.address.clone())
                .collect(),
            prospects: None,
        }
    }

    pub(super) fn people(file: &Path, loaded: Loaded, seen: Seen) -> Self {
        let Seen { bad, problems, .. } = seen;
        Self {
            file: file.display().to_string(),
            mailboxes: None,
            suppressions: None,
            endpoints: None,
            secrets: BTreeMap::new(),
            disabled: BTreeMap::new(),
            changed_mailboxes: Vec::new(),
            prospects: Some(PeopleReport { loaded, skipped: bad, problems }),
        }
    }

    /// Writes it as one JSON object on one line, or in words.
    pub(super) fn write(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        if json {
            return writeln!(out, "{}", serde_json::to_string(self).map_err(io::Error::other)?);
        }
        let counted = [
            ("mailboxes", self.mailboxes),
            ("suppressions", self.suppressions),
            ("endpoints", self.endpoints),
        ];
        for (what, counts) in counted {
            if let Some(counts) = counts
                && counts.all() > 0
            {
                let Counts { created, updated, unchanged } = counts;
                writeln!(
                    out,
                    "{}: {what}: {created} created, {updated} updated, {unchanged} unchanged",
                    self.file
                )?;
            }
        }
        for (id, secret) in &self.secrets {
            writeln!(out, "  the secret of endpoint {id}, which is not shown again: {secret}")?;
        }
        for (id, why) in &self.disabled {
            writeln!(
                out,
                "  endpoint {id} stays disabled ({why}); `postrider endpoints enable {id}` ends that"
            )?;
        }
        let declared: u64 = counted.iter().filter_map(|(_, counts)| *counts).map(Counts::all).sum();
        if declared == 0 && self.prospects.is_none() {
            writeln!(out, "{}: declares nothing; nothing was changed", self.file)?;
        }
        if let Some(PeopleReport { loaded, skipped, problems }) = &self.prospects {
            let Loaded { created, updated, unchanged, duplicates } = loaded;
            writeln!(
                out,
                "{}: prospects: {created} created, {updated} updated, {unchanged} unchanged; \
                 {duplicates} rows replaced by later ones, {skipped} rows skipped",
                self.file
            )?;
            for problem in problems {
                writeln!(out, "  skipped {problem}")?;
            }
        }
        Ok(())
    }
}

impl Counts {
    fn all(self) -> u64 {
        self.created + self.updated + self.unchanged
    }

    fn of(put: &[Put]) -> Self {
        let mut counts = Self::default();
        for put in put {
            match put {
                Put::Created => counts.created += 1,
                Put::Updated => counts.updated += 1,
                Put::Unchanged => counts.unchanged += 1,
            }
        }
        counts
    }
}
