//! Ports that live in memory, for tests of jobs and of the engine.
//!
//! [`Fakes`] holds one of each and hands out contexts. They keep to the words of the ports; what
//! they are told to do badly, they do once and in order.

mod ledger;
mod mail;
mod records;
mod webhooks;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

pub use self::{
    ledger::FakeLedger,
    mail::FakeMail,
    records::FakeRecords,
    webhooks::{FakeDeliveries, FakeEndpoints, FakeFollowUps, FakeWebhooks, answer},
};
use super::{
    Context, Cursor, Fault, JobId, Moment, Ports, RunInfo, TenantId,
    ports::{
        Clock, Deliveries, Endpoints, FollowUps, Ledger, Mail, Mailbox, MailboxStatus, Mailboxes,
        Progress, Records, Suppression, Suppressions, Webhooks,
    },
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no fake panics while it holds its lock")
}

/// One fake of each port.
#[derive(Default, Clone)]
pub struct Fakes {
    /// The time.
    pub clock: Arc<FakeClock>,
    /// The log of webhook deliveries.
    pub deliveries: Arc<FakeDeliveries>,
    /// Webhook endpoints.
    pub endpoints: Arc<FakeEndpoints>,
    /// Jobs that followed.
    pub follow_ups: Arc<FakeFollowUps>,
    /// The ledger.
    pub ledger: Arc<FakeLedger>,
    /// Mail.
    pub mail: Arc<FakeMail>,
    /// Mailboxes.
    pub mailboxes: Arc<FakeMailboxes>,
    /// Records that are changed in bulk.
    pub records: Arc<FakeRecords>,
    /// Suppressions.
    pub suppressions: Arc<FakeSuppressions>,
    /// Progress.
    pub progress: Arc<FakeProgress>,
    /// The other side of webhooks.
    pub webhooks: Arc<FakeWebhooks>,
}

impl Fakes {
    /// The ports, as an engine is given them.
    pub fn ports(&self) -> Arc<Ports> {
        Arc::new(Ports {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            deliveries: Arc::clone(&self.deliveries) as Arc<dyn Deliveries>,
            endpoints: Arc::clone(&self.endpoints) as Arc<dyn Endpoints>,
            follow_ups: Arc::clone(&self.follow_ups) as Arc<dyn FollowUps>,
            ledger: Arc::clone(&self.ledger) as Arc<dyn Ledger>,
            mail: Arc::clone(&self.mail) as Arc<dyn Mail>,
            mailboxes: Arc::clone(&self.mailboxes) as Arc<dyn Mailboxes>,
            records: Arc::clone(&self.records) as Arc<dyn Records>,
            suppressions: Arc::clone(&self.suppressions) as Arc<dyn Suppressions>,
            webhooks: Arc::clone(&self.webhooks) as Arc<dyn Webhooks>,
        })
    }

    /// A context for a run of the tenant `dev`: job number `job`, claimed for the `fence`th time.
    pub fn context(&self, job: u128, fence: u64) -> Context {
        let info = RunInfo {
            job: JobId::from_u128(job),
            tenant: "dev".parse().expect("dev is a tenant name"),
            attempt: u32::try_from(fence).unwrap_or(u32::MAX),
            max_attempts: 8,
            fence,
            created_at: Moment::from_millis(1_780_000_000_000),
            cursor: None,
        };
        Context::new(info, self.ports(), Arc::clone(&self.progress) as Arc<dyn Progress>)
    }
}

/// A clock that is set by hand; sleeping moves it on.
pub struct FakeClock(AtomicI64);

impl Default for FakeClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_780_000_000_000))
    }
}

impl FakeClock {
    /// Moves the clock on.
    pub fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, span: Duration) {
        self.advance(span);
    }
}

/// Mailboxes in memory.
#[derive(Default)]
pub struct FakeMailboxes {
    boxes: Mutex<BTreeMap<String, Mailbox>>,
    refused: Mutex<BTreeMap<String, u32>>,
}

impl FakeMailboxes {
    /// Adds or replaces a mailbox.
    pub fn put(&self, address: &str, status: MailboxStatus) {
        let display_name = Some("Dev".to_owned());
        let mailbox = Mailbox { address: address.to_owned(), display_name, status };
        lock(&self.boxes).insert(address.to_lowercase(), mailbox);
    }

    /// How many logins of a mailbox were refused in a row.
    pub fn refused(&self, address: &str) -> u32 {
        lock(&self.refused).get(&address.to_lowercase()).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Mailboxes for FakeMailboxes {
    async fn find(&self, _tenant: &TenantId, address: &str) -> Result<Option<Mailbox>, Fault> {
        Ok(lock(&self.boxes).get(&address.to_lowercase()).cloned())
    }

    async fn login_refused(
        &self,
        _tenant: &TenantId,
        address: &str,
        _words: &str,
    ) -> Result<u32, Fault> {
        let mut refused = lock(&self.refused);
        let count = refused.entry(address.to_lowercase()).or_default();
        *count += 1;
        Ok(*count)
    }

    async fn login_worked(&self, _tenant: &TenantId, address: &str) -> Result<(), Fault> {
        lock(&self.refused).remove(&address.to_lowercase());
        Ok(())
    }
}

/// A suppression list in memory.
#[derive(Default)]
pub struct FakeSuppressions(Mutex<BTreeMap<String, Suppression>>);

impl FakeSuppressions {
    /// Suppresses an address since the epoch.
    pub fn put(&self, email: &str, reason: &str) {
        let suppression = Suppression { reason: reason.to_owned(), since: Moment::from_millis(0) };
        lock(&self.0).entry(email.to_lowercase()).or_insert(suppression);
    }

    /// Why an address is suppressed, if it is.
    pub fn reason(&self, email: &str) -> Option<String> {
        lock(&self.0).get(&email.to_lowercase()).map(|s| s.reason.clone())
    }
}

#[async_trait]
impl Suppressions for FakeSuppressions {
    async fn find(&self, _tenant: &TenantId, email: &str) -> Result<Option<Suppression>, Fault> {
        let email = email.to_lowercase();
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let list = lock(&self.0);
        Ok(list.get(&email).or_else(|| list.get(&domain?)).cloned())
    }

    async fn add(
        &self,
        _tenant: &TenantId,
        email: &str,
        reason: &str,
        now: Moment,
    ) -> Result<(), Fault> {
        let suppression = Suppression { reason: reason.to_owned(), since: now };
        lock(&self.0).entry(email.to_lowercase()).or_insert(suppression);
        Ok(())
    }
}

/// The last checkpoint of each job, in memory.
#[derive(Default)]
pub struct FakeProgress(Mutex<BTreeMap<JobId, Cursor>>);

impl FakeProgress {
    /// The last checkpoint of a job.
    pub fn cursor(&self, job: JobId) -> Option<Cursor> {
        lock(&self.0).get(&job).cloned()
    }
}

#[async_trait]
impl Progress for FakeProgress {
    async fn checkpoint(&self, run: &RunInfo, cursor: &Cursor) -> Result<(), Fault> {
        lock(&self.0).insert(run.job, cursor.clone());
        Ok(())
    }
}
