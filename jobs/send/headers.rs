//! Which further headers a caller may set, and to what.

use std::collections::BTreeMap;

use super::check::has_control;
use crate::contract::{Problem, address};

/// The longest line of a header (RFC 5322 section 2.1.1); values are kept below it, unfolded.
const LONGEST_VALUE: usize = 900;
/// The most headers of a caller's own.
const MOST: usize = 30;
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// Says what is wrong with the headers.
///
/// Names come from an allow-list: what is not on it either belongs to Postrider (From, Message-ID,
/// Content-Type, Bcc …) or has no meaning in a mail to one person.
pub(super) fn check(headers: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if headers.len() > MOST {
        let words = format!("expected at most {MOST} headers");
        problems.push(Problem::new("/headers", "too_many", words));
    }
    let mut seen = Vec::new();
    for (name, value) in headers {
        let at = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        let lower = name.to_ascii_lowercase();
        if let Some(words) = name_flaw(&lower) {
            problems.push(Problem::new(at, "header_not_allowed", words));
        } else if seen.contains(&lower) {
            problems.push(Problem::new(at, "duplicate_header", "this header is given twice"));
        } else if let Some(words) = value_flaw(&lower, value) {
            problems.push(Problem::new(at, "invalid_header", words));
        }
        seen.push(lower);
    }
    problems.extend(one_click_without_https(headers));
    problems
}

fn name_flaw(lower: &str) -> Option<&'static str> {
    let known =
        matches!(lower, "reply-to" | "list-unsubscribe" | "list-unsubscribe-post" | "list-id");
    let own = lower.strip_prefix("x-").is_some_and(|rest| {
        (1..=60).contains(&rest.len())
            && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !rest.starts_with("postrider-")
    });
    let words = "expected Reply-To, List-Unsubscribe, List-Unsubscribe-Post, List-Id or X-… (not X-Postrider-…)";
    (!known && !own).then_some(words)
}

fn value_flaw(lower: &str, value: &str) -> Option<String> {
    if value.trim().is_empty() || value.len() > LONGEST_VALUE {
        return Some(format!("expected 1 to {LONGEST_VALUE} bytes"));
    }
    if has_control(value) {
        return Some("a header cannot have line breaks or control characters".into());
    }
    match lower {
        "reply-to" => address::flaw(value),
        "list-unsubscribe" => {
            let words = "expected <https://…>, <mailto:…> or both, with a comma between them";
            (!is_unsubscribe(value)).then(|| words.to_owned())
        }
        "list-unsubscribe-post" => {
            (value != ONE_CLICK).then(|| format!("expected {ONE_CLICK} (RFC 8058)"))
        }
        _ => None,
    }
}

fn is_unsubscribe(value: &str) -> bool {
    let uri = |part: &str| {
        let inner = part.trim().strip_prefix('<').and_then(|p| p.strip_suffix('>'));
        inner.is_some_and(|uri| {
            (uri.starts_with("https://") || uri.starts_with("mailto:"))
                && uri.bytes().all(|c| c.is_ascii_graphic() && c != b'<' && c != b'>')
        })
    };
    value.split(',').all(uri)
}

/// RFC 8058 section 3.1: one-click needs an HTTPS address to post to.
fn one_click_without_https(headers: &BTreeMap<String, String>) -> Option<Problem> {
    let find = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let (name, _) =
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("list-unsubscribe-post"))?;
    if find("list-unsubscribe").is_some_and(|value| value.contains("<https://")) {
        return None;
    }
    let words = "one-click unsubscribing needs an https address in List-Unsubscribe (RFC 8058)";
    Some(Problem::new(format!("/headers/{name}"), "one_click_without_https", words))
}
