//! From templates and merge values to the texts of one mail.

use crate::contract::Problem;

use super::{
    Send,
    check::{self, LARGEST_PART, LONGEST_SUBJECT, has_control},
    spintax::Spinner,
    template::{Escape, RenderError, Template},
};

/// The texts of one mail, final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
}

/// Renders the mail of this effect key.
///
/// Every part starts from the same seed, so that a text part and an HTML part with the same choices
/// say the same thing.
pub(super) fn render(job: &Send, effect_key: &str) -> Result<Rendered, Vec<Problem>> {
    let templates = check::templates(job)?;
    let values = check::values(&job.merge)?;
    let part = |at: &str, template: &Template, escape, limit| {
        let spinner = Spinner::seeded(effect_key);
        template.render(spinner, &values, escape, limit).map_err(|e| vec![problem(at, e, limit)])
    };
    let subject = part("/content/subject", &templates.subject, Escape::None, LONGEST_SUBJECT)?;
    if has_control(&subject) || subject.trim().is_empty() {
        let words = "after merging, the subject is empty or has a line break in it";
        return Err(vec![Problem::new("/content/subject", "control_character", words)]);
    }
    let text = templates.text.as_ref();
    let html = templates.html.as_ref();
    Ok(Rendered {
        subject,
        text: text.map(|t| part("/content/text", t, Escape::None, LARGEST_PART)).transpose()?,
        html: html.map(|t| part("/content/html", t, Escape::Html, LARGEST_PART)).transpose()?,
    })
}

fn problem(at: &str, error: RenderError, limit: usize) -> Problem {
    match error {
        RenderError::Missing(name) => {
            let words = format!("{{{{{name}}}}} has neither a value nor a default");
            Problem::new(at, "missing_field", words)
        }
        RenderError::TooLong => {
            Problem::new(at, "too_large", format!("after merging, expected at most {limit} bytes"))
        }
    }
}
