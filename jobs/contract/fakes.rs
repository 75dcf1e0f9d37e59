//! Ports that live in memory, for tests of jobs and of the engine.
//!
//! [`Fakes`] holds one of each and hands out contexts. They keep to the words of the ports; what
//! they are told to do badly, they do once and in order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;

use super::{
    Context, Cursor, Fault, JobId, Moment, Ports, RunInfo, TenantId,
    ports::{
        Clock, Composed, Effect, EffectState, Ledger, Letter, Mail, Mailbox, MailboxStatus,
        Mailboxes, NotSent, Opened, Pauses, PointOfNoReturn, Progress, Receipt, Suppression,
        Suppressions,
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
    /// The ledger.
    pub ledger: Arc<FakeLedger>,
    /// Mail.
    pub mail: Arc<FakeMail>,
    /// Mailboxes.
    pub mailboxes: Arc<FakeMailboxes>,
    /// Suppressions.
    pub suppressions: Arc<FakeSuppressions>,
    /// Progress.
    pub progress: Arc<FakeProgress>,
}

impl Fakes {
    /// The ports, as an engine is given them.
    pub fn ports(&self) -> Arc<Ports> {
        Arc::new(Ports {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ledger: Arc::clone(&self.ledger) as Arc<dyn Ledger>,
            mail: Arc::clone(&self.mail) as Arc<dyn Mail>,
            mailboxes: Arc::clone(&self.mailboxes) as Arc<dyn Mailboxes>,
            suppressions: Arc::clone(&self.suppressions) as Arc<dyn Suppressions>,
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

/// A ledger in memory.
#[derive(Default)]
pub struct FakeLedger {
    effects: Mutex<BTreeMap<(TenantId, String), Effect>>,
    closing_fails: Mutex<u32>,
    dispatching_fails: Mutex<u32>,
}

impl FakeLedger {
    /// The entry of a key of the tenant `dev`.
    pub fn effect(&self, key: &str) -> Option<Effect> {
        let tenant = "dev".parse().expect("dev is a tenant name");
        lock(&self.effects).get(&(tenant, key.to_owned())).cloned()
    }

    /// Lets the next `count` closings fail as if the store were away.
    pub fn fail_closing(&self, count: u32) {
        *lock(&self.closing_fails) = count;
    }

    /// Lets the next `count` dispatches fail as if the store were away.
    pub fn fail_dispatching(&self, count: u32) {
        *lock(&self.dispatching_fails) = count;
    }
}

fn away(left: &Mutex<u32>) -> Result<(), Fault> {
    let mut left = lock(left);
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    Err(Fault::transient("store_away", "the store is away"))
}

fn job_of(run: &str) -> &str {
    run.split_once('/').map_or(run, |(job, _)| job)
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn open(
        &self,
        run: &RunInfo,
        key: &str,
        now: Moment,
        stale_after: Duration,
    ) -> Result<Opened, Fault> {
        let mut effects = lock(&self.effects);
        let mine = Effect {
            state: EffectState::Intent,
            run: run.run_id(),
            receipt: None,
            updated_at: now,
        };
        let Some(effect) = effects.get_mut(&(run.tenant.clone(), key.to_owned())) else {
            effects.insert((run.tenant.clone(), key.to_owned()), mine);
            return Ok(Opened::Mine);
        };
        let free = job_of(&effect.run) == run.job.to_string()
            || now.since(effect.updated_at) >= stale_after;
        Ok(match effect.state {
            EffectState::Accepted => Opened::AlreadyAccepted(effect.receipt.clone()),
            EffectState::Unknown => Opened::Unknown,
            _ if !free => Opened::Busy,
            EffectState::Intent | EffectState::Refused => {
                *effect = mine;
                Opened::Mine
            }
            EffectState::Dispatching => {
                effect.state = EffectState::Unknown;
                effect.updated_at = now;
                Opened::Unknown
            }
        })
    }

    async fn dispatch(&self, run: &RunInfo, key: &str, now: Moment) -> Result<bool, Fault> {
        away(&self.dispatching_fails)?;
        let mut effects = lock(&self.effects);
        let effect = effects.get_mut(&(run.tenant.clone(), key.to_owned()));
        let ours = |e: &&mut Effect| e.run == run.run_id() && e.state == EffectState::Intent;
        Ok(effect.filter(ours).is_some_and(|effect| {
            effect.state = EffectState::Dispatching;
            effect.updated_at = now;
            true
        }))
    }

    async fn close(
        &self,
        run: &RunInfo,
        key: &str,
        state: EffectState,
        receipt: Option<Value>,
        now: Moment,
    ) -> Result<(), Fault> {
        away(&self.closing_fails)?;
        let mut effects = lock(&self.effects);
        let effect = effects.get_mut(&(run.tenant.clone(), key.to_owned()));
        if let Some(effect) = effect.filter(|e| e.run == run.run_id()) {
            *effect = Effect { state, run: run.run_id(), receipt, updated_at: now };
        }
        Ok(())
    }
}

/// A mail system in memory: it answers as it is told, and accepts when it is told nothing.
#[derive(Default)]
pub struct FakeMail {
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<Composed>>,
    letters: Mutex<Vec<Letter>>,
    pauses: Pauses,
}

type Hook = Box<dyn FnOnce() + Send>;

enum Answer {
    Before(NotSent),
    After(NotSent),
    Meanwhile(Hook),
}

impl FakeMail {
    /// The next mail ends so, before it reaches the point of no return.
    pub fn fail_before_gate(&self, how: NotSent) {
        lock(&self.answers).push_back(Answer::Before(how));
    }

    /// The next mail ends so, after it has passed the point of no return.
    pub fn fail_after_gate(&self, how: NotSent) {
        lock(&self.answers).push_back(Answer::After(how));
    }

    /// During the next mail, right before the point of no return, this happens.
    pub fn meanwhile(&self, happens: impl FnOnce() + Send + 'static) {
        lock(&self.answers).push_back(Answer::Meanwhile(Box::new(happens)));
    }

    /// The mails that were accepted.
    pub fn sent(&self) -> Vec<Composed> {
        lock(&self.sent).clone()
    }

    /// The letters that were composed.
    pub fn letters(&self) -> Vec<Letter> {
        lock(&self.letters).clone()
    }
}

#[async_trait]
impl Mail for FakeMail {
    fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    fn compose(&self, letter: &Letter) -> Result<Composed, Fault> {
        lock(&self.letters).push(letter.clone());
        Ok(Composed {
            from: letter.from.email.clone(),
            to: letter.to.email.clone(),
            message_id: letter.message_id.clone(),
            bytes: format!("Subject: {}\r\n\r\n{:?}", letter.subject, letter.text).into_bytes(),
        })
    }

    async fn send(
        &self,
        _tenant: &TenantId,
        _account: &str,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent> {
        let answer = lock(&self.answers).pop_front();
        let after = match answer {
            Some(Answer::Before(how)) => return Err(how),
            Some(Answer::Meanwhile(happens)) => {
                happens();
                None
            }
            Some(Answer::After(how)) => Some(how),
            None => None,
        };
        match gate.pass().await {
            Ok(true) => {}
            Ok(false) => return Err(NotSent::Stopped(None)),
            Err(fault) => return Err(NotSent::Stopped(Some(fault))),
        }
        if let Some(how) = after {
            return Err(how);
        }
        lock(&self.sent).push(mail.clone());
        Ok(Receipt { reply: None, provider_id: None, logged_in: true })
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
