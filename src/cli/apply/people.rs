//! People from CSV, row by row: a million of them in the memory of a few thousand.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
};

use csv::ByteRecord;
use jobs::contract::address;

use super::{
    SHOWN,
    rows::{Rows, Unusable},
};
use crate::store::{BATCH, Prospect, is_field_name};

const LONGEST_SHOWN: usize = 60;

/// What was seen of a file that was read to its end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Rows that are people.
    pub(super) good: u64,
    /// Rows that are not.
    pub(super) bad: u64,
    /// What is wrong with the first of them, with their lines.
    pub(super) problems: Vec<String>,
}

/// Reads people and hands them over in batches; `take` answers whether to go on.
///
/// Unless `skip_invalid`, nothing is handed over any more once a row was wrong, but the rest is still
/// read to say what else is wrong.
pub(super) fn read(
    from: impl Read,
    skip_invalid: bool,
    mut take: impl FnMut(Vec<Prospect>) -> bool,
) -> Result<Seen, Unusable> {
    let mut rows = Rows::open(from)?;
    if !rows.next()? {
        let words = "expected a first line that names the columns; the file is empty";
        return Err(Unusable::Problem(words.into()));
    }
    let header = Header::read(&rows.record)
        .map_err(|words| Unusable::Problem(format!("line {}: {words}", rows.line)))?;
    let mut seen = Seen::default();
    let mut zones = Zones::default();
    let mut batch = Vec::with_capacity(BATCH);
    while rows.next()? {
        match header.person(&rows.record, &mut zones) {
            Ok(person) => {
                seen.good += 1;
                batch.push(person);
            }
            Err(words) => {
                seen.bad += 1;
                if seen.problems.len() < SHOWN {
                    seen.problems.push(format!("line {}: {words}", rows.line));
                }
            }
        }
        if seen.bad > 0 && !skip_invalid {
            batch.clear();
        } else if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if !take(full) {
                return Err(Unusable::NobodyListens);
            }
        }
    }
    if batch.is_empty() || take(batch) { Ok(seen) } else { Err(Unusable::NobodyListens) }
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Email,
    FirstName,
    LastName,
    Company,
    TimeZone,
    Field(String),
}

struct Header(Vec<Column>);

impl Header {
    fn read(record: &ByteRecord) -> Result<Self, String> {
        let mut columns = Vec::with_capacity(record.len());
        let mut names = HashSet::new();
        for (index, cell) in record.iter().enumerate() {
            let number = index + 1;
            let name = std::str::from_utf8(cell)
                .map_err(|_| format!("the name of column {number} is not UTF-8"))?
                .trim();
            let column = Column::named(name).ok_or_else(|| {
                format!(
                    "column {number} is named {:?}; expected email, first_name, last_name, \
                     company, time_zone, or the name of a merge field: a letter, then letters, \
                     digits and _",
                    shown(name)
                )
            })?;
            let key = match &column {
                Column::Field(name) => name.clone(),
                known => format!("{known:?}"),
            };
            if !names.insert(key) {
                return Err(format!("column {number}, {name:?}, is there twice"));
            }
            columns.push(column);
        }
        if columns.contains(&Column::Email) {
            return Ok(Self(columns));
        }
        Err("there is no column \"email\"".into())
    }

    fn person(&self, record: &ByteRecord, zones: &mut Zones) -> Result<Prospect, String> {
        if record.len() != self.0.len() {
            let (got, expected) = (record.len(), self.0.len());
            return Err(format!("expected {expected} columns as in the first line, got {got}"));
        }
        let mut person = Prospect::default();
        for (index, (column, cell)) in self.0.iter().zip(record).enumerate() {
            let number = index + 1;
            let text = std::str::from_utf8(cell)
                .map_err(|_| format!("column {number} is not UTF-8"))?
                .trim();
            if let Some(odd) = text.chars().find(|c| !column.admits(*c)) {
                return Err(format!("column {number} has the control character {odd:?}"));
            }
            column.put(text, &mut person, zones)?;
        }
        Ok(person)
    }
}

impl Column {
    /// The column with this name; the known ones as spreadsheets spell them too.
    fn named(name: &str) -> Option<Self> {
        let bare: String = name.chars().filter(|c| !" _-".contains(*c)).collect();
        Some(match bare.to_lowercase().as_str() {
            "email" | "emailaddress" => Self::Email,
            "firstname" => Self::FirstName,
            "lastname" => Self::LastName,
            "company" => Self::Company,
            "timezone" => Self::TimeZone,
            _ if is_field_name(name) => Self::Field(name.to_owned()),
            _ => return None,
        })
    }

    /// Puts a cell of this column where it belongs; an empty one says nothing.
    fn put(&self, text: &str, person: &mut Prospect, zones: &mut Zones) -> Result<(), String> {
        let value = (!text.is_empty()).then(|| text.to_owned());
        match self {
            Self::Email if address::flaw(text).is_none() => person.email = text.to_owned(),
            Self::Email => {
                let got = shown(text);
                return Err(format!("expected an address such as ada@example.org, got {got:?}"));
            }
            Self::FirstName => person.first_name = value,
            Self::LastName => person.last_name = value,
            Self::Company => person.company = value,
            Self::TimeZone if value.is_none() || zones.know(text) => person.time_zone = value,
            Self::TimeZone => {
                let got = shown(text);
                return Err(format!("expected a time zone such as Europe/Berlin, got {got:?}"));
            }
            Self::Field(name) => person.fields.extend(value.map(|value| (name.clone(), value))),
        }
        Ok(())
    }

    /// Whether the column may hold a character: a tenant's own fields may have several lines.
    fn admits(&self, c: char) -> bool {
        !c.is_control() || (matches!(self, Self::Field(_)) && matches!(c, '\n' | '\r' | '\t'))
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Time zones that were asked for: looking one up opens files.
#[derive(Default)]
struct Zones(BTreeMap<String, bool>);

impl Zones {
    /// There are some 600 names; more than that many different ones are somebody's mistake.
    const MOST: usize = 2_000;

    fn know(&mut self, name: &str) -> bool {
        if let Some(known) = self.0.get(name) {
            return *known;
        }
        let known = jiff::tz::TimeZone::get(name).is_ok();
        if self.0.len() < Self::MOST {
            self.0.insert(name.to_owned(), known);
        }
        known
    }
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
