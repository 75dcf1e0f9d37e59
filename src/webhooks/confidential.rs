//! What an endpoint may know and a reader of its answers may not.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;

use super::{Address, target::Target};

/// A shorter text is no secret, and to look for it would spoil the rest.
const SHORTEST: usize = 4;

/// Every text by which a secret of the endpoint could be told, the longest first: some servers answer with
/// what they got, whole, in parts or decoded.
pub(super) fn of(address: &Address) -> Vec<String> {
    let mut texts = Vec::new();
    for secret in &address.secrets {
        // A server that cut the prefix off still knows the rest.
        texts.push(secret.reveal().trim_start_matches("whsec_").to_owned());
    }
    for value in address.headers.values() {
        header(value.expose_secret(), &mut texts);
    }
    url(address.url.expose_secret(), &mut texts);
    // As JSON writers write them that are careful with slashes.
    let escaped: Vec<_> = texts.iter().filter(|text| text.contains('/')).cloned().collect();
    texts.extend(escaped.iter().map(|text| text.replace('/', "\\/")));
    texts.retain(|text| text.len() >= SHORTEST);
    texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    texts.dedup();
    texts
}

/// The value, and what follows its scheme: `Bearer …`, `Basic …` with the name and the password in it.
fn header(value: &str, texts: &mut Vec<String>) {
    texts.push(value.to_owned());
    let Some((scheme, rest)) = value.split_once(' ') else { return };
    texts.push(rest.to_owned());
    if !scheme.eq_ignore_ascii_case("basic") {
        return;
    }
    let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(pair) = decoded {
        texts.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
        texts.push(pair);
    }
}

/// The URL, its path and query, and the parts of both, as they are written and as they are read.
fn url(url: &str, texts: &mut Vec<String>) {
    texts.push(url.to_owned());
    let Ok(target) = Target::read(url, true) else { return };
    let whole = target.path();
    let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
    let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let parts = [whole.as_str(), path, query].into_iter().chain(path.split('/')).chain(values);
    for part in parts {
        texts.push(part.to_owned());
        let spaced = part.replace('+', " ");
        let read = percent_encoding::percent_decode_str(&spaced).decode_utf8();
        texts.extend(read.ok().map(Cow::into_owned));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jobs::contract::ports::Format;

    use super::*;

    fn found(url: &str, header: &str) -> Vec<String> {
        of(&Address {
            secrets: Vec::new(),
            url: url.to_owned().into(),
            format: Format::Standard,
            headers: BTreeMap::from([("authorization".to_owned(), header.to_owned().into())]),
            second: None,
        })
    }

    #[test]
    fn parts_are_looked_for_as_they_are_written_and_as_they_are_read() {
        let texts = found("https://a.test/in/pa%20th?key=se+cret&x=1", "Basic dXNlcjpzZXNhbWU=");
        for text in [
            "https://a.test/in/pa%20th?key=se+cret&x=1",
            "/in/pa%20th?key=se+cret&x=1",
            "/in/pa%20th",
            "\\/in\\/pa%20th",
            "/in/pa th",
            "pa th",
            "key=se+cret&x=1",
            "se cret",
            "Basic dXNlcjpzZXNhbWU=",
            "dXNlcjpzZXNhbWU=",
            "user:sesame",
            "sesame",
        ] {
            assert!(texts.iter().any(|known| known == text), "{text} in {texts:?}");
        }
        assert!(texts.iter().all(|text| text.len() >= SHORTEST), "{texts:?}");
        assert!(texts.is_sorted_by_key(|text| usize::MAX - text.len()), "{texts:?}");
    }

    #[test]
    fn a_token_is_looked_for_without_its_scheme() {
        assert!(found("https://a.test/", "Bearer abcdef").contains(&"abcdef".to_owned()));
    }
}
