//! A job for people: one page without any resource of others, which moves by itself.
//!
//! All text goes through [`Text`], which leaves nothing in it that HTML would obey. Should that ever
//! fail, the content security policy still lets no script run but the page's own: it alone knows the
//! page's nonce.

mod parts;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    Response,
    header::{HeaderName, HeaderValue},
};
use jobs::contract::Moment;
use rand::RngExt;

use super::{Body, answer::of_type, view::JobView};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The whole page.
pub(super) fn whole(job: &JobView<'_>, now: Moment) -> Response<Body> {
    let nonce = STANDARD.encode(rand::rng().random::<[u8; 16]>());
    let live = if job.status.is_final() { "no" } else { "yes" };
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style nonce=\"{nonce}\">\n{STYLE}</style>\n</head>\n<body data-live=\"{live}\">\n\
         {main}\n<footer><span>Postrider</span><span id=\"live\" role=\"status\"></span></footer>\n\
         <script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n",
        title = parts::title(job),
        main = parts::main(job, now),
    );
    let mut response = of_type("text/html; charset=utf-8", page);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(HeaderName::from_static("content-security-policy"), policy);
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// What of the page changes with the job: its title and its main part.
pub(super) fn piece(job: &JobView<'_>, now: Moment) -> String {
    format!("<title>{}</title>\n{}", parts::title(job), parts::main(job, now))
}

/// A text inside HTML, in an element or in a quoted attribute.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_str("&#10;")?,
                // No others belong in a text, and what turns its direction lies about what it says.
                c if c.is_control() || is_turner(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Characters that turn the direction of the text after them (Unicode's explicit formatting).
fn is_turner(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_obeyed() {
        let hostile = "<b a='1' c=\"2\">&amp;\u{0}\r\n\u{202e}";
        let expected =
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;\u{fffd}\u{fffd}&#10;\u{fffd}";
        assert_eq!(Text(hostile).to_string(), expected);
    }
}
