//! What a mailbox is: what an operator says about it, and what became of it.

use jobs::contract::ports::MailboxStatus;
use secrecy::{ExposeSecret, SecretString};

use super::WarmupSettings;
use crate::{config::Rate, mail::Security};

/// Refused logins in a row at which a mailbox may not send any more: providers lock accounts.
pub const LOGINS_REFUSED_AT_MOST: u32 = 10;

/// How mail leaves a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As `.eml` files.
    File,
    /// Over SMTP.
    Smtp,
}

impl Transport {
    /// The word for it, in files and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Smtp => "smtp",
        }
    }
}

impl std::str::FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "smtp" => Ok(Self::Smtp),
            other => Err(format!("expected file or smtp, got {other:?}")),
        }
    }
}

/// All that an operator says about a mailbox.
#[derive(Debug, Clone)]
pub struct MailboxSettings {
    /// Its address, as it is written.
    pub address: String,
    /// The name shown beside the address.
    pub display_name: Option<String>,
    /// How mail leaves it.
    pub transport: Transport,
    /// The SMTP server.
    pub host: Option<String>,
    /// The SMTP server's port.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub security: Option<Security>,
    /// The login's name.
    pub username: Option<String>,
    /// The login's password.
    pub password: Option<SecretString>,
    /// Its windows; empty: the configured default.
    pub limits: Vec<Rate>,
    /// Whether it may send.
    pub enabled: bool,
    /// How it is warmed up; none: not said, and what was said before stays.
    pub warmup: Option<WarmupSettings>,
}

impl MailboxSettings {
    /// A mailbox whose mail is written to files; everything else as it is by default.
    pub fn file(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            display_name: None,
            transport: Transport::File,
            host: None,
            port: None,
            security: None,
            username: None,
            password: None,
            limits: Vec::new(),
            enabled: true,
            warmup: None,
        }
    }
}

/// A mailbox with its credentials: for the adapters that send, never for jobs.
#[derive(Debug, Clone)]
pub struct MailboxRow {
    /// What an operator said.
    pub settings: MailboxSettings,
    /// Logins refused in a row.
    pub refused_logins: u32,
    /// The server's words at the last of them.
    pub refusal: Option<String>,
}

impl MailboxRow {
    /// Whether it may send.
    pub fn status(&self) -> MailboxStatus {
        if !self.settings.enabled {
            return MailboxStatus::Disabled("an operator disabled the mailbox".into());
        }
        if self.refused_logins >= LOGINS_REFUSED_AT_MOST {
            let words = self.refusal.as_deref().unwrap_or("nothing");
            return MailboxStatus::Disabled(format!(
                "the login was refused {} times in a row; the server said: {words}",
                self.refused_logins
            ));
        }
        MailboxStatus::Enabled
    }

    /// Whether applying these settings would change nothing. A mailbox that refused logins disabled
    /// is not the same: who applies it says that it shall send.
    pub(super) fn is_as(&self, wanted: &MailboxSettings) -> bool {
        let have = &self.settings;
        let secret = |s: &Option<SecretString>| s.as_ref().map(|s| s.expose_secret().to_owned());
        self.refused_logins < LOGINS_REFUSED_AT_MOST
            && have.address == wanted.address
            && have.display_name == wanted.display_name
            && have.transport == wanted.transport
            && (&have.host, have.port, have.security)
                == (&wanted.host, wanted.port, wanted.security)
            && have.username == wanted.username
            && secret(&have.password) == secret(&wanted.password)
            && have.limits == wanted.limits
            && have.enabled == wanted.enabled
            && (wanted.warmup.is_none() || have.warmup == wanted.warmup)
    }
}
