//! A field, as it is written.

use jobs::contract::resource::{Field, FieldType, Stored};
use serde::Deserialize;

/// `[resources.fields.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenField {
    r#type: Word,
    #[serde(default)]
    pub(super) column: Option<String>,
    #[serde(default)]
    min: Option<toml::Value>,
    #[serde(default)]
    max: Option<toml::Value>,
    #[serde(default)]
    values: Option<Vec<String>>,
    #[serde(default)]
    stored: Option<WrittenStored>,
    #[serde(default)]
    null: bool,
    #[serde(default = "yes")]
    change: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Text,
    Integer,
    Number,
    Boolean,
    Timestamp,
    Enum,
    Json,
    Uuid,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenStored {
    Native,
    Milliseconds,
}

impl WrittenField {
    /// The field.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(super) fn read(self) -> Result<Field, String> {
        self.misplaced()?;
        let kind = match self.r#type {
            Word::Text => FieldType::Text { max: self.longest()? },
            Word::Integer => self.integer()?,
            Word::Number => self.number()?,
            Word::Boolean => FieldType::Boolean,
            Word::Timestamp => FieldType::Timestamp(match self.stored {
                Some(WrittenStored::Milliseconds) => Stored::Milliseconds,
                Some(WrittenStored::Native) | None => Stored::Native,
            }),
            Word::Enum => match self.values {
                Some(values) if !values.is_empty() => FieldType::Enum(values),
                _ => return Err("values: expected at least one text".to_owned()),
            },
            Word::Json => FieldType::Json,
            Word::Uuid => FieldType::Uuid,
        };
        Ok(Field { kind, null: self.null, change: self.change })
    }

    /// Options that other types have.
    fn misplaced(&self) -> Result<(), String> {
        let ranged = matches!(self.r#type, Word::Integer | Word::Number);
        let given = [
            ("min", self.min.is_some(), ranged),
            ("max", self.max.is_some(), ranged || self.r#type == Word::Text),
            ("values", self.values.is_some(), self.r#type == Word::Enum),
            ("stored", self.stored.is_some(), self.r#type == Word::Timestamp),
        ];
        match given.iter().find(|(_, given, fits)| *given && !fits) {
            Some((name, ..)) => Err(format!("{name}: a field of this type has none")),
            None => Ok(()),
        }
    }

    fn longest(&self) -> Result<Option<u64>, String> {
        let Some(max) = &self.max else { return Ok(None) };
        let longest = max.as_integer().and_then(|max| u64::try_from(max).ok());
        match longest.filter(|longest| (1..=FieldType::longest(None)).contains(longest)) {
            Some(longest) => Ok(Some(longest)),
            None => Err(format!("max: expected 1 to {}", FieldType::longest(None))),
        }
    }

    fn integer(&self) -> Result<FieldType, String> {
        let end = |name: &str, value: &Option<toml::Value>, other: i64| match value {
            None => Ok(other),
            Some(value) => value.as_integer().ok_or(format!("{name}: expected a whole number")),
        };
        let (min, max) = (end("min", &self.min, i64::MIN)?, end("max", &self.max, i64::MAX)?);
        if min > max {
            return Err(format!("min: expected at most max, which is {max}"));
        }
        Ok(FieldType::Integer { min, max })
    }

    fn number(&self) -> Result<FieldType, String> {
        let end = |name: &str, value: &Option<toml::Value>, other: f64| match value {
            None => Ok(other),
            Some(toml::Value::Float(number)) if number.is_finite() => Ok(*number),
            Some(value) => match value.as_integer().map(|number| number.to_string().parse()) {
                Some(Ok(number)) => Ok(number),
                _ => Err(format!("{name}: expected a number")),
            },
        };
        let (min, max) = (end("min", &self.min, f64::MIN)?, end("max", &self.max, f64::MAX)?);
        if min > max {
            return Err(format!("min: expected at most max, which is {max}"));
        }
        Ok(FieldType::Number { min, max })
    }
}
