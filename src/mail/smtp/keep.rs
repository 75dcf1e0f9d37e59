//! Connections that wait for the next mail of their account.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use jobs::contract::TenantId;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::session::Session;
use crate::mail::{account::SmtpAccount, config::KeepConfig};

/// The most connections kept for one account; Exchange Online allows three at once.
const PER_ACCOUNT: usize = 2;

/// Whose connection it is. A changed password or server is another key: no mail goes out over a login
/// that is not the account's any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    tenant: TenantId,
    account: String,
    fingerprint: [u8; 32],
}

impl Key {
    pub(super) fn of(tenant: &TenantId, address: &str, account: &SmtpAccount) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update(text.len().to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(&account.host);
        part(&account.port.to_string());
        part(&account.security.to_string());
        part(account.username.as_deref().unwrap_or_default());
        part(account.password.as_ref().map_or("", |password| password.expose_secret()));
        Self {
            tenant: tenant.clone(),
            account: address.to_lowercase(),
            fingerprint: hash.finalize().into(),
        }
    }
}

struct Kept {
    session: Session,
    since: Instant,
}

/// The connections that wait. A session is taken out before it is used and comes back only after a
/// clean end, so that one whose send was dropped halfway never is in here.
pub(super) struct Keep {
    config: KeepConfig,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    sessions: HashMap<Key, Vec<Kept>>,
    swept: bool,
}

impl Keep {
    pub(super) fn new(config: KeepConfig) -> Self {
        Self { config, shelf: Arc::default() }
    }

    /// A connection of this account that is still good, if one waits.
    pub(super) fn take(&self, key: &Key) -> Option<Session> {
        let mut shelf = lock(&self.shelf);
        let waiting = shelf.sessions.get_mut(key)?;
        let mut found = None;
        while let Some(kept) = waiting.pop() {
            if kept.is_fresh(&self.config) && kept.session.is_quiet() {
                found = Some(kept.session);
                break;
            }
        }
        if waiting.is_empty() {
            shelf.sessions.remove(key);
        }
        found
    }

    /// Keeps a connection after a clean end, or says goodbye to it when it has done its share.
    pub(super) fn put(&self, key: Key, session: Session) {
        let kept = Kept { session, since: Instant::now() };
        let mut shelf = lock(&self.shelf);
        let waiting = shelf.sessions.entry(key).or_default();
        if waiting.len() < PER_ACCOUNT && kept.is_fresh(&self.config) {
            waiting.push(kept);
        } else {
            tokio::spawn(kept.session.quit());
        }
        if !std::mem::replace(&mut shelf.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.shelf), self.config));
        }
    }
}

impl Kept {
    fn is_fresh(&self, config: &KeepConfig) -> bool {
        self.session.mails < config.mails
            && self.session.opened.elapsed() < config.age
            && self.since.elapsed() < config.idle
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().expect("nobody panics while holding the shelf")
}

/// Says goodbye to connections that waited long enough, until none is left.
async fn sweep(shelf: std::sync::Weak<Mutex<Shelf>>, config: KeepConfig) {
    loop {
        tokio::time::sleep(config.idle.max(std::time::Duration::from_millis(100))).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let mut leaving = Vec::new();
        let done = {
            let mut shelf = lock(&shelf);
            for waiting in shelf.sessions.values_mut() {
                leaving.extend(waiting.extract_if(.., |kept| !kept.is_fresh(&config)));
            }
            shelf.sessions.retain(|_, waiting| !waiting.is_empty());
            shelf.swept = !shelf.sessions.is_empty();
            !shelf.swept
        };
        for kept in leaving {
            tokio::spawn(kept.session.quit());
        }
        if done {
            return;
        }
    }
}
