//! The accounts that mail is sent from, credentials included. They never leave this module's callers:
//! jobs know mailboxes by their address only.

use async_trait::async_trait;
use jobs::contract::{Fault, TenantId};
use secrecy::SecretString;

/// An account that mail is sent from.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its address, which is also the envelope sender.
    pub address: String,
    /// The way its mail takes.
    pub transport: Transport,
}

/// The way an account's mail takes.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Into `.eml` files: nothing leaves the host.
    File,
    /// To a submission server.
    Smtp(SmtpAccount),
}

/// How to reach, and log in to, a submission server.
#[derive(Debug, Clone)]
pub struct SmtpAccount {
    /// The server's name or address; certificates are checked against it.
    pub host: String,
    /// Its port: 465 for TLS, 587 for STARTTLS.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// The login name; none: no login.
    pub username: Option<String>,
    /// The password that goes with it.
    pub password: Option<SecretString>,
}

/// How a connection is protected. Nothing falls back to less than it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// TLS after STARTTLS (RFC 3207).
    StartTls,
    /// None: to loopback addresses only.
    None,
}

impl std::str::FromStr for Security {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tls" => Ok(Self::Tls),
            "starttls" => Ok(Self::StartTls),
            "none" => Ok(Self::None),
            other => Err(format!("expected tls, starttls or none, got {other:?}")),
        }
    }
}

impl Security {
    /// The word for it, in files and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::StartTls => "starttls",
            Self::None => "none",
        }
    }
}

impl std::fmt::Display for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where accounts are kept.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The tenant's account with this address (compared without case), its secrets opened.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn account(&self, tenant: &TenantId, address: &str) -> Result<Option<Account>, Fault>;
}
