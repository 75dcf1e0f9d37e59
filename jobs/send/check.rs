//! Everything wrong with a payload that can be seen without asking anybody.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Send, headers,
    template::{SyntaxError, Template},
};
use crate::contract::{Problem, address};

/// The longest name of a person and the longest subject, in bytes, before and after merging.
pub(super) const LONGEST_NAME: usize = 200;
pub(super) const LONGEST_SUBJECT: usize = 900;
/// The largest part, in bytes, before and after merging; Gmail clips what is longer than a tenth.
pub(super) const LARGEST_PART: usize = 1 << 20;
const MOST_VALUES: usize = 200;
const LARGEST_VALUE: usize = 16 << 10;

/// Whether the text has a character that must not get into a header: C0, DEL, C1, or the line and
/// paragraph separators that some readers take for line breaks.
pub(super) fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
}

/// Whether the text has a character that must not get into a body.
fn has_binary(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
}

/// The templates of a mail, parsed.
pub(super) struct Templates {
    pub(super) subject: Template,
    pub(super) text: Option<Template>,
    pub(super) html: Option<Template>,
}

/// Checks the whole payload.
pub(super) fn check(job: &Send) -> Vec<Problem> {
    let mut problems = people(job);
    problems.extend(headers::check(&job.headers));
    problems.extend(effect_key(job.effect_key.as_deref()));
    problems.extend(values(&job.merge).err().unwrap_or_default());
    match templates(job) {
        Ok(templates) => problems.extend(fields(job, &templates)),
        Err(found) => problems.extend(found),
    }
    problems
}

fn people(job: &Send) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, address) in [("/account", &job.account), ("/to/email", &job.to.email)] {
        if let Some(words) = address::flaw(address) {
            problems.push(Problem::new(at, "invalid_address", words));
        }
    }
    if let Some(name) = &job.to.name {
        problems.extend(in_header("/to/name", name, LONGEST_NAME));
    }
    problems
}

/// What is wrong with a text that becomes part of a header.
fn in_header(at: &str, text: &str, longest: usize) -> Option<Problem> {
    if text.len() > longest {
        return Some(Problem::new(at, "too_long", format!("expected at most {longest} bytes")));
    }
    has_control(text).then(|| {
        let words = "line breaks and control characters cannot be part of a header";
        Problem::new(at, "control_character", words)
    })
}

fn effect_key(key: Option<&str>) -> Option<Problem> {
    let fits =
        |key: &str| (1..=255).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_graphic());
    let words = "expected 1 to 255 visible ASCII characters";
    key.filter(|key| !fits(key)).map(|_| Problem::new("/effect_key", "invalid_effect_key", words))
}

/// Parses the templates.
pub(super) fn templates(job: &Send) -> Result<Templates, Vec<Problem>> {
    let content = &job.content;
    let mut problems: Vec<Problem> =
        in_header("/content/subject", &content.subject, LONGEST_SUBJECT).into_iter().collect();
    if content.subject.trim().is_empty() {
        problems.push(Problem::new("/content/subject", "empty", "expected a subject"));
    }
    let parts = [("/content/text", &content.text), ("/content/html", &content.html)];
    if parts.iter().all(|(_, part)| part.as_deref().is_none_or(|p| p.trim().is_empty())) {
        let words = "expected a text part, an html part or both";
        problems.push(Problem::new("/content", "no_content", words));
    }
    for (at, part) in parts.iter().filter_map(|(at, part)| Some((at, part.as_ref()?))) {
        if part.len() > LARGEST_PART {
            let words = format!("expected at most {LARGEST_PART} bytes, got {}", part.len());
            problems.push(Problem::new(*at, "too_large", words));
        } else if has_binary(part) {
            let words = "control characters other than tabs and line breaks cannot be part of it";
            problems.push(Problem::new(*at, "control_character", words));
        }
    }
    let mut parse = |at: &str, text: &str| {
        let syntax = |e: SyntaxError| {
            let words = format!("at character {}: {}", e.position, e.message);
            problems.push(Problem::new(at, "template_syntax", words));
        };
        Template::parse(text).map_err(syntax).ok()
    };
    let subject = parse("/content/subject", &content.subject);
    let text = content.text.as_deref().map(|text| parse("/content/text", text));
    let html = content.html.as_deref().map(|html| parse("/content/html", html));
    match (subject, problems.is_empty()) {
        (Some(subject), true) => {
            Ok(Templates { subject, text: text.flatten(), html: html.flatten() })
        }
        _ => Err(problems),
    }
}

/// The merge values as texts; `null` counts as not given.
pub(super) fn values(
    merge: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let mut problems = Vec::new();
    if merge.len() > MOST_VALUES {
        let words = format!("expected at most {MOST_VALUES} merge fields");
        problems.push(Problem::new("/merge", "too_many", words));
    }
    let mut values = BTreeMap::new();
    for (name, value) in merge {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            Value::Array(_) | Value::Object(_) => {
                let words = "expected a text, a number, true, false or null";
                problems.push(Problem::new(pointer(name), "invalid_merge_value", words));
                continue;
            }
        };
        if text.len() > LARGEST_VALUE {
            let words = format!("expected at most {LARGEST_VALUE} bytes");
            problems.push(Problem::new(pointer(name), "too_long", words));
        } else if has_binary(&text) {
            let words = "control characters other than tabs and line breaks cannot be merged";
            problems.push(Problem::new(pointer(name), "control_character", words));
        }
        values.insert(name.clone(), text);
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn pointer(name: &str) -> String {
    format!("/merge/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What is wrong with how templates and merge values fit together, whichever alternatives a mail
/// will get.
fn fields(job: &Send, templates: &Templates) -> Vec<Problem> {
    let given = |name: &str| job.merge.get(name).filter(|value| !value.is_null());
    let mut problems: Vec<Problem> = Vec::new();
    let parts = [
        ("subject", Some(&templates.subject)),
        ("text", templates.text.as_ref()),
        ("html", templates.html.as_ref()),
    ];
    for (part, template) in parts.iter().filter_map(|(part, t)| Some((part, (*t)?))) {
        for name in template.required().into_iter().filter(|name| given(name).is_none()) {
            let at = pointer(name);
            if !problems.iter().any(|problem| problem.pointer == at) {
                let words = format!(
                    "the {part} uses {{{{{name}}}}}, which has neither a value nor a default"
                );
                problems.push(Problem::new(at, "missing_field", words));
            }
        }
    }
    for name in templates.subject.fields() {
        if given(name).and_then(Value::as_str).is_some_and(has_control) {
            let words =
                "the subject uses this, so it cannot have line breaks or control characters";
            problems.push(Problem::new(pointer(name), "control_character", words));
        }
    }
    problems
}
