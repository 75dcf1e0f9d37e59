//! Headers that an operator adds to the requests of an endpoint.

use std::collections::BTreeMap;

use hyper::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};

/// The most headers, and the longest name and value.
const MOST: usize = 20;
const LONGEST_NAME: usize = 100;
const LONGEST_VALUE: usize = 4_096;
/// What belongs to HTTP, or says who sends.
const RESERVED: [&str; 20] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
];
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "x-postrider-"];

/// Says what is wrong with a header's name, if anything.
pub(super) fn name_flaw(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST_NAME || HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some("expected letters, digits and hyphens, at most 100");
    }
    let lower = name.to_ascii_lowercase();
    let reserved = RESERVED.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    reserved.then_some("it is reserved: HTTP or Postrider sets it")
}

/// Says what is wrong with headers, if anything; values are not repeated.
pub fn flaw(headers: &BTreeMap<String, SecretString>) -> Option<String> {
    if headers.len() > MOST {
        return Some(format!("expected at most {MOST} headers, got {}", headers.len()));
    }
    let mut seen = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if let Some(words) = name_flaw(name) {
            return Some(format!("{name:?}: {words}"));
        }
        if seen.contains(&lower) {
            return Some(format!("{name:?}: it is given twice"));
        }
        seen.push(lower);
        let value = value.expose_secret();
        let plain = |c: u8| c.is_ascii_graphic() || c == b' ' || c == b'\t';
        if value.is_empty() || value.len() > LONGEST_VALUE || !value.bytes().all(plain) {
            let words = "expected 1 to 4096 visible ASCII characters, and no line break";
            return Some(format!("the value of {name:?}: {words}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Option<String> {
        flaw(&[(name.to_owned(), value.to_owned().into())].into())
    }

    #[test]
    fn reserved_names_and_line_breaks_are_refused_without_the_value() {
        assert_eq!(with("Authorization", "Bearer x"), None);
        assert_eq!(with("X-Api-Key", "x y"), None);
        for name in [
            "Host",
            "content-length",
            "Webhook-Id",
            "webhook-x",
            "X-Postrider-Event",
            "a b",
            "",
            "a:",
            "ä",
        ] {
            assert!(with(name, "canary").is_some_and(|words| !words.contains("canary")), "{name}");
        }
        for value in ["", "canary\r\nx: y", "canary\n", "can\0ary", "canäry"] {
            assert!(with("X-Ok", value).is_some_and(|words| !words.contains("can")), "{value:?}");
        }
        let twice = [("X-A".to_owned(), "1".into()), ("x-a".to_owned(), "2".into())].into();
        assert!(flaw(&twice).is_some());
    }
}
