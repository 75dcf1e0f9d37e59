//! Composing, read back by another library, and fed with what should not be there.

use jobs::contract::{
    Fault, Moment,
    ports::{Letter, Mail, Person},
    resource::Resources,
};
use mail_parser::{HeaderValue, Message, MessageParser, PartType};
use postrider::mail::{Mailer, Transport};
use proptest::prelude::*;

use crate::support::mail::{FROM, config, letter, mailer};

fn any_mailer() -> Mailer {
    mailer(&config(), [(FROM, Transport::File)])
}

fn whole() -> Letter {
    Letter {
        from: Person { email: FROM.into(), name: Some("Jörg \"J\" Müller, Dev".into()) },
        to: Person { email: "ada@example.org".into(), name: Some("Ada Lovelace".into()) },
        subject: "Grüße aus der Ferne – eine lange Betreffzeile, die gefaltet werden muss ✓".into(),
        text: Some("Zeile 1\nZeile 2\r\nZeile 3\rEnde ✓\n.\n".into()),
        html: Some("<p>Grüße</p>\n".into()),
        headers: vec![
            ("List-Unsubscribe".into(), format!("<https://example.com/u/{}>", "t".repeat(120))),
            ("List-Unsubscribe-Post".into(), "List-Unsubscribe=One-Click".into()),
            ("Reply-To".into(), "help@example.com".into()),
        ],
        message_id: "<abcdefghijklmnopqrstuvwxyz234567@example.com>".into(),
        date: Moment::from_millis(1_781_082_000_000),
    }
}

fn parse(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).expect("it is a message")
}

fn count(bytes: &[u8], header: &str) -> usize {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap();
    format!("\r\n{head}").matches(&format!("\r\n{}:", header.to_lowercase())).count()
}

#[test]
fn what_is_composed_is_what_is_read() {
    // given
    let letter = whole();
    // when
    let mail = any_mailer().compose(&letter).unwrap();
    let read = parse(&mail.bytes);
    // then
    assert_eq!(read.subject(), Some(letter.subject.as_str()));
    let from = read.from().unwrap().first().unwrap();
    assert_eq!((from.address(), from.name()), (Some(FROM), letter.from.name.as_deref()));
    let to = read.to().unwrap().first().unwrap();
    assert_eq!((to.address(), to.name()), (Some("ada@example.org"), Some("Ada Lovelace")));
    assert_eq!(read.message_id(), Some("abcdefghijklmnopqrstuvwxyz234567@example.com"));
    assert_eq!(read.date().unwrap().to_timestamp(), 1_781_082_000);
    assert_eq!(read.body_text(0).unwrap(), "Zeile 1\r\nZeile 2\r\nZeile 3\r\nEnde ✓\r\n.\r\n");
    assert_eq!(read.body_html(0).unwrap(), "<p>Grüße</p>\r\n");
    let url = read.header_raw("List-Unsubscribe").unwrap().trim();
    assert_eq!(url, letter.headers[0].1, "an address in a header is not broken up");
}

#[test]
fn it_has_the_form_that_receivers_ask_for() {
    let mail = any_mailer().compose(&whole()).unwrap();
    for header in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"] {
        assert_eq!(count(&mail.bytes, header), 1, "{header}");
    }
    assert!(mail.bytes.is_ascii());
    let text = String::from_utf8(mail.bytes.clone()).unwrap();
    assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    // text first: readers take the last part that they understand
    let read = parse(&mail.bytes);
    let kinds: Vec<&str> = read
        .parts
        .iter()
        .filter_map(|part| match part.body {
            PartType::Text(_) => Some("text"),
            PartType::Html(_) => Some("html"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["text", "html"]);
    assert_eq!(read.content_type_of_the_whole(), "multipart/alternative");
}

trait Whole {
    fn content_type_of_the_whole(&self) -> String;
}

impl Whole for Message<'_> {
    fn content_type_of_the_whole(&self) -> String {
        match self.header("Content-Type") {
            Some(HeaderValue::ContentType(c)) => {
                format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default())
            }
            other => panic!("no content type: {other:?}"),
        }
    }
}

#[test]
fn the_same_letter_gives_the_same_bytes() {
    let mailer = any_mailer();
    assert_eq!(mailer.compose(&whole()).unwrap(), mailer.compose(&whole()).unwrap());
}

#[test]
fn what_only_looks_encoded_is_shown_as_it_is() {
    let subject = "=?utf-8?b?QmNjOiB4?= hi".to_owned();
    let letter = Letter { subject: subject.clone(), ..whole() };
    let mail = any_mailer().compose(&letter).unwrap();
    assert_eq!(parse(&mail.bytes).subject(), Some(subject.as_str()));
}

#[test]
fn one_part_alone_is_no_multipart() {
    let mailer = any_mailer();
    let text = mailer.compose(&letter(FROM, "a@example.org", "x")).unwrap();
    assert_eq!(parse(&text.bytes).content_type_of_the_whole(), "text/plain");
    let html = Letter { text: None, html: Some("<b>x</b>".into()), ..whole() };
    let html = mailer.compose(&html).unwrap();
    assert_eq!(parse(&html.bytes).content_type_of_the_whole(), "text/html");
}

#[test]
fn what_would_break_a_header_is_refused() {
    let mailer = any_mailer();
    let break_name = |l: &mut Letter| l.to.name = Some("Ada\r\nBcc: x@example.org".into());
    let break_subject = |l: &mut Letter| l.subject = "a\nBcc: x@example.org".into();
    let break_value = |l: &mut Letter| l.headers[2].1 = "a\r\nBcc: x@example.org".into();
    let break_header = |l: &mut Letter| l.headers[2].0 = "X-A\r\nBcc".into();
    let break_id = |l: &mut Letter| l.message_id = "<a@b>\r\nBcc: x@example.org".into();
    let break_address = |l: &mut Letter| l.to.email = "a@b.c> \r\nBcc:<d@e.f".into();
    let no_parts = |l: &mut Letter| (l.text, l.html) = (None, None);
    let breaks: [fn(&mut Letter); 7] =
        [break_name, break_subject, break_value, break_header, break_id, break_address, no_parts];
    for (index, spoil) in breaks.into_iter().enumerate() {
        let mut letter = whole();
        spoil(&mut letter);
        let made = mailer.compose(&letter);
        assert!(matches!(&made, Err(Fault::Permanent(_))), "{index}: {made:?}");
    }
}

proptest! {
    /// Whatever is in a letter, composing neither panics nor lets anything grow a header.
    #[test]
    fn hostile_letters_make_a_mail_or_a_fault(
        name in any::<String>(),
        subject in any::<String>(),
        value in any::<String>(),
        header in any::<String>(),
        text in any::<String>(),
        millis in any::<i64>(),
    ) {
        let mut letter = whole();
        letter.to.name = Some(name);
        letter.subject = subject;
        letter.headers = vec![("X-Value".into(), value), (format!("X-{header}"), "1".into())];
        letter.text = Some(text);
        letter.date = Moment::from_millis(millis);
        if let Ok(mail) = any_mailer_once().compose(&letter) {
            prop_assert!(mail.bytes.is_ascii());
            prop_assert_eq!(count(&mail.bytes, "bcc"), 0);
            prop_assert_eq!(count(&mail.bytes, "from"), 1);
            let text = String::from_utf8(mail.bytes).unwrap();
            prop_assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
            prop_assert!(text.split("\r\n").all(|line| line.len() <= 998 || line.starts_with("X-")));
        }
    }

    /// Nobody is told that a mail is fine and then that it cannot be made.
    #[test]
    fn what_the_check_lets_in_can_be_composed(
        local in "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,12}",
        domain in "[a-z0-9-]{1,6}\\.[a-z]{2,4}",
        name in "\\PC{0,30}",
        subject in "\\PC{1,60}",
        value in "\\PC{1,60}",
        header in "X-[A-Za-z0-9-]{1,20}",
        text in any::<String>(),
    ) {
        let email = format!("{local}@{domain}");
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let escape = |text: &str| text.replace('{', "\\{");
        let payload = serde_json::json!({
            "channel": "email", "account": FROM,
            "to": {"email": email, "name": name},
            "content": {"subject": escape(&subject), "text": escape(&text)},
            "headers": {(header.clone()): value},
        });
        if jobs::catalogue().find("send").unwrap().check(&payload, &Resources::default()).is_ok() {
            let mut letter = whole();
            letter.to = Person { email: email.clone(), name: Some(name) };
            (letter.subject, letter.text) = (subject, Some(text));
            letter.headers = vec![(header, value)];
            let mail = any_mailer_once().compose(&letter);
            prop_assert!(mail.is_ok(), "{:?}", mail);
            let mail = mail.unwrap();
            prop_assert_eq!(mail.to, email.as_str());
            let read = parse(&mail.bytes);
            prop_assert_eq!(read.to().unwrap().first().unwrap().address(), Some(email.as_str()));
        }
    }

    /// Names and subjects without control characters come back as they were.
    #[test]
    fn ordinary_words_survive(
        name in "[a-zA-Zäöü,.\"'()<>@ -]{0,60}",
        subject in "[a-zA-Z0-9äöü✓?!=_ -]{1,120}",
    ) {
        let mut letter = whole();
        letter.to.name = Some(name.clone());
        letter.subject = format!("x{subject}x");
        let mail = any_mailer_once().compose(&letter).unwrap();
        let read = parse(&mail.bytes);
        let squeeze = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        if letter.subject.is_ascii() {
            // Lines are folded at spaces; runs of them are one to a reader.
            prop_assert_eq!(squeeze(read.subject().unwrap()), squeeze(&letter.subject));
        } else {
            prop_assert_eq!(read.subject().unwrap(), &letter.subject);
        }
        let to = read.to().unwrap().first().unwrap();
        prop_assert_eq!(to.address(), Some("ada@example.org"));
        prop_assert_eq!(squeeze(to.name().unwrap_or_default()), squeeze(&name));
    }
}

/// Reading the system's certificates a thousand times would be all that the test does.
fn any_mailer_once() -> &'static Mailer {
    static MAILER: std::sync::LazyLock<Mailer> = std::sync::LazyLock::new(any_mailer);
    &MAILER
}
