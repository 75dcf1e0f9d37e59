//! The sample campaign, which is part of the binary: people, mailboxes, a message.

use std::{fs, net::SocketAddr, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::Failure;

/// What the demo changes of the configuration's defaults.
pub(super) const CONFIG: &str = include_str!("../../../config/samples/demo.toml");
pub(super) const PEOPLE: &str = include_str!("../../../config/samples/people.csv");
pub(super) const MAILBOXES: &str = include_str!("../../../config/samples/mailboxes.toml");
const CAMPAIGN: &str = include_str!("../../../config/samples/campaign.toml");

/// The tag by which the demo finds its jobs again.
pub(super) const TAG: &str = "demo";
/// The people whose mails the rehearsal server greylists once.
pub(super) const GREYLISTED: [&str; 3] =
    ["grace@cobol.example", "hedy@hopping.example", "vint@gateway.example"];
/// The person at whose mail the rehearsal server says once that the mailbox is too fast.
pub(super) const SLOWED: &str = "edsger@shortest.example";
/// The mailboxes that send through the rehearsal server.
pub(super) const OVER_SMTP: [&str; 2] = ["sales@postrider.example", TRIED_ONCE];
/// The mailbox whose mails are tried once only.
pub(super) const TRIED_ONCE: &str = "desk@postrider.example";

/// The person the end of whose mail a webhook tells.
pub(super) const CALLED_BACK: &str = "ada@analytical.example";
/// The webhook endpoint that it tells.
pub(super) const ENDPOINT: &str = "receiver";

/// Somebody to write to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    company: String,
    pub(super) mailbox: String,
}

impl Person {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// Whether the mail to them is tried once only.
    pub(super) fn is_tried_once(&self) -> bool {
        self.mailbox == TRIED_ONCE
    }
}

/// The message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Campaign {
    subject: String,
    text: String,
    html: String,
}

pub(super) fn people() -> Result<Vec<Person>, Failure> {
    let mut reader = csv::Reader::from_reader(PEOPLE.as_bytes());
    let people: Result<_, _> = reader.deserialize().collect();
    people.map_err(|e| Failure::data(format!("config/samples/people.csv: {e}")))
}

pub(super) fn campaign() -> Result<Campaign, Failure> {
    toml::from_str(CAMPAIGN)
        .map_err(|e| Failure::data(format!("config/samples/campaign.toml: {}", e.message())))
}

/// Writes the samples into `dir`, for whoever looks there later, with the rehearsal server's port.
pub(super) fn write(dir: &Path, server: SocketAddr) -> Result<(), Failure> {
    let mailboxes = MAILBOXES.replace("port = 2525", &format!("port = {}", server.port()));
    let files =
        [("people.csv", PEOPLE), ("campaign.toml", CAMPAIGN), ("mailboxes.toml", &mailboxes)];
    for (name, text) in files {
        let file = dir.join(name);
        fs::write(&file, text)
            .map_err(|e| Failure::cannot_create(format!("cannot write {}: {e}", file.display())))?;
    }
    Ok(())
}

impl Campaign {
    /// The job that writes to one person.
    pub(super) fn job(&self, person: &Person) -> Value {
        let callback: &[&str] = if person.email == CALLED_BACK { &[ENDPOINT] } else { &[] };
        let mut job = json!({
            "type": "send",
            "tags": [TAG],
            "callback": callback,
            "payload": {
                "channel": "email",
                "account": person.mailbox,
                "to": {"email": person.email, "name": person.name()},
                "content": {"subject": self.subject, "text": self.text, "html": self.html},
                "merge": {
                    "first_name": person.first_name,
                    "last_name": person.last_name,
                    "company": person.company,
                },
            },
        });
        if person.is_tried_once() {
            job["max_attempts"] = json!(1);
        }
        job
    }

    /// A job that must be refused: a display name that would smuggle a header into the mail.
    pub(super) fn bad_job(&self, person: &Person) -> Value {
        let mut job = self.job(person);
        job["payload"]["to"]["name"] = json!("Mallory\r\nBcc: everybody@example.org");
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_fit_together() {
        let (people, campaign) = (people().unwrap(), campaign().unwrap());
        assert!(people.len() >= 12);
        for person in &people {
            let address = format!("email_address = \"{}\"", person.mailbox);
            assert!(MAILBOXES.contains(&address), "{} has no mailbox", person.email);
        }
        let mailbox =
            |email: &str| people.iter().find(|p| p.email == email).unwrap().mailbox.clone();
        assert!(people.iter().any(|person| person.email == CALLED_BACK));
        let [grace, others @ ..] = GREYLISTED;
        assert_eq!([mailbox(grace), mailbox(SLOWED)], [OVER_SMTP[0], OVER_SMTP[0]]);
        // All that are tried once only fail, so that there is something to retry.
        let once: Vec<_> = people.iter().filter(|person| person.is_tried_once()).collect();
        assert_eq!(once.iter().map(|person| &person.email).collect::<Vec<_>>(), others.each_ref());
        // More than five over the mailbox that takes five: its lane must be parked.
        assert!(people.iter().filter(|p| p.mailbox.starts_with("news@")).count() > 5);
        assert!(MAILBOXES.contains("port = 2525"));
        assert_eq!(campaign.job(&people[0])["payload"]["to"]["email"], people[0].email);
    }
}
