//! What a payload may not be.

use serde_json::{Value, json};

use super::{job, payload, with};
use crate::{
    catalogue,
    contract::{Job, LaneName, Problem, resource::Resources},
};

fn problems(payload: &Value) -> Vec<Problem> {
    let catalogue = catalogue();
    catalogue.find("send").unwrap().check(payload, &Resources::default()).err().unwrap_or_default()
}

#[test]
fn the_payload_of_the_documentation_is_fine_and_waits_in_its_mailbox_lane() {
    assert_eq!(problems(&payload()), []);
    assert_eq!(job(payload()).lane(), LaneName::mailbox("DEV@example.com"));
}

#[test]
fn a_list_does_not_pass_for_an_object() {
    // serde reads a struct from the list of its fields, too.
    let mut list = payload();
    list["to"] = json!(["ada@example.org", "Ada"]);
    let fields =
        json!(["email", "dev@example.com", {"email": "a@b.cc"}, {"subject": "a", "text": "b"}]);
    for (payload, at) in [(list, "/to"), (fields, "")] {
        let words = "expected an object, got a list";
        assert_eq!(problems(&payload), [Problem::new(at, "invalid_payload", words)]);
    }
}

#[test]
fn a_wrong_type_is_told_in_words_of_json() {
    let mut payload = payload();
    payload["to"] = json!("ada@example.org");
    let words = "invalid type: string, expected an object";
    assert_eq!(problems(&payload), [Problem::new("/to", "invalid_payload", words)]);
}

#[test]
fn every_problem_points_at_its_place() {
    let long = "x".repeat((1 << 20) + 1);
    let rows = [
        ("/channel", json!("fax"), "/channel", "invalid_payload"),
        ("/surprise", json!(1), "/surprise", "invalid_payload"),
        ("/account", json!("dev"), "/account", "invalid_address"),
        ("/to/email", json!("ada@localhost"), "/to/email", "invalid_address"),
        ("/to/email", json!("a@b.c\r\nBcc: d@e.f"), "/to/email", "invalid_address"),
        ("/to/name", json!("Ada\r\nBcc: x@y.z"), "/to/name", "control_character"),
        ("/to/name", json!("Ada\u{85}"), "/to/name", "control_character"),
        ("/to/name", json!("x".repeat(201)), "/to/name", "too_long"),
        ("/content/subject", json!("a\nb"), "/content/subject", "control_character"),
        ("/content/subject", json!("a\u{2028}b"), "/content/subject", "control_character"),
        ("/content/subject", json!("  "), "/content/subject", "empty"),
        ("/content/subject", json!("Hi {{first name}}"), "/content/subject", "template_syntax"),
        ("/content/text", json!("{a|b"), "/content/text", "template_syntax"),
        ("/content/text", json!("a\u{0}b"), "/content/text", "control_character"),
        ("/content/text", json!(long), "/content/text", "too_large"),
        ("/content/text", json!(null), "/content", "no_content"),
        ("/content/html", json!("{{missing}}"), "/merge/missing", "missing_field"),
        ("/content/html", json!("{a|{{hidden}}}"), "/merge/hidden", "missing_field"),
        ("/merge/firstName", json!(null), "/merge/firstName", "missing_field"),
        ("/merge/firstName", json!("A\r\nda"), "/merge/firstName", "control_character"),
        ("/merge/list", json!([1]), "/merge/list", "invalid_merge_value"),
        ("/merge/bell", json!("\u{7}"), "/merge/bell", "control_character"),
        ("/headers/Bcc", json!("x@y.zz"), "/headers/Bcc", "header_not_allowed"),
        ("/headers/X-A\r\nBcc", json!("x"), "/headers/X-A\r\nBcc", "header_not_allowed"),
        ("/headers/X-Postrider-Id", json!("x"), "/headers/X-Postrider-Id", "header_not_allowed"),
        ("/headers/X-A", json!("a\r\nBcc: b"), "/headers/X-A", "invalid_header"),
        ("/headers/Reply-To", json!("nobody"), "/headers/Reply-To", "invalid_header"),
        (
            "/headers/List-Unsubscribe",
            json!("http://x"),
            "/headers/List-Unsubscribe",
            "invalid_header",
        ),
        (
            "/headers/List-Unsubscribe-Post",
            json!("List-Unsubscribe=One-Click"),
            "/headers/List-Unsubscribe-Post",
            "one_click_without_https",
        ),
        ("/effect_key", json!(""), "/effect_key", "invalid_effect_key"),
        ("/effect_key", json!("a b"), "/effect_key", "invalid_effect_key"),
        ("/effect_key", json!("k".repeat(256)), "/effect_key", "invalid_effect_key"),
    ];
    for (at, value, pointer, code) in rows {
        let shown = value.to_string().chars().take(40).collect::<String>();
        let found = problems(&with(at, value));
        let got: Vec<_> = found.iter().map(|p| (p.pointer.as_str(), p.code)).collect();
        assert_eq!(got, [(pointer, code)], "{at} = {shown}: {found:?}");
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let mut payload = with("/to/email", json!("nobody"));
    payload["effect_key"] = json!("");
    payload["content"]["subject"] = json!("{{a}} {{b}}");
    assert_eq!(problems(&payload).len(), 4);
}

#[test]
fn one_click_with_https_is_fine() {
    let headers = json!({
        "List-Unsubscribe": "<https://example.com/u/1>, <mailto:unsub@example.com?subject=u>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Reply-To": "help@example.com",
        "X-Campaign": "spring"
    });
    assert_eq!(problems(&with("/headers", headers)), []);
}
