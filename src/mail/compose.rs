//! From a letter to bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobs::contract::{
    Fault, Moment,
    ports::{Composed, Letter, Person},
};
use lettre::{
    Address,
    message::{
        Mailbox, Message, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

/// The last second of the year 9999, the last one that a Date header can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// Turns a letter into bytes with CRLF line ends, lines of at most 998 characters and 7-bit content.
///
/// The same letter gives the same bytes: a retry is the same mail.
pub(super) fn compose(letter: &Letter) -> Result<Composed, Fault> {
    // lettre panics on some of these, and encodes others into headers that receivers refuse.
    let in_headers = [&letter.subject, &letter.message_id].into_iter();
    let names = [&letter.from.name, &letter.to.name].into_iter().flatten();
    let pairs = letter.headers.iter().flat_map(|(name, value)| [name, value]);
    if in_headers.chain(names).chain(pairs).any(|text| has_control(text)) {
        return Err(unsendable("a header has line breaks or control characters in it"));
    }
    let from = mailbox(&letter.from)?;
    let to = mailbox(&letter.to)?;
    let mut builder = Message::builder()
        .from(from.clone())
        .to(to.clone())
        .raw_header(header(HeaderName::new_from_ascii_str("Subject"), &letter.subject))
        .message_id(Some(letter.message_id.clone()))
        .date(date(letter.date));
    for (name, value) in &letter.headers {
        let name = HeaderName::new_from_ascii(name.clone())
            .map_err(|_| unsendable("a header's name has other characters than a name may have"))?;
        builder = builder.raw_header(header(name, value));
    }
    let text = letter.text.as_deref().map(crlf);
    let html = letter.html.as_deref().map(crlf);
    let message = match (text, html) {
        (Some(text), Some(html)) => builder.multipart(
            // The reader takes the last part that it understands, so the plain one comes first.
            MultiPart::alternative()
                .boundary(boundary(&letter.message_id))
                .singlepart(SinglePart::plain(text))
                .singlepart(SinglePart::html(html)),
        ),
        (Some(text), None) => builder.singlepart(SinglePart::plain(text)),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
        (None, None) => return Err(unsendable("it has neither a text nor an HTML part")),
    };
    let message = message.map_err(|e| unsendable(&e.to_string()))?;
    Ok(Composed {
        from: from.email.to_string(),
        to: to.email.to_string(),
        message_id: letter.message_id.clone(),
        bytes: message.formatted(),
    })
}

fn unsendable(why: &str) -> Fault {
    Fault::permanent("unsendable", format!("no mail can be made of it: {why}"))
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
}

/// A header whose value reads back as it was given.
///
/// lettre encodes only the words that need it, which loses spaces between two of them, and lets
/// through what only looks encoded (`=?`), so what is not plain is encoded here, whole (RFC 2047).
fn header(name: HeaderName, value: &str) -> HeaderValue {
    /// Bytes per encoded word: 75 characters less `=?utf-8?b?` and `?=`, in groups of base64.
    const WORD: usize = 45;
    if value.is_ascii() && !value.contains("=?") {
        return HeaderValue::new(name, value.to_owned());
    }
    let mut words = vec![String::new()];
    for c in value.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD) {
            words.push(String::new());
        }
        words.last_mut().expect("it starts with one and only grows").push(c);
    }
    let encode = |word: &String| format!("=?utf-8?b?{}?=", STANDARD.encode(word));
    let encoded = words.iter().map(encode).collect::<Vec<_>>().join("\r\n ");
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), encoded)
}

fn mailbox(person: &Person) -> Result<Mailbox, Fault> {
    let email: Address =
        person.email.parse().map_err(|_| unsendable("an address is not one (local@domain)"))?;
    let name = person.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    Ok(Mailbox::new(name.map(str::to_owned), email))
}

fn date(at: Moment) -> SystemTime {
    let seconds = u64::try_from(at.seconds()).unwrap_or(0).min(LAST_SECOND);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Every line end as CRLF. A bare CR that gets through is how one mail smuggles in another.
fn crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            c => out.push(c),
        }
    }
    out
}

/// A boundary that follows from the mail: lettre's own would differ on every attempt.
fn boundary(message_id: &str) -> String {
    let local = message_id.trim_start_matches('<').split('@').next().unwrap_or_default();
    let safe: String = local.chars().filter(char::is_ascii_alphanumeric).take(50).collect();
    format!("=_postrider_{safe}")
}
