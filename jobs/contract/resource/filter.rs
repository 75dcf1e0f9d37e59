//! Filters: which records of a resource, said by their fields.
//!
//! ```json
//! {"and": [
//!   {"field": "status", "in": ["open", "waiting"]},
//!   {"or": [{"field": "assignee", "is_null": true}, {"field": "priority", "from": 3}]}
//! ]}
//! ```

mod reader;

use serde_json::Value;

use super::{Field, FieldType, Resource};
use crate::contract::{Moment, Problem};

/// Which records.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Those that all of these hold for.
    And(Vec<Filter>),
    /// Those that one of these holds for.
    Or(Vec<Filter>),
    /// Those of which this holds.
    Field {
        /// The field's name.
        name: String,
        /// What holds of it.
        test: Test,
    },
}

/// What holds of a field. Of a field without a value only `IsNull(true)` does.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is this.
    Equals(Value),
    /// It is one of these.
    In(Vec<Value>),
    /// It lies between these, both included.
    Range {
        /// The least.
        from: Option<Value>,
        /// The greatest.
        to: Option<Value>,
    },
    /// This text is part of it, to the letter.
    Contains(String),
    /// It has no value (`true`), or one (`false`).
    IsNull(bool),
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// Everything that is no filter in it; pointers begin with `at`.
    pub fn read(value: &Value, at: &str) -> Result<Self, Vec<Problem>> {
        reader::read(value, at)
    }

    /// What is wrong with the filter for a resource; pointers begin with `at`.
    pub fn check(&self, resource: &Resource, at: &str) -> Vec<Problem> {
        let all = |word: &str, parts: &[Self]| {
            let check = |(index, part): (usize, &Self)| {
                part.check(resource, &format!("{at}/{word}/{index}"))
            };
            parts.iter().enumerate().flat_map(check).collect()
        };
        match self {
            Self::And(parts) => all("and", parts),
            Self::Or(parts) => all("or", parts),
            Self::Field { name, test } => match resource.fields.get(name) {
                Some(field) => test.check(field, at),
                None => {
                    let known: Vec<_> = resource.fields.keys().map(String::as_str).collect();
                    let words = format!(
                        "{} has no field {name:?}; it has {}",
                        resource.name,
                        known.join(", ")
                    );
                    vec![Problem::new(format!("{at}/field"), "unknown_field", words)]
                }
            },
        }
    }

    /// Whether the filter holds for a record whose fields `value` tells.
    pub fn holds(&self, value: &dyn Fn(&str) -> Value) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(value)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(value)),
            Self::Field { name, test } => test.holds(&value(name)),
        }
    }
}

impl Test {
    fn check(&self, field: &Field, at: &str) -> Vec<Problem> {
        let wrong = |at: String, words: String| Problem::new(at, "invalid_value", words);
        let fits = |word: String, value: &Value| {
            field.mismatch(value).map(|words| wrong(format!("{at}/{word}"), words))
        };
        match self {
            Self::Equals(_) | Self::In(_) if field.kind == FieldType::Json => {
                vec![wrong(
                    at.to_owned(),
                    "JSON is compared with nothing: expected `is_null`".into(),
                )]
            }
            Self::Equals(value) => fits("equals".into(), value).into_iter().collect(),
            Self::In(values) => {
                let values = values.iter().enumerate();
                values.filter_map(|(index, value)| fits(format!("in/{index}"), value)).collect()
            }
            Self::Range { .. } if !field.kind.is_ordered() => {
                vec![wrong(
                    at.to_owned(),
                    "a range needs a field whose values have an order".into(),
                )]
            }
            Self::Range { from, to } => {
                let ends = [("from", from), ("to", to)];
                let given = ends.into_iter().filter_map(|(word, end)| Some((word, end.as_ref()?)));
                given.filter_map(|(word, value)| fits(word.to_owned(), value)).collect()
            }
            Self::Contains(_) if !field.kind.is_text() => {
                vec![wrong(format!("{at}/contains"), "expected a field of texts".into())]
            }
            Self::Contains(_) | Self::IsNull(_) => Vec::new(),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        if value.is_null() {
            return *self == Self::IsNull(true);
        }
        match self {
            Self::Equals(other) => same(value, other),
            Self::In(values) => values.iter().any(|other| same(value, other)),
            Self::Range { from, to } => {
                from.as_ref().is_none_or(|from| order(value, from).is_ge())
                    && to.as_ref().is_none_or(|to| order(value, to).is_le())
            }
            Self::Contains(part) => value.as_str().is_some_and(|text| text.contains(&**part)),
            Self::IsNull(null) => !null,
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    order(one, other).is_eq()
}

/// Numbers by size, moments by time, texts by bytes.
fn order(one: &Value, other: &Value) -> std::cmp::Ordering {
    let moment = |value: &Value| value.as_str().and_then(|text| text.parse::<Moment>().ok());
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => match (moment(one), moment(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
        _ => one.to_string().cmp(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        reader::{DEEPEST, MOST},
        *,
    };

    fn pointers(value: &Value) -> Vec<String> {
        let problems = Filter::read(value, "/f").unwrap_err();
        problems.into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn what_is_no_filter_is_pointed_at() {
        let nested =
            (0..DEEPEST).fold(json!({"field": "a", "is_null": true}), |f, _| json!({"and": [f]}));
        let cases = [
            (json!([]), "/f"),
            (json!({}), "/f"),
            (json!({"field": "a"}), "/f"),
            (json!({"field": "a", "equals": 1, "in": [1]}), "/f"),
            (json!({"field": "a", "like": "x"}), "/f"),
            (json!({"field": "a", "in": []}), "/f/in"),
            (json!({"field": "a", "contains": ""}), "/f/contains"),
            (json!({"field": "a", "is_null": 1}), "/f/is_null"),
            (json!({"and": []}), "/f/and"),
            (json!({"and": [{"field": "a", "equals": 1}], "or": []}), "/f"),
            (json!({"or": [{"field": "a", "equals": 1}, 7]}), "/f/or/1"),
        ];
        for (value, at) in cases {
            assert_eq!(pointers(&value), [at], "{value}");
        }
        assert!(!pointers(&nested).is_empty());
        let many: Vec<_> = (0..MOST).map(|_| json!({"field": "a", "is_null": true})).collect();
        assert!(!pointers(&json!({"or": many})).is_empty());
    }

    #[test]
    fn holds_as_it_says() {
        let record = |name: &str| match name {
            "n" => json!(5),
            "s" => json!("open"),
            "at" => json!("2026-06-10T09:00:00.000Z"),
            _ => Value::Null,
        };
        let cases = [
            (json!({"field": "n", "equals": 5}), true),
            (json!({"field": "n", "equals": 5.0}), true),
            (json!({"field": "n", "from": 5, "to": 5}), true),
            (json!({"field": "n", "from": 6}), false),
            (json!({"field": "s", "in": ["a", "open"]}), true),
            (json!({"field": "s", "contains": "PEN"}), false),
            (json!({"field": "s", "contains": "pen"}), true),
            (json!({"field": "at", "to": "2026-06-10T11:00:00+02:00"}), true),
            (json!({"field": "x", "is_null": true}), true),
            (json!({"field": "x", "equals": 1}), false),
            (json!({"field": "s", "is_null": false}), true),
            (
                json!({"and": [{"field": "n", "equals": 5}, {"field": "x", "is_null": false}]}),
                false,
            ),
            (json!({"or": [{"field": "n", "equals": 4}, {"field": "s", "equals": "open"}]}), true),
        ];
        for (value, expected) in cases {
            let filter = Filter::read(&value, "").unwrap();
            assert_eq!(filter.holds(&record), expected, "{value}");
        }
    }
}
