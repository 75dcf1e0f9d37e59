//! The SMTP driver: lettre's low-level connection, with phases, deadlines and a point of no return.
//!
//! lettre's own pool is not used: it takes back a connection whose send was dropped halfway, and then
//! reads the answers of one mail as those of the next; nor does it say at which step an error came,
//! without which "try again" and "may have been delivered" look the same.

mod answer;
mod dial;
mod keep;
mod session;
mod wire;

use jobs::contract::{
    Fault, TenantId,
    ports::{Composed, Meaning, NotSent, Phase, PointOfNoReturn, Receipt, Refusal, Reply},
};
use lettre::transport::smtp::extension::ClientId;
use tokio_rustls::TlsConnector;

use self::{
    answer::Trouble,
    keep::{Keep, Key},
    session::Session,
};
use super::{
    account::SmtpAccount,
    config::{Deadlines, MailConfig},
    replies::{ROW_CONFIG, classify, lost},
};

/// Sends mails to submission servers.
pub(super) struct Smtp {
    hello: ClientId,
    tls: TlsConnector,
    deadlines: Deadlines,
    keep: Keep,
}

impl Smtp {
    /// A driver by this configuration.
    pub(super) fn new(config: &MailConfig) -> Result<Self, String> {
        let hello = if config.hello.is_empty() {
            ClientId::default()
        } else {
            ClientId::Domain(config.hello.clone())
        };
        Ok(Self {
            hello,
            tls: crate::tls::trust("mail.ca_file", &config.ca_file)?,
            deadlines: config.deadlines,
            keep: Keep::new(config.keep),
        })
    }

    /// Sends one mail. Dropping the future closes the connection that it uses.
    pub(super) async fn send(
        &self,
        tenant: &TenantId,
        address: &str,
        account: &SmtpAccount,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent> {
        let key = Key::of(tenant, address, account);
        if let Some(mut session) = self.keep.take(&key) {
            let sent = session.transact(mail, gate).await;
            if !is_tired(&sent) {
                return self.end(key, session, sent, false).await;
            }
            // The connection ended between two mails, as they all do one day: nothing was sent.
        }
        let opened = Session::open(account, &self.hello, &self.tls, self.deadlines).await;
        let mut session = opened.map_err(not_sent)?;
        let sent = session.transact(mail, gate).await;
        self.end(key, session, sent, account.username.is_some()).await
    }

    /// Keeps the session or lets it go, and says how the mail fared.
    async fn end(
        &self,
        key: Key,
        mut session: Session,
        sent: Result<Reply, Trouble>,
        logged_in: bool,
    ) -> Result<Receipt, NotSent> {
        match sent {
            Ok(reply) => {
                self.keep.put(key, session);
                let provider_id = provider_id(&reply.text);
                Ok(Receipt { reply: Some(reply), provider_id, logged_in })
            }
            Err(trouble) => {
                if is_orderly(&trouble) && session.reset().await.is_ok() {
                    self.keep.put(key, session);
                }
                Err(not_sent(trouble))
            }
        }
    }
}

/// Whether a kept connection turned out to be at its end before it was given a mail.
fn is_tired(sent: &Result<Reply, Trouble>) -> bool {
    match sent {
        Err(Trouble::Lost { phase, .. }) => *phase == Phase::Mail,
        Err(Trouble::Refused { phase, reply }) => *phase == Phase::Mail && reply.code == 421,
        _ => false,
    }
}

/// Whether the server refused a mail and stays for another: 421 means that it goes, and whoever
/// interrupts a message is out of step.
fn is_orderly(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused { phase, reply }
        if reply.code != 421 && matches!(phase, Phase::Mail | Phase::Rcpt | Phase::Dot))
}

fn not_sent(trouble: Trouble) -> NotSent {
    let (meaning, rule, phase, reply, message) = match trouble {
        Trouble::Stopped(fault) => return NotSent::Stopped(fault),
        Trouble::Refused { phase, reply } => {
            let (meaning, rule) = classify(phase, &reply);
            let message = format!("the server refused {}: {}", what(phase), shown(&reply));
            (meaning, rule, phase, Some(reply), message)
        }
        Trouble::Lost { phase, words } => {
            let (meaning, rule) = lost(phase);
            let message = if meaning == Meaning::Unknown {
                format!(
                    "no answer after the mail was handed over, it may have been delivered: {words}"
                )
            } else {
                format!("the server went away at {}: {words}", what(phase))
            };
            (meaning, rule, phase, None, message)
        }
        Trouble::Misconfigured { phase, words } => {
            (Meaning::ConfigError, ROW_CONFIG, phase, None, words)
        }
    };
    NotSent::Refused(Refusal { meaning, phase, reply, rule, message, in_a_row: 1 })
}

fn what(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "the connection",
        Phase::Tls => "TLS",
        Phase::Auth => "the login",
        Phase::Mail => "the sender",
        Phase::Rcpt => "the recipient",
        Phase::Data | Phase::Dot => "the mail",
    }
}

fn shown(reply: &Reply) -> String {
    let enhanced = reply.enhanced.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{enhanced} {}", reply.code, reply.text)
}

/// The id that a server names when it takes a mail: a Message-ID of its own (Exchange), or the id in
/// its queue (Postfix, Exim).
fn provider_id(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let message_id =
        words.iter().find(|w| w.starts_with('<') && w.ends_with('>') && w.contains('@'));
    let exim = words.iter().find_map(|word| word.strip_prefix("id="));
    let postfix = words.windows(3).find_map(|w| (w[..2] == ["queued", "as"]).then_some(w[2]));
    message_id.copied().or(exim).or(postfix).map(str::to_owned)
}

/// What a mail without a known way gets.
pub(super) fn no_account() -> NotSent {
    let words = "the mailbox has no account to send from any more";
    NotSent::Fault(Fault::permanent("unknown_account", words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_ids_are_found_in_what_servers_say() {
        let rows = [
            ("OK id=1tDxyz-000abc-2B", Some("1tDxyz-000abc-2B")),
            ("Ok: queued as 4F1D2A", Some("4F1D2A")),
            ("OK <new@host.example> [Hostname=mx]", Some("<new@host.example>")),
            ("OK 1700000000 abc - gsmtp", None),
            ("", None),
        ];
        for (text, id) in rows {
            assert_eq!(provider_id(text).as_deref(), id, "{text}");
        }
    }
}
