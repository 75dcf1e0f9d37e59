//! Settings from TOML: `[[mailboxes]]`, `[[endpoints]]` and `[[suppressions]]`.
//!
//! Every problem of a file is found at once, and each names its line and option. No text repeats a
//! value that could be a password.

use std::{collections::HashMap, net::IpAddr};

use jobs::contract::address::{flaw, is_domain};
use toml::de::DeTable;

use super::{
    endpoint::endpoint,
    entry::{Entry, Env, entries, line_at},
    warmup,
};
use crate::{
    config::Rate,
    mail::Security,
    store::{EndpointSettings, MailboxSettings, Transport},
};

const LONGEST_NAME: usize = 200;
const LONGEST_REASON: usize = 64;
/// Options of a mailbox that only SMTP has.
const SMTP_ONLY: [&str; 6] = ["host", "port", "security", "username", "password", "password_env"];

/// All that a file declares.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) mailboxes: Vec<MailboxSettings>,
    /// An address or `@domain`, and the reason.
    pub(super) suppressions: Vec<(String, String)>,
    pub(super) endpoints: Vec<EndpointSettings>,
}

/// Reads a whole file, or says everything that is wrong with it.
pub(super) fn read(text: &str, env: Env<'_>) -> Result<Declared, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = DeTable::parse(text).map_err(|error| {
        // The parser's whole text would repeat the line, and with it perhaps a password.
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        vec![format!("line {line}: {}", error.message())]
    })?;
    let mut problems = Vec::new();
    let mut declared = Declared::default();
    for (key, value) in file.into_inner() {
        let line = line_at(text, key.span().start);
        match key.as_ref().as_ref() {
            "mailboxes" => {
                for entry in entries("mailboxes", line, value, text, &mut problems) {
                    declared.mailboxes.extend(mailbox(entry, text, env, &mut problems));
                }
            }
            "endpoints" => {
                for entry in entries("endpoints", line, value, text, &mut problems) {
                    declared.endpoints.extend(endpoint(entry, env, &mut problems));
                }
            }
            "suppressions" => {
                for entry in entries("suppressions", line, value, text, &mut problems) {
                    declared.suppressions.extend(suppression(entry, &mut problems));
                }
            }
            other => problems.push(format!(
                "line {line}: there is no {other:?}; expected [[mailboxes]], [[endpoints]] or [[suppressions]]"
            )),
        }
    }
    twins(&declared, &mut problems);
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn mailbox(
    mut entry: Entry<'_>,
    text: &str,
    env: Env<'_>,
    problems: &mut Vec<String>,
) -> Option<MailboxSettings> {
    let line = entry.line;
    if !entry.has("email_address") {
        entry.wrong("email_address", line, "expected an address; it is missing");
    }
    let address =
        entry.take_text("email_address", is_address, "an address such as ada@example.org");
    if !entry.has("transport") {
        entry.wrong("transport", line, "expected \"file\" or \"smtp\"; it is missing");
    }
    let transport: Option<Transport> = entry.take_word("transport");
    let plain = "one line of 1 to 200 characters";
    let display_name = entry.take_text("display_name", is_plain, plain);
    let enabled = entry.take::<bool>("enabled").is_none_or(|(enabled, _)| enabled);
    let limits = entry.take::<Vec<Rate>>("limits").map(|(limits, _)| limits).unwrap_or_default();
    let mut settings = MailboxSettings {
        display_name,
        transport: transport.unwrap_or(Transport::File),
        limits,
        enabled,
        warmup: warmup::take(&mut entry, text),
        ..MailboxSettings::file(address.unwrap_or_default())
    };
    match transport {
        Some(Transport::Smtp) => smtp(&mut entry, &mut settings, env),
        Some(Transport::File) => {
            for option in SMTP_ONLY {
                if let Some((line, _)) = entry.options.remove(option) {
                    entry.wrong(option, line, "only transport = \"smtp\" has it");
                }
            }
        }
        // What else is right depends on a transport that is wrong.
        None => SMTP_ONLY.iter().for_each(|option| drop(entry.options.remove(*option))),
    }
    entry.finish(problems).then_some(settings)
}

fn smtp(entry: &mut Entry<'_>, settings: &mut MailboxSettings, env: Env<'_>) {
    let line = entry.line;
    if !entry.has("host") {
        entry.wrong("host", line, "expected the name of an SMTP server; it is missing");
    }
    let is_host = |text: &str| {
        is_domain(text) || text == "localhost" || text.parse::<IpAddr>().is_ok() || is_label(text)
    };
    settings.host = entry.take_text("host", is_host, "the name or address of a server");
    let security_line = entry.options.get("security").map_or(line, |(line, _)| *line);
    let security = entry.take_word("security").unwrap_or(Security::Tls);
    // The ports that go with each (RFC 8314, RFC 6409, RFC 5321).
    let usual = match security {
        Security::Tls => 465,
        Security::StartTls => 587,
        Security::None => 25,
    };
    let (port, port_line) = entry.take::<u16>("port").unwrap_or((usual, line));
    if port == 0 {
        entry.wrong("port", port_line, "expected 1 to 65535, got 0");
    }
    let loopback = |host: &String| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    if security == Security::None && !settings.host.as_ref().is_none_or(loopback) {
        let words = "\"none\" is for servers on this host only; expected tls or starttls";
        entry.wrong("security", security_line, words);
    }
    settings.security = Some(security);
    settings.port = Some(port);
    login(entry, settings, env);
}

fn is_address(text: &str) -> bool {
    flaw(text).is_none()
}

fn is_label(text: &str) -> bool {
    is_domain(&format!("{text}.local"))
}

fn login(entry: &mut Entry<'_>, settings: &mut MailboxSettings, env: Env<'_>) {
    let line = entry.line;
    let (has_password, has_env) = (entry.has("password"), entry.has("password_env"));
    let has_username = entry.has("username");
    if has_username != (has_password || has_env) {
        let words = "a login has both a username and a password, or neither";
        entry.wrong("username", line, words);
    }
    settings.username = entry.take_text("username", is_plain, "one line of 1 to 200 characters");
    settings.password = entry.take_secret_of("password", "password_env", env).map(Into::into);
}

fn suppression(mut entry: Entry<'_>, problems: &mut Vec<String>) -> Option<(String, String)> {
    let line = entry.line;
    if entry.has("email_address") == entry.has("domain") {
        entry.wrong("email_address", line, "expected either email_address or domain");
    }
    let address =
        entry.take_text("email_address", is_address, "an address such as ada@example.org");
    let domain = entry.take_text("domain", is_domain, "a domain such as example.org");
    let word = |text: &str| {
        (1..=LONGEST_REASON).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let reason = entry.take_text("reason", word, "a word such as manual or unsubscribed");
    let reason = reason.unwrap_or_else(|| "manual".to_owned());
    let held = address.or(domain.map(|domain| format!("@{domain}")));
    entry.finish(problems).then_some(())?;
    held.map(|held| (held, reason))
}

/// The same thing declared twice is a mistake: nobody can say which of them is meant.
fn twins(declared: &Declared, problems: &mut Vec<String>) {
    let mut seen = HashMap::new();
    let mailboxes = declared.mailboxes.iter().map(|mailbox| ("mailbox", mailbox.address.as_str()));
    let suppressions = declared.suppressions.iter().map(|(held, _)| ("suppression", held.as_str()));
    let endpoints = declared.endpoints.iter().map(|endpoint| ("endpoint", endpoint.id.as_str()));
    for (what, name) in mailboxes.chain(suppressions).chain(endpoints) {
        let count = seen.entry((what, name.to_lowercase())).or_insert(0);
        *count += 1;
        if *count == 2 {
            problems.push(format!("the {what} {name:?} is declared more than once"));
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
