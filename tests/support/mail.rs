//! For tests of mail: accounts, gates, and the private mail system that `mailstack.sh` starts.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Letter, Person, PointOfNoReturn},
};
use postrider::{
    config::Config,
    mail::{Account, Accounts, MailConfig, Mailer, Rehearsal, Security, SmtpAccount, Transport},
};

/// The sender of the tests with a server of their own.
pub(crate) const FROM: &str = "dev@example.com";

/// The tenant of the tests.
pub(crate) fn tenant() -> TenantId {
    "dev".parse().unwrap()
}

/// Accounts that are the same for every tenant.
pub(crate) struct FixedAccounts(Mutex<HashMap<String, Transport>>);

impl FixedAccounts {
    pub(crate) fn none() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn one(address: &str, transport: Transport) -> Self {
        let accounts = Self::none();
        accounts.put(address, transport);
        accounts
    }

    pub(crate) fn put(&self, address: &str, transport: Transport) {
        self.0.lock().unwrap().insert(address.to_owned(), transport);
    }
}

#[async_trait]
impl Accounts for FixedAccounts {
    async fn account(&self, _tenant: &TenantId, address: &str) -> Result<Option<Account>, Fault> {
        let transport = self.0.lock().unwrap().get(&address.to_lowercase()).cloned();
        Ok(transport.map(|transport| Account { address: address.to_owned(), transport }))
    }
}

/// The default configuration.
pub(crate) fn config() -> MailConfig {
    let mut mail = Config::load(None, []).unwrap().mail;
    mail.hello = "tests.example".into();
    mail
}

/// A mailer whose accounts are these; mail as files goes nowhere.
pub(crate) fn mailer(
    config: &MailConfig,
    accounts: impl IntoIterator<Item = (&'static str, Transport)>,
) -> Mailer {
    let fixed = FixedAccounts::none();
    accounts.into_iter().for_each(|(address, transport)| fixed.put(address, transport));
    Mailer::new(config, Arc::new(fixed), "/nonexistent".as_ref()).unwrap()
}

/// An account of a rehearsal server.
pub(crate) fn rehearsed(server: &Rehearsal) -> SmtpAccount {
    SmtpAccount {
        host: server.addr().ip().to_string(),
        port: server.addr().port(),
        security: Security::None,
        username: None,
        password: None,
    }
}

/// A short letter.
pub(crate) fn letter(from: &str, to: &str, subject: &str) -> Letter {
    Letter {
        from: Person { email: from.into(), name: Some("Dev".into()) },
        to: Person { email: to.into(), name: None },
        subject: subject.into(),
        text: Some("Hello.\n.\n..two dots\n".into()),
        html: None,
        headers: Vec::new(),
        message_id: format!("<{}@example.com>", subject.replace(' ', "-")),
        date: Moment::from_millis(1_780_000_000_000),
    }
}

/// A gate that lets pass, or not, and counts how often it was asked.
pub(crate) struct Gate {
    answer: Result<bool, Fault>,
    asked: AtomicUsize,
}

impl Gate {
    pub(crate) fn open() -> Self {
        Self::answering(Ok(true))
    }

    pub(crate) fn answering(answer: Result<bool, Fault>) -> Self {
        Self { answer, asked: AtomicUsize::new(0) }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl PointOfNoReturn for Gate {
    async fn pass(&self) -> Result<bool, Fault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer.clone()
    }
}

/// The private mail system, as `tests/support/mailstack.sh` started it.
pub(crate) struct MailStack {
    values: HashMap<String, String>,
}

impl MailStack {
    /// Reads where it is.
    pub(crate) fn from_env() -> Self {
        let dir = std::env::var("POSTRIDER_TEST_MAIL").expect(
            "POSTRIDER_TEST_MAIL must name the directory of a running mail system: \
             tests/support/mailstack.sh start DIR",
        );
        let file = PathBuf::from(dir).join("env");
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
        let pair = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Self { values: text.lines().filter_map(pair).collect() }
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("the mail system has no {name}"))
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        self.value(name).parse().unwrap()
    }

    /// An account of it that submits over STARTTLS or TLS.
    pub(crate) fn account(
        &self,
        username: &str,
        password: &str,
        security: Security,
    ) -> SmtpAccount {
        let port = match security {
            Security::Tls => self.port("MAIL_TLS_PORT"),
            Security::StartTls | Security::None => self.port("MAIL_STARTTLS_PORT"),
        };
        SmtpAccount {
            host: self.value("MAIL_HOST").to_owned(),
            port,
            security,
            username: Some(username.to_owned()),
            password: Some(password.into()),
        }
    }

    /// The default configuration, trusting its certificates.
    pub(crate) fn config(&self) -> MailConfig {
        let mut mail = config();
        mail.ca_file = self.value("MAIL_CA").into();
        mail
    }
}
