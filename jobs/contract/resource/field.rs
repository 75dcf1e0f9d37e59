//! Fields: what values they can have.

use serde_json::Value;

use crate::contract::Moment;

/// The longest text of a field that does not say otherwise, in characters.
const LONGEST_TEXT: u64 = 65_536;
/// The largest JSON value of a field, in bytes.
const LARGEST_JSON: usize = 64 << 10;
/// Texts can be written as RFC 3339 within these years: 0001 and 9999.
const FIRST: i64 = -62_135_596_800_000;
const LAST: i64 = 253_402_300_799_999;

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
            Self::Timestamp(_) => "an RFC 3339 time such as 2026-06-10T09:00:00Z".to_owned(),
            Self::Enum(values) => format!("one of {}", values.join(", ")),
            Self::Json => format!("JSON of at most {LARGEST_JSON} bytes"),
            Self::Uuid => "a UUID".to_owned(),
        }
    }

    fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text { max }, Value::String(text)) => {
                let longest = usize::try_from(Self::longest(*max)).unwrap_or(usize::MAX);
                // No database takes a NUL in a text.
                text.chars().count() <= longest && !text.contains('\0')
            }
            (Self::Integer { min, max }, value) => {
                value.as_i64().is_some_and(|number| (min..=max).contains(&&number))
            }
            (Self::Number { min, max }, Value::Number(number)) => {
                number.as_f64().is_some_and(|number| (min..=max).contains(&&number))
            }
            (Self::Boolean, Value::Bool(_)) => true,
            (Self::Timestamp(_), Value::String(text)) => {
                let moment = text.parse::<Moment>();
                moment.is_ok_and(|at| (FIRST..=LAST).contains(&at.millis()))
            }
            (Self::Enum(values), Value::String(text)) => values.contains(text),
            (Self::Json, value) => {
                let text = value.to_string();
                text.len() <= LARGEST_JSON && !text.contains("\\u0000")
            }
            (Self::Uuid, Value::String(text)) => is_uuid(text),
            _ => false,
        }
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
        let got = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let words = || format!("expected {}, got {got} that is none", self.kind.expected());
        (value.is_null() || !self.kind.fits(value)).then(words)
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
