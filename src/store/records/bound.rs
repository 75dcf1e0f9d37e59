//! Values that are bound to a statement.

use std::borrow::Cow;

use serde_json::Value;

use super::encode;

/// A value. What is bound to Postgres is a text, of which a cast makes the column's value; SQLite takes
/// each as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'v> {
    Null,
    Text(Cow<'v, str>),
    Integer(i64),
    Real(f64),
}

impl<'v> Cell<'v> {
    /// As SQLite has it: booleans are numbers, lists and objects their JSON.
    pub(super) fn native(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Integer(i64::from(*yes)),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Self::Text(Cow::Owned(value.to_string())),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Integer(whole),
                (None, Some(real)) => Self::Real(real),
                (None, None) => Self::Text(Cow::Owned(number.to_string())),
            },
        }
    }

    /// As a text.
    pub(super) fn text(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            other => Self::Text(Cow::Owned(encode::text(other))),
        }
    }
}

/// Binds cells to a query of either database, in their order.
macro_rules! bind {
    ($query:expr, $cells:expr) => {{
        let mut query = $query;
        for cell in &$cells {
            query = match cell {
                Cell::Null => query.bind(None::<&str>),
                Cell::Text(text) => query.bind(&**text),
                Cell::Integer(number) => query.bind(*number),
                Cell::Real(number) => query.bind(*number),
            };
        }
        query
    }};
}

pub(super) use bind;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_keep_their_types() {
        for (value, native, text) in [
            (json!(null), Cell::Null, Cell::Null),
            (json!(true), Cell::Integer(1), Cell::Text("true".into())),
            (json!("x"), Cell::Text("x".into()), Cell::Text("x".into())),
            (json!(i64::MIN), Cell::Integer(i64::MIN), Cell::Text(i64::MIN.to_string().into())),
            (json!(1.5), Cell::Real(1.5), Cell::Text("1.5".into())),
            (json!({"a": [1]}), Cell::Text("{\"a\":[1]}".into()), Cell::Text("{\"a\":[1]}".into())),
        ] {
            assert_eq!(Cell::text(&value), text, "{value}");
            assert_eq!(Cell::native(&value), native, "{value}");
        }
    }
}
