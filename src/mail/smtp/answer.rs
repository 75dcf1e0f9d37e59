//! What a server says, in our words, and what it means when it says nothing.

use std::{error::Error as _, future::Future, time::Duration};

use jobs::contract::{
    Fault,
    ports::{Phase, Reply},
};
use lettre::transport::smtp::{Error as SmtpError, response::Response};
use tokio::time::timeout;

/// Why a dialogue did not get to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server said no.
    Refused { phase: Phase, reply: Reply },
    /// The connection is lost, or what came over it made no sense.
    Lost { phase: Phase, words: String },
    /// Something that a person must put right.
    Misconfigured { phase: Phase, words: String },
    /// The gate said no, or could not say yes.
    Stopped(Option<Fault>),
}

/// What the server says that it can do.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) starttls: bool,
    pub(super) size: bool,
    pub(super) plain: bool,
    pub(super) login: bool,
}

impl Extensions {
    /// Reads the lines of an answer to EHLO.
    pub(super) fn read(lines: &str) -> Self {
        let mut found = Self::default();
        for line in lines.lines().filter_map(|line| line.get(4..)) {
            let line = line.trim().to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("STARTTLS") => found.starttls = true,
                Some("SIZE") => found.size = true,
                Some("AUTH") => words.for_each(|mechanism| match mechanism {
                    "PLAIN" => found.plain = true,
                    "LOGIN" => found.login = true,
                    _ => {}
                }),
                _ => {}
            }
        }
        found
    }
}

/// Waits for one step of the dialogue, and no longer than `limit`.
pub(super) async fn step<T>(
    phase: Phase,
    limit: Duration,
    work: impl Future<Output = Result<T, SmtpError>>,
) -> Result<T, Trouble> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(trouble(phase, &error)),
        Err(_) => {
            let words = format!("no answer within {} s", limit.as_secs_f32());
            Err(Trouble::Lost { phase, words })
        }
    }
}

fn trouble(phase: Phase, error: &SmtpError) -> Trouble {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        return Trouble::Refused { phase, reply: reply(code.into(), &text) };
    }
    let words = if error.is_response() {
        "the server's answer was cut off or is none".to_owned()
    } else {
        error.to_string()
    };
    Trouble::Lost { phase, words }
}

/// An answer that is no refusal.
pub(super) fn positive(response: &Response) -> Reply {
    let text = response.message().collect::<Vec<_>>().join(" ");
    reply(response.code().into(), &text)
}

/// An answer in our words: the enhanced code (RFC 2034) taken off the text, and addresses, which servers
/// like to repeat, out of it: the text goes where no address belongs.
fn reply(code: u16, text: &str) -> Reply {
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    let words = text.split(' ').map(|word| if word.contains('@') { "<address>" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let mut parts = first.split('.');
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    let number = |p: Option<&str>| {
        p.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    if class && number(parts.next()) && number(parts.next()) && parts.next().is_none() {
        Reply { code, enhanced: Some(first.to_owned()), text: rest.trim().to_owned() }
    } else {
        Reply { code, enhanced: None, text: text.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_taken_off_the_text() {
        let read = |text| {
            let reply = reply(550, text);
            (reply.enhanced, reply.text)
        };
        assert_eq!(read("5.1.1 no such user"), (Some("5.1.1".into()), "no such user".into()));
        assert_eq!(read("5.7.515 no"), (Some("5.7.515".into()), "no".into()));
        assert_eq!(read("5.1.1"), (Some("5.1.1".into()), String::new()));
        for text in ["1.2.3.4 is blocked", "5.1 no", "no such user", "5.1.1000 x", "9.1.1 x"] {
            assert_eq!(read(text), (None, text.into()));
        }
    }

    #[test]
    fn no_address_stays_in_the_text() {
        let text = "5.1.1 <ada@example.org>: user=ada@example.org\r\nis unknown here";
        assert_eq!(reply(550, text).text, "<address> <address>  is unknown here");
    }

    #[test]
    fn extensions_are_read_from_the_answer_to_ehlo() {
        let lines = "220 hi\r\n250-mx\r\n250-SIZE 1000\r\n250-auth=LOGIN\r\n250-AUTH PLAIN XOAUTH2\r\n250 STARTTLS\r\n";
        let found = Extensions::read(lines);
        assert!(found.size && found.starttls && found.plain && found.login);
    }
}
