//! Fields: what values they can have.

use serde_json::Value;

use crate::contract::{Moment, moment::LAST};

/// The longest text of a field that does not say otherwise, in characters.
const LONGEST_TEXT: u64 = 65_536;
/// The largest JSON value of a field, in bytes.
const LARGEST_JSON: usize = 64 << 10;
/// 0001-01-01T00:00:00Z: every database has the moments from then to the last that RFC 3339 can write.
const FIRST: i64 = -62_135_596_800_000;

/// A field of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// What its values are.
    pub kind: FieldType,
    /// Whether `null` clears it.
    pub null: bool,
    /// Whether payloads may change it; otherwise it is there for filters and for what actions set.
    pub change: bool,
}

/// What the values of a field are.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldType {
    /// A text of at most so many characters.
    Text {
        /// How many; none: 65,536.
        max: Option<u64>,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// A moment, given as RFC 3339.
    Timestamp(Stored),
    /// One of these texts.
    Enum(Vec<String>),
    /// Any JSON.
    Json,
    /// A UUID.
    Uuid,
}

/// How a moment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As the database's own type, or as RFC 3339 in a text.
    Native,
    /// As milliseconds since the Unix epoch.
    Milliseconds,
}

impl FieldType {
    /// The longest text, in characters.
    pub fn longest(max: Option<u64>) -> u64 {
        max.unwrap_or(LONGEST_TEXT)
    }

    /// Whether `contains` can be asked of it.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Enum(_))
    }

    /// Whether its values have an order.
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::Boolean | Self::Json)
    }

    fn expected(&self) -> String {
        match self {
            Self::Text { max } => format!("a text of at most {} characters", Self::longest(*max)),
            Self::Integer { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min: f64::MIN, max: f64::MAX } => "a number".to_owned(),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Timestamp(_) => "an RFC 3339 time of the years 0001 to 9999, such as \
                 2026-06-10T09:00:00Z"
                .to_owned(),
            Self::Enum(values) => format!("one of {}", values.join(", ")),
            Self::Json => format!("JSON of at most {LARGEST_JSON} bytes"),
            Self::Uuid => "a UUID".to_owned(),
        }
    }

    /// What a value is in place of what was expected, in words that do not repeat it; none when it fits.
    fn misfit(&self, value: &Value) -> Option<String> {
        let misfit = match (self, value) {
            (Self::Text { max }, Value::String(text)) => return misfit_text(text, *max),
            (Self::Integer { min, max }, Value::Number(number)) => match number.as_i64() {
                Some(number) => beside(&number, min, max)?,
                None if number.is_u64() => "a larger one",
                None => "one that is not whole",
            },
            (Self::Number { min, max }, Value::Number(number)) => {
                beside(&number.as_f64()?, min, max)?
            }
            (Self::Boolean, Value::Bool(_)) => return None,
            (Self::Timestamp(_), Value::String(text)) => match text.parse::<Moment>() {
                Ok(at) if (FIRST..=LAST).contains(&at.millis()) => return None,
                Ok(_) => "a time of another year",
                Err(_) => "a text that is none",
            },
            (Self::Enum(values), Value::String(text)) if values.contains(text) => return None,
            (Self::Enum(_), Value::String(_)) => "another text",
            (Self::Json, value) => return misfit_json(value),
            (Self::Uuid, Value::String(text)) if is_uuid(text) => return None,
            (Self::Uuid, Value::String(_)) => "a text that is none",
            (_, value) => sort(value),
        };
        Some(misfit.to_owned())
    }
}

/// On which side of a range a number lies; none inside.
fn beside<N: PartialOrd>(number: &N, min: &N, max: &N) -> Option<&'static str> {
    if number < min {
        return Some("a smaller one");
    }
    (number > max).then_some("a larger one")
}

/// No database takes a NUL in a text.
const NUL: &str = "a NUL character (U+0000) in it, which no database takes";

fn misfit_text(text: &str, max: Option<u64>) -> Option<String> {
    let length = text.chars().count();
    if u64::try_from(length).unwrap_or(u64::MAX) > FieldType::longest(max) {
        return Some(format!("one of {length}"));
    }
    text.contains('\0').then(|| format!("one with {NUL}"))
}

fn misfit_json(value: &Value) -> Option<String> {
    let length = value.to_string().len();
    if length > LARGEST_JSON {
        return Some(format!("some of {length}"));
    }
    has_nul(value).then(|| format!("some with {NUL}"))
}

/// Whether there is a NUL in a text or a name, however deep.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Field {
    /// What is wrong with a value that the field is to have, if anything: what was expected and what
    /// sort of thing was got, never the value itself.
    pub fn flaw(&self, value: &Value) -> Option<String> {
        if value.is_null() {
            let words =
                format!("expected {}; null does not clear this field", self.kind.expected());
            return (!self.null).then_some(words);
        }
        self.mismatch(value)
    }

    /// The same for a value that the field is compared with: nothing equals null.
    pub fn mismatch(&self, value: &Value) -> Option<String> {
        let got = if value.is_null() { "null".to_owned() } else { self.kind.misfit(value)? };
        Some(format!("expected {}, got {got}", self.kind.expected()))
    }
}

/// Whether this is a UUID in its usual form, whatever the case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(kind: FieldType) -> Field {
        Field { kind, null: false, change: true }
    }

    #[test]
    fn values_fit_their_types_and_nothing_else_does() {
        let cases = [
            (FieldType::Text { max: Some(3) }, json!("äöü"), json!("abcd")),
            (FieldType::Text { max: None }, json!(""), json!("a\u{0}")),
            (FieldType::Integer { min: 0, max: 9 }, json!(9), json!(10)),
            (FieldType::Integer { min: i64::MIN, max: i64::MAX }, json!(i64::MIN), json!(1.5)),
            (FieldType::Integer { min: 0, max: i64::MAX }, json!(i64::MAX), json!(u64::MAX)),
            (FieldType::Number { min: 0.0, max: 1.0 }, json!(0.5), json!(1.01)),
            (FieldType::Number { min: f64::MIN, max: f64::MAX }, json!(7), json!("7")),
            (FieldType::Boolean, json!(false), json!(0)),
            (
                FieldType::Timestamp(Stored::Native),
                json!("2026-06-10T11:00:00+02:00"),
                json!("2026-06-10"),
            ),
            (FieldType::Timestamp(Stored::Milliseconds), json!("2026-06-10T09:00:00Z"), json!(1)),
            (FieldType::Enum(vec!["a".into(), "b".into()]), json!("b"), json!("c")),
            (FieldType::Json, json!({"a": [1]}), json!("\u{0}")),
            (
                FieldType::Uuid,
                json!("67E55044-10b1-426f-9247-bb680e5fe0c8"),
                json!("67e5504410b1426f9247bb680e5fe0c8"),
            ),
        ];
        for (kind, good, bad) in cases {
            let field = field(kind);
            assert_eq!(field.flaw(&good), None, "{good} for {:?}", field.kind);
            let words = field.flaw(&bad).unwrap_or_else(|| panic!("{bad} for {:?}", field.kind));
            assert!(words.starts_with("expected "), "{words}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said() {
        let text = || FieldType::Text { max: Some(3) };
        let integer = || FieldType::Integer { min: 1, max: 4 };
        let number = || FieldType::Number { min: 0.0, max: 1.0 };
        let moment = || FieldType::Timestamp(Stored::Native);
        let cases = [
            (text(), json!("abcd"), "at most 3 characters, got one of 4"),
            (text(), json!("a\u{0}"), "got one with a NUL character"),
            (text(), json!(7), "got a number"),
            (integer(), json!(5), "from 1 to 4, got a larger one"),
            (integer(), json!(0), "got a smaller one"),
            (integer(), json!(u64::MAX), "got a larger one"),
            (integer(), json!(1.5), "got one that is not whole"),
            (integer(), json!("1"), "got a text"),
            (number(), json!(-0.1), "got a smaller one"),
            (number(), json!(1.1), "got a larger one"),
            (moment(), json!("tomorrow"), "got a text that is none"),
            (moment(), json!("0000-06-01T00:00:00Z"), "years 0001 to 9999, such as"),
            (moment(), json!("0000-06-01T00:00:00Z"), "got a time of another year"),
            (FieldType::Enum(vec!["a".into()]), json!("b"), "one of a, got another text"),
            (FieldType::Json, json!(["x".repeat(70_000)]), "65536 bytes, got some of 70004"),
            (FieldType::Json, json!({"a": [{"b\u{0}": 1}]}), "got some with a NUL character"),
            (FieldType::Uuid, json!([]), "a UUID, got a list"),
        ];
        for (kind, value, expected) in cases {
            let words = field(kind).flaw(&value).unwrap_or_default();
            assert!(words.contains(expected), "{value}: {expected:?} is not in {words:?}");
        }
    }

    #[test]
    fn what_only_looks_wrong_is_taken() {
        let json = field(FieldType::Json);
        assert_eq!(json.flaw(&json!("say \\u0000 literally")), None);
        let moment = field(FieldType::Timestamp(Stored::Native));
        for at in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(moment.flaw(&json!(at)), None, "{at}");
        }
    }

    #[test]
    fn null_clears_only_what_it_may() {
        let mut field = field(FieldType::Boolean);
        assert!(field.flaw(&Value::Null).unwrap().contains("null does not clear"));
        field.null = true;
        assert_eq!(field.flaw(&Value::Null), None);
        assert!(field.mismatch(&Value::Null).is_some());
    }

    #[test]
    fn a_refused_value_is_not_repeated() {
        let words = field(FieldType::Uuid).flaw(&json!("hunter2")).unwrap();
        assert!(!words.contains("hunter2"), "{words}");
    }
}
