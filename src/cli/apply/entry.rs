//! One table of a TOML file, read option by option, so that every mistake in it is found at once.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

/// Looks a name up in the environment.
pub(super) type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// The line in which a byte is, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// One table of a list, whose options are taken out one by one; what is left at the end is unknown.
pub(super) struct Entry<'i> {
    name: String,
    pub(super) line: usize,
    pub(super) options: HashMap<String, (usize, Spanned<DeValue<'i>>)>,
    found: Vec<(usize, String)>,
}

/// The tables of a list, each to be read by itself.
pub(super) fn entries<'i>(
    name: &str,
    line: usize,
    value: Spanned<DeValue<'i>>,
    text: &str,
    problems: &mut Vec<String>,
) -> Vec<Entry<'i>> {
    let mut entries = Vec::new();
    let DeValue::Array(list) = value.into_inner() else {
        problems.push(format!("line {line}: {name}: expected [[{name}]] with two brackets"));
        return entries;
    };
    for (index, item) in list.into_iter().enumerate() {
        let line = line_at(text, item.span().start);
        let DeValue::Table(table) = item.into_inner() else {
            problems.push(format!("line {line}: {name}[{index}]: expected a table"));
            continue;
        };
        let name = format!("{name}[{index}]");
        entries.push(Entry { name, line, ..Entry::of(table, text) });
    }
    entries
}

impl<'i> Entry<'i> {
    /// A table of this text, which has no name yet.
    fn of(table: DeTable<'i>, text: &str) -> Self {
        let place = |(key, value): (Spanned<DeString<'i>>, _)| {
            let line = line_at(text, key.span().start);
            (key.into_inner().into_owned(), (line, value))
        };
        let options = table.into_iter().map(place).collect();
        Self { name: String::new(), line: 1, options, found: Vec::new() }
    }

    pub(super) fn wrong(&mut self, option: &str, line: usize, words: impl AsRef<str>) {
        let words = format!("line {line}: {}.{option}: {}", self.name, words.as_ref());
        self.found.push((line, words));
    }

    /// The option's value, read as `T`, and its line.
    pub(super) fn take<T: DeserializeOwned>(&mut self, option: &str) -> Option<(T, usize)> {
        let (line, value) = self.options.remove(option)?;
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some((value, line)),
            Err(error) => {
                self.wrong(option, line, error.message());
                None
            }
        }
    }

    /// The table under an option, to be read by itself and then handed to [`Entry::end`].
    pub(super) fn take_table(&mut self, option: &str, text: &str) -> Option<Self> {
        let (line, value) = self.options.remove(option)?;
        let name = format!("{}.{option}", self.name);
        match value.into_inner() {
            DeValue::Table(table) => Some(Self { name, line, ..Self::of(table, text) }),
            _ => {
                self.wrong(option, line, "expected a table");
                None
            }
        }
    }

    /// Ends the reading of a table under this one: what is wrong with it is wrong with this one.
    pub(super) fn end(&mut self, table: Self) {
        self.found.append(&mut table.found());
    }

    /// A text that must not be repeated in a problem.
    pub(super) fn take_secret(&mut self, option: &str) -> Option<String> {
        let (line, value) = self.options.remove(option)?;
        match value.into_inner() {
            DeValue::String(text) => Some(text.into_owned()),
            _ => {
                self.wrong(option, line, "expected a text in quotes");
                None
            }
        }
    }

    /// A secret that is written down, or the name of the variable that has it.
    pub(super) fn take_secret_of(
        &mut self,
        option: &str,
        by_env: &str,
        env: Env<'_>,
    ) -> Option<String> {
        if self.has(option) && self.has(by_env) {
            self.wrong(by_env, self.line, format!("expected {option} or {by_env}, not both"));
        }
        let written = self.take_secret(option);
        let named = self.take_from_env(by_env, env);
        written.or(named)
    }

    /// A text that must not be repeated, from the variable that the option names.
    fn take_from_env(&mut self, option: &str, env: Env<'_>) -> Option<String> {
        let (name, line) = self.take::<String>(option)?;
        let value = env(&name).filter(|value| !value.is_empty());
        if value.is_none() {
            // Not repeated: it could be the secret, written under the wrong option.
            let words = "the environment has no variable of that name, or it is empty";
            self.wrong(option, line, words);
        }
        value
    }

    /// A text that passes a check.
    pub(super) fn take_text(
        &mut self,
        option: &str,
        check: impl Fn(&str) -> bool,
        expected: &str,
    ) -> Option<String> {
        let (text, line) = self.take::<String>(option)?;
        if check(&text) {
            return Some(text);
        }
        self.wrong(option, line, format!("expected {expected}, got {text:?}"));
        None
    }

    /// A text that is parsed further.
    pub(super) fn take_word<T: std::str::FromStr<Err = String>>(
        &mut self,
        option: &str,
    ) -> Option<T> {
        let (text, line) = self.take::<String>(option)?;
        text.parse().map_err(|words: String| self.wrong(option, line, words)).ok()
    }

    pub(super) fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// Ends the reading: whatever was not taken is not known. `true` when nothing was wrong.
    pub(super) fn finish(self, problems: &mut Vec<String>) -> bool {
        let mut found = self.found();
        found.sort();
        let fine = found.is_empty();
        problems.extend(found.into_iter().map(|(_, words)| words));
        fine
    }

    /// Everything that is wrong, with its lines.
    fn found(mut self) -> Vec<(usize, String)> {
        let unknown: Vec<_> = self.options.drain().map(|(name, (line, _))| (name, line)).collect();
        for (name, line) in unknown {
            self.wrong(&name, line, "there is no such option");
        }
        self.found
    }
}
