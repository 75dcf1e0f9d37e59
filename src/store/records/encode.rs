//! Values on their way into a column: as JSON, of which the database makes what its column is.

use std::borrow::Cow;

use jobs::contract::{
    Moment,
    resource::{Field, FieldType, Stored},
};
use serde_json::Value;

use super::columns::Class;

/// A field's value, as its column wants it.
pub(super) fn cell<'v>(value: &'v Value, field: &Field, class: &Class) -> Cow<'v, Value> {
    let other = match (&field.kind, value) {
        (FieldType::Boolean, Value::Bool(yes)) if *class == Class::Integer => u8::from(*yes).into(),
        (FieldType::Timestamp(stored), Value::String(text)) => {
            match (text.parse::<Moment>(), stored) {
                (Ok(at), Stored::Milliseconds) => at.millis().into(),
                (Ok(at), Stored::Native) => at.to_string().into(),
                // Checked before; what is no moment the column refuses.
                (Err(_), _) => return Cow::Borrowed(value),
            }
        }
        (FieldType::Json, value) if !value.is_null() && *class != Class::Json => {
            value.to_string().into()
        }
        (FieldType::Uuid, Value::String(text)) => text.to_lowercase().into(),
        _ => return Cow::Borrowed(value),
    };
    Cow::Owned(other)
}

/// A moment, as a column wants it.
pub(super) fn moment(at: Moment, class: &Class) -> Value {
    if *class == Class::Integer { at.millis().into() } else { at.to_string().into() }
}

/// A value of a declaration, as a column wants it.
pub(super) fn plain(value: &Value, class: &Class) -> Value {
    match value {
        Value::Bool(yes) if *class == Class::Integer => u8::from(*yes).into(),
        Value::Object(_) | Value::Array(_) if *class != Class::Json => value.to_string().into(),
        _ => value.clone(),
    }
}

/// A cell as a text that a cast makes the column's value of.
pub(super) fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
