//! Media types and preferences: what a caller sends, what it accepts, how long it would wait.

use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};

use super::{codes::ErrorCode, error::ApiError};

const JSON: &str = "application/json";
const PREFER: &str = "prefer";

/// Refuses a body that does not say that it is JSON.
pub(super) fn content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoded = texts(headers, CONTENT_ENCODING).any(|v| !v.eq_ignore_ascii_case("identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let json = match (types.next().map(|value| value.to_str()), types.next()) {
        (Some(Ok(text)), None) => is_json(text),
        _ => false,
    };
    if json && !encoded {
        return Ok(());
    }
    let detail = "The body must be application/json in UTF-8, without a content encoding.";
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail))
}

fn is_json(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    parts.next().is_some_and(|media| media.eq_ignore_ascii_case(JSON))
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// What an answer can be given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// For programs.
    Json,
    /// For people.
    Page,
    /// For whoever wants to hear what happens.
    Events,
}

impl Media {
    /// All of them, the one for callers without a wish first.
    const ALL: [Self; 3] = [Self::Json, Self::Page, Self::Events];

    const fn ranges(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => (JSON, "application/*"),
            Self::Page => ("text/html", "text/*"),
            Self::Events => ("text/event-stream", "text/*"),
        }
    }
}

/// Refuses a caller that rules JSON out.
pub(super) fn accepts_json(headers: &HeaderMap) -> Result<(), ApiError> {
    match wish(headers, Media::Json) {
        Some((_, 1..)) => Ok(()),
        _ => Err(not_acceptable("The answer is application/json")),
    }
}

/// The form that a caller likes best (RFC 9110, section 12.5.1); of two that it likes as much, the
/// one that it names more closely.
pub(super) fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    let mut best: Option<(u16, u8, Media)> = None;
    for media in Media::ALL {
        if let Some((rank, liked @ 1..)) = wish(headers, media)
            && best.is_none_or(|(most, closest, _)| (liked, rank) > (most, closest))
        {
            best = Some((liked, rank, media));
        }
    }
    best.map(|(_, _, media)| media).ok_or_else(|| {
        not_acceptable("The forms are application/json, text/html and text/event-stream")
    })
}

/// How closely a caller names a form, and how much it likes it. Elements that make no sense are
/// passed over, and a header without any that does is as good as none: that is, anything will do.
fn wish(headers: &HeaderMap, media: Media) -> Option<(u8, u16)> {
    let ranges = texts(headers, ACCEPT)
        .flat_map(|text| text.split(','))
        .filter_map(|range| Some((specificity(range, media)?, quality(range)?)));
    // The most specific range decides; of two equal ones, the more generous.
    let best = ranges.max();
    best.map_or(Some((1, 1_000)), Some).filter(|(rank, _)| *rank > 0)
}

fn not_acceptable(words: &str) -> ApiError {
    let detail = format!("{words}, which the Accept header rules out.");
    ApiError::new(ErrorCode::NotAcceptable, detail)
}

/// How closely a range names a form: 3 by name, 2 by type, 1 as anything, 0 not at all; nothing when
/// it is no media range.
fn specificity(range: &str, media: Media) -> Option<u8> {
    let (name, family) = media.ranges();
    let range = range.split(';').next()?.trim().to_ascii_lowercase();
    match range.as_str() {
        range if range == name => Some(3),
        range if range == family => Some(2),
        "*/*" => Some(1),
        other => other.split_once('/').map(|_| 0),
    }
}

/// The weight of a range in thousandths; nothing when it is no weight.
fn quality(range: &str) -> Option<u16> {
    let weight = range
        .split(';')
        .skip(1)
        .filter_map(|p| p.split_once('='))
        .find_map(|(n, v)| n.trim().eq_ignore_ascii_case("q").then(|| v.trim()));
    let Some(weight) = weight else { return Some(1_000) };
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|c| c.is_ascii_digit());
    let whole = whole.parse::<u16>().ok().filter(|n| *n <= 1)?;
    let thousandths =
        if digits { format!("{decimals:0<3}").parse::<u16>().ok()? } else { return None };
    Some((whole * 1_000 + thousandths).min(1_000))
}

/// How long the caller would like to be held (`Prefer: wait=N`, RFC 7240, section 4.3): 1 to 60
/// seconds; anything else is passed over, as that standard wants it.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    texts(headers, HeaderName::from_static(PREFER))
        .flat_map(|text| text.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        // The first occurrence counts, even when it makes no sense.
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse::<u64>().ok())
        .filter(|seconds| (1..=60).contains(seconds))
        .map(Duration::from_secs)
}

fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn one(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn json_is_accepted_unless_it_is_ruled_out() {
        for good in [
            "",
            "*/*",
            "application/json",
            "Application/JSON; q=0.1",
            "text/html, */*;q=0.8",
            "application/*",
            "text/html;q=0.9,application/json;charset=utf-8",
            "nonsense",
            "*/*;q=0, application/json",
            "application/json;q=0.001",
            ",,",
        ] {
            assert!(accepts_json(&one(ACCEPT, good)).is_ok(), "{good}");
        }
        for bad in [
            "text/html",
            "application/json;q=0",
            "*/*;q=0",
            "application/xml, text/*",
            "application/json;q=0.000, */*",
            "application/*;q=0, */*",
        ] {
            assert!(accepts_json(&one(ACCEPT, bad)).is_err(), "{bad}");
        }
        assert!(accepts_json(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn the_form_is_the_one_that_is_liked_best() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (accept, expected) in [
            ("", Some(Media::Json)),
            ("*/*", Some(Media::Json)),
            ("nonsense", Some(Media::Json)),
            (browser, Some(Media::Page)),
            ("text/html, */*", Some(Media::Page)),
            ("text/*", Some(Media::Page)),
            ("text/event-stream", Some(Media::Events)),
            ("application/json, text/event-stream", Some(Media::Json)),
            ("application/json;q=0.5, text/event-stream", Some(Media::Events)),
            ("text/*;q=0.5, text/html;q=0", Some(Media::Events)),
            ("image/png", None),
            ("*/*;q=0", None),
        ] {
            assert_eq!(media(&one(ACCEPT, accept)).ok(), expected, "{accept}");
        }
    }

    #[test]
    fn a_body_is_json_in_utf_8() {
        for good in
            ["application/json", "application/JSON ; charset=\"UTF-8\"", "application/json;"]
        {
            assert!(content_type(&one(CONTENT_TYPE, good)).is_ok(), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonx", "application/json;charset=latin1"] {
            assert!(content_type(&one(CONTENT_TYPE, bad)).is_err(), "{bad}");
        }
        assert!(content_type(&HeaderMap::new()).is_err());
        let mut zipped = one(CONTENT_TYPE, JSON);
        zipped.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(content_type(&zipped).is_err());
    }

    #[test]
    fn a_wait_is_one_to_sixty_seconds() {
        let wait = |text| wait(&one(HeaderName::from_static(PREFER), text)).map(|w| w.as_secs());
        assert_eq!(wait("wait=30"), Some(30));
        assert_eq!(wait("respond-async, Wait=\"5\"; foo=bar"), Some(5));
        assert_eq!(wait("wait=1, wait=60"), Some(1));
        for none in ["wait", "wait=0", "wait=61", "wait=-1", "wait=1.5", "wait=", "waits=5", ""] {
            assert_eq!(wait(none), None, "{none}");
        }
    }
}
