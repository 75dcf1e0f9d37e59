//! Telling a repetition from another request.

use hyper::header::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{codes::ErrorCode, error::ApiError};

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;

/// The key of a submission, if it has one: 1 to 255 visible ASCII characters, bare or quoted. The
/// quotes are not part of it.
///
/// # Errors
///
/// 400 when there are several, or when it is none.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.and_then(unquoted).filter(|key| {
        (1..=LONGEST).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_graphic())
    });
    key.map(Some).ok_or_else(|| {
        let detail = "The header Idempotency-Key must be given once, with 1 to 255 visible ASCII \
                      characters, bare or in double quotes.";
        ApiError::new(ErrorCode::InvalidHeader, detail)
    })
}

/// A bare key, or the text of an RFC 9651 string.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut chars = rest.strip_suffix('"')?.chars();
    let mut key = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => key.push(c),
        }
    }
    Some(key)
}

/// SHA-256 of what a submission means: its form, and its body without the accidents of white space
/// and the order of names.
pub(super) fn fingerprint(form: &str, body: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(form.as_bytes());
    hash.update([0]);
    canonical(body, &mut hash);
    hash.finalize().into()
}

/// Writes a value so that equal values give equal bytes and others do not. The depth was bounded
/// when the body was read.
fn canonical(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                canonical(item, hash);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            hash.update(b"{");
            for (name, member) in members {
                canonical(&Value::from(name.as_str()), hash);
                hash.update(b":");
                canonical(member, hash);
                hash.update(b",");
            }
            hash.update(b"}");
        }
        leaf => hash.update(leaf.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn of(values: &[&[u8]]) -> Result<Option<String>, ApiError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers)
    }

    #[test]
    fn a_key_is_visible_ascii_bare_or_quoted() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[b"5f1c"]), Ok(Some("5f1c".into())));
        assert_eq!(of(&[b"\"5f1c\""]), Ok(Some("5f1c".into())));
        assert_eq!(of(&[br#""a\"b\\c""#]), Ok(Some(r#"a"b\c"#.into())));
        assert_eq!(of(&[b"a,b;c=\"d\""]), Ok(Some("a,b;c=\"d\"".into())));
        assert!(of(&[&[b'k'; 255]]).is_ok());
        for bad in [
            &b""[..],
            b"\"\"",
            b"\"",
            b"\"a",
            b"\"a\"b\"",
            b"a b",
            b"\"a b\"",
            b"a\tb",
            br#""a\n""#,
            "é".as_bytes(),
            b"\xff",
            &[b'k'; 256],
        ] {
            assert!(of(&[bad]).is_err(), "{bad:?}");
        }
        assert!(of(&[b"a", b"a"]).is_err());
    }

    #[test]
    fn a_fingerprint_is_of_the_meaning() {
        let one = fingerprint("single", &json!({"a": 1, "b": [1, {"c": null}]}));
        let same: Value = serde_json::from_str(r#"{ "b":[1, {"c":null}], "a" :1}"#).unwrap();
        assert_eq!(one, fingerprint("single", &same));
        assert_ne!(one, fingerprint("batch", &same));
        for other in [
            json!({"a": "1", "b": [1, {"c": null}]}),
            json!({"a": 1, "b": [1, {"c": "null"}]}),
            json!({"a": 1, "b": [[1], {"c": null}]}),
            json!({"a": 1, "b": [1, {"c": null}, 1]}),
        ] {
            assert_ne!(one, fingerprint("single", &other), "{other}");
        }
    }
}
