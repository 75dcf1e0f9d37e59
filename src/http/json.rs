//! JSON that means one thing only: UTF-8, no name twice, nothing after the end, not too deep.

use std::fmt;

use jobs::contract::Problem;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::{codes::ErrorCode, error::ApiError};

/// How deep objects and arrays may lie in each other.
const DEEPEST: usize = 32;

/// Why a text is not taken, as what comes behind its name in a sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// With the first byte that is not.
    #[error("is not UTF-8: byte {0} does not belong there")]
    NotUtf8(usize),
    /// With the place at which it stops being JSON that means one thing only.
    #[error("is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// With the byte that opens a level too many.
    #[error("nests deeper than {DEEPEST} levels at byte {0}")]
    TooDeep(usize),
    /// With the first byte of a number that would not be kept as it is.
    #[error("has a whole number of more than 64 bits at byte {0}: write it as a text")]
    TooLong(usize),
}

/// Reads JSON.
///
/// # Errors
///
/// When it is not JSON that means one thing only, nests too deep, or has a number that would not be kept as it is.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|e| Fault::NotUtf8(e.valid_up_to() + 1))?;
    // Before the parser sees it: a parser that recurses must not be the one to find out.
    if let Some(at) = too_deep(text) {
        return Err(Fault::TooDeep(at + 1));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Strict::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let Strict(value) = read.map_err(Fault::NotJson)?;
    match too_long(text) {
        None => Ok(value),
        Some(at) => Err(Fault::TooLong(at + 1)),
    }
}

/// Reads a body as JSON.
///
/// # Errors
///
/// 400 with the place at which it stops being JSON that means one thing, 422 where a number would not be kept
/// as it is.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    read(bytes).map_err(|fault| match fault {
        Fault::NotUtf8(_) | Fault::NotJson(_) => {
            ApiError::new(ErrorCode::InvalidJson, format!("The body {fault}."))
        }
        Fault::TooDeep(_) => ApiError::new(ErrorCode::JsonTooDeep, format!("The body {fault}.")),
        Fault::TooLong(_) => {
            ApiError::invalid(vec![Problem::new("", "out_of_range", format!("the body {fault}"))])
        }
    })
}

/// The bytes of a text that lie outside of its strings, with their places.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut in_string, mut escaped) = (false, false);
    text.bytes().enumerate().filter(move |(_, byte)| {
        let outside = !in_string && *byte != b'"';
        if escaped {
            escaped = false;
        } else {
            escaped = in_string && *byte == b'\\';
            in_string ^= *byte == b'"';
        }
        outside
    })
}

/// The first byte that opens a level too many.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in outside_strings(text) {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The first byte of a whole number that 64 bits do not hold: who reads it makes a fraction of it, of which
/// the last digits are others.
fn too_long(text: &str) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let mut end = 0;
    for (at, byte) in outside_strings(text) {
        if at >= end && (byte == b'-' || byte.is_ascii_digit()) {
            let number = &text[at..];
            end = at + number.bytes().take_while(|byte| is_part(*byte)).count();
            if is_too_long(&text[at..end]) {
                return Some(at);
            }
        }
    }
    None
}

fn is_too_long(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_whole = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
}

/// A value in which no object has a name twice. Which of the two counts is a matter of taste among
/// parsers, and a request that says two things is not one to guess about.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Strictly).map(Strict)
    }
}

struct Strictly;

impl<'de> Visitor<'de> for Strictly {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} occurs twice")));
            }
            let Strict(value) = members.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        format!("{:?}", parse(bytes).unwrap_err())
    }

    #[test]
    fn names_the_place() {
        for (bytes, words) in [
            (&b""[..], "EOF while parsing a value at line 1 column 0"),
            (b"{\"a\":1", "EOF while parsing an object at line 1 column 6"),
            (b"{}\n x", "trailing characters at line 2 column 2"),
            (b"{\"a\":1,\"b\":{\"c\":1,\"c\":2}}", "the name \\\"c\\\" occurs twice at line 1"),
            (b"\"\xff\"", "byte 2 does not belong there"),
            (b"\"\\ud800\"", "unexpected end of hex escape"),
            (b"1e999", "number out of range"),
            (b"NaN", "expected value"),
            (b"\xef\xbb\xbf{}", "expected value at line 1 column 1"),
        ] {
            let said = refusal(bytes);
            assert!(said.contains(words), "{said}");
            assert!(said.contains("InvalidJson"), "{said}");
        }
    }

    #[test]
    fn whole_numbers_keep_their_digits_or_are_refused() {
        for good in
            ["18446744073709551615", "-9223372036854775808", "1e30", "0.12345678901234567890"]
        {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(parse(br#"{"a":"18446744073709551616 \" 18446744073709551616"}"#).is_ok());
        let said = refusal(br#"{"a":[1,18446744073709551616]}"#);
        assert!(said.contains("more than 64 bits at byte 9"), "{said}");
        assert!(refusal(b"-9223372036854775809").contains("more than 64 bits at byte 1"));
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(DEEPEST)).is_ok());
        assert!(refusal(&nested(DEEPEST + 1)).contains("deeper than 32 levels at byte 33"));
        assert!(refusal(&vec![b'['; BOMB]).contains("JsonTooDeep"));
        assert!(refusal(&b"{\"a\":".repeat(BOMB)).contains("JsonTooDeep"));
    }

    const BOMB: usize = 200_000;

    #[test]
    fn brackets_in_texts_do_not_count() {
        let text = format!("\"{}\\\"{}\"", "[".repeat(50), "{".repeat(50));
        assert!(parse(text.as_bytes()).is_ok());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_was_written(value in values()) {
            proptest::prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
