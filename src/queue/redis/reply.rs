//! Reading what scripts give.

use std::vec::IntoIter;

use jobs::contract::Moment;
use redis::Value;
use serde::de::DeserializeOwned;

use super::error::corrupt;
use crate::queue::QueueError;

/// The fields of a list, taken one by one.
pub(super) struct Fields(IntoIter<Value>);

impl Fields {
    pub(super) fn of(value: Value) -> Result<Self, QueueError> {
        match value {
            Value::Array(fields) => Ok(Self(fields.into_iter())),
            other => Err(wrong("a list", &other)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Nil)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, QueueError> {
        bytes(self.next())
    }

    pub(super) fn text(&mut self) -> Result<String, QueueError> {
        text(self.next())
    }

    pub(super) fn number<N: TryFrom<i64>>(&mut self) -> Result<N, QueueError> {
        number(&self.next())
    }

    pub(super) fn moment(&mut self) -> Result<Moment, QueueError> {
        Ok(Moment::from_millis(self.number()?))
    }

    /// A moment; none where there is an empty text.
    pub(super) fn some_moment(&mut self) -> Result<Option<Moment>, QueueError> {
        match self.next() {
            Value::BulkString(empty) if empty.is_empty() => Ok(None),
            value => Ok(Some(Moment::from_millis(number(&value)?))),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self, what: &str) -> Result<T, QueueError> {
        parsed(what, &self.text()?)
    }

    /// The fields that are left, each a list.
    pub(super) fn rows(self) -> impl Iterator<Item = Result<Self, QueueError>> {
        self.0.map(Self::of)
    }

    /// The fields that are left, each a text.
    pub(super) fn texts(self) -> impl Iterator<Item = Result<String, QueueError>> {
        self.0.map(text)
    }
}

pub(super) fn parsed<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, QueueError> {
    serde_json::from_str(text).map_err(|e| corrupt(what, e))
}

pub(super) fn text(value: Value) -> Result<String, QueueError> {
    String::from_utf8(bytes(value)?).map_err(|e| corrupt("a text", e))
}

pub(super) fn number<N: TryFrom<i64>>(value: &Value) -> Result<N, QueueError> {
    let Value::Int(number) = value else { return Err(wrong("a number", value)) };
    N::try_from(*number).map_err(|_| corrupt("a number", number))
}

fn bytes(value: Value) -> Result<Vec<u8>, QueueError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        other => Err(wrong("a text", &other)),
    }
}

fn wrong(expected: &str, got: &Value) -> QueueError {
    // Only what kind of thing it is: it may hold a payload.
    let got = match got {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list",
        Value::BulkString(_) | Value::SimpleString(_) => "a text",
        _ => "something else",
    };
    corrupt("an answer", format!("expected {expected}, got {got}"))
}
