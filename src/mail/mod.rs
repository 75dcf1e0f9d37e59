//! Mail: composing, the SMTP driver, the file transport, the table of replies.

mod account;
mod compose;
mod config;
mod file;
mod rehearsal;
mod replies;
mod smtp;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use async_trait::async_trait;
use jobs::contract::{
    Fault, TenantId,
    ports::{Composed, Letter, Mail, Meaning, NotSent, Pauses, PointOfNoReturn, Receipt, Refusal},
};

pub use self::{
    account::{Account, Accounts, Security, SmtpAccount, Transport},
    config::{Deadlines, KeepConfig, MailConfig},
    rehearsal::{Act, Delivered, Rehearsal, Script, Seen},
    replies::classify,
};
use self::{file::Files, smtp::Smtp};

/// The directory, inside the data directory, that mail as files is written to.
pub const FILES: &str = "mail";

/// Sends mail the way that each account asks for.
pub struct Mailer {
    accounts: Arc<dyn Accounts>,
    files: Files,
    smtp: Smtp,
    pauses: Pauses,
    streaks: Mutex<HashMap<(TenantId, String), Streak>>,
}

/// Refusals of one meaning without an accepted mail in between.
#[derive(Debug, Clone, Copy)]
struct Streak {
    meaning: Meaning,
    count: u32,
    last: Instant,
}

impl Mailer {
    /// A mailer by this configuration; mail as files goes to `data_dir`.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificates of the configuration.
    pub fn new(
        config: &MailConfig,
        accounts: Arc<dyn Accounts>,
        data_dir: &Path,
    ) -> Result<Self, String> {
        Ok(Self {
            accounts,
            files: Files::new(data_dir.join(FILES)),
            smtp: Smtp::new(config)?,
            pauses: config.pauses.clone(),
            streaks: Mutex::default(),
        })
    }

    /// Counts a refusal of the mailbox, or forgets them all.
    fn count(
        &self,
        tenant: &TenantId,
        account: &str,
        began: Instant,
        sent: &mut Result<Receipt, NotSent>,
    ) {
        let key = (tenant.clone(), account.to_lowercase());
        let mut streaks = self.streaks.lock().expect("nobody panics while counting");
        match sent {
            Ok(_) => {
                streaks.remove(&key);
            }
            Err(NotSent::Refused(refusal)) => {
                let meaning = refusal.meaning;
                let fresh = Streak { meaning, count: 0, last: began };
                let streak = streaks.entry(key).or_insert(fresh);
                if streak.meaning != meaning {
                    *streak = fresh;
                }
                // Mails that were under way together meet one trouble, not several.
                if streak.count == 0 || began >= streak.last {
                    streak.count = streak.count.saturating_add(1);
                    streak.last = Instant::now();
                }
                refusal.in_a_row = streak.count;
            }
            Err(NotSent::Stopped(_) | NotSent::Fault(_)) => {}
        }
    }
}

#[async_trait]
impl Mail for Mailer {
    fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    fn compose(&self, letter: &Letter) -> Result<Composed, Fault> {
        compose::compose(letter)
    }

    async fn send(
        &self,
        tenant: &TenantId,
        account: &str,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent> {
        let began = Instant::now();
        let found = self.accounts.account(tenant, account).await.map_err(NotSent::Fault)?;
        let mut sent = match found.ok_or_else(smtp::no_account)?.transport {
            Transport::File => self.files.send(mail, gate).await,
            Transport::Smtp(smtp) => self.smtp.send(tenant, account, &smtp, mail, gate).await,
        };
        self.count(tenant, account, began, &mut sent);
        if let Err(NotSent::Refused(refusal)) = &sent {
            log(tenant, refusal);
        }
        sent
    }
}

/// One line for the operator. The server's text is not in it: servers like to repeat addresses.
fn log(tenant: &TenantId, refusal: &Refusal) {
    tracing::warn!(
        tenant = tenant.as_str(),
        smtp.meaning = ?refusal.meaning,
        smtp.phase = ?refusal.phase,
        smtp.rule = refusal.rule,
        smtp.code = refusal.reply.as_ref().map(|reply| reply.code),
        smtp.enhanced = refusal.reply.as_ref().and_then(|reply| reply.enhanced.as_deref()),
        "a mail was not accepted"
    );
}
