//! The walk over the records, chunk by chunk.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{BoxFuture, Shared, ready},
};
use serde_json::json;

use super::{BulkUpdate, Item, Selection, check, events};
use crate::contract::{
    Cause, Context, Cursor, Done, Fault, Outcome, Problem, Stop,
    ports::{Account, Advance, Change, Chunk, ItemError, Records, Search},
    resource::{Action, Fields, Filter, Resource},
};

/// Records changed in one transaction.
const CHUNK: u32 = 500;
/// Chunks that are begun at once: one is written down, one is changed, and one is made ready.
const AHEAD: usize = 3;

/// Progress is told no more often: nobody sees more, and each time costs the queue as much as a few
/// records cost their database.
const NEWS_EVERY: Duration = Duration::from_millis(20);

/// A chunk that is begun.
struct Begun {
    done: Shared<BoxFuture<'static, Result<Advance, Fault>>>,
    /// Is told once what was done is written down.
    keeping: oneshot::Sender<()>,
    kept: Shared<oneshot::Receiver<()>>,
}

/// Walks over all records that the job is about.
pub(super) async fn walk(job: &BulkUpdate, ctx: &Context) -> Outcome {
    let walk = Walk::new(job, ctx)?;
    let mut account = walk.open().await?;
    // What the last chunk of an earlier run changed may not have been told yet.
    walk.tell(&account).await?;
    walk.report(&account).await?;
    if let Err(fault) = walk.all(&mut account).await {
        // Whoever looks at a job that ends here sees how far it got. That it ends is said by the fault.
        let _ = walk.report(&account).await;
        return Err(fault.into());
    }
    if walk.filter.is_some() {
        // Records may have come or gone since they were counted.
        account.total = Some(account.processed);
        walk.report(&account).await?;
    }
    Ok(Done::Finished(json!({
        "resource": job.resource,
        "action": job.action,
        "changed_items": account.processed - account.failed,
    })))
}

/// What a walk goes by.
pub(super) struct Walk<'a> {
    pub(super) ctx: &'a Context,
    pub(super) job: &'a BulkUpdate,
    pub(super) resource: Arc<Resource>,
    pub(super) action: Arc<Action>,
    filter: Option<Filter>,
    /// What goes for all records.
    pub(super) shared: Arc<Fields>,
    /// Items whose record an earlier item named already.
    twins: HashSet<u64>,
}

fn cancel(problem: &Problem) -> Stop {
    let cause = Cause::new(problem.code, format!("{}: {}", problem.pointer, problem.message));
    Stop::Cancel { cause }
}

impl<'a> Walk<'a> {
    /// Checks again what was checked when the job was submitted: a declaration may have changed.
    fn new(job: &'a BulkUpdate, ctx: &'a Context) -> Result<Self, Stop> {
        let Some(resource) = ctx.ports().records.resource(&job.resource) else {
            let words = format!("there is no resource {:?} any more", job.resource);
            return Err(cancel(&Problem::new("/resource", "unknown_resource", words)));
        };
        let action = check::action(job, &resource).map_err(|problem| cancel(&problem))?;
        let action = Arc::new(action.clone());
        if let Some(problem) = check::shared(job, &resource, &action).first() {
            return Err(cancel(problem));
        }
        let filter = match &job.selection {
            Selection::Filter { filter } => Filter::read(filter, "").ok(),
            _ => None,
        };
        let shared = Arc::new(action.fields(&[&job.update]));
        let twins = twins(job, &resource);
        Ok(Self { ctx, job, resource, action, filter, shared, twins })
    }

    fn records(&self) -> &dyn Records {
        &*self.ctx.ports().records
    }

    async fn open(&self) -> Result<Account, Fault> {
        let (info, records) = (self.ctx.info(), self.records());
        let Some(filter) = &self.filter else {
            let total = crate::contract::Job::items(self.job);
            return records.open(info, &self.resource, Some(total)).await;
        };
        let account = records.open(info, &self.resource, None).await?;
        if account.total.is_some() {
            return Ok(account);
        }
        let total = records.count(self.ctx.tenant(), &self.search(filter)).await?;
        records.open(info, &self.resource, Some(total)).await
    }

    /// Says how far the job has got; fails when it is not this run's any more, which ends the run.
    async fn report(&self, account: &Account) -> Result<(), Fault> {
        let cursor = Cursor {
            processed: account.processed,
            failed: account.failed,
            total: account.total.unwrap_or_default().max(account.processed),
            position: account.position.clone(),
        };
        self.ctx.checkpoint(&cursor).await
    }

    async fn tell(&self, account: &Account) -> Result<(), Fault> {
        events::tell(self, account).await
    }

    /// Changes one chunk after the other. While the database is at work on one, what was done to the one
    /// before is written down and reported, and the next one is made ready; no more than that one is
    /// changed before it is written down.
    async fn all(&self, account: &mut Account) -> Result<(), Fault> {
        // What is not told yet may be written over with the next account.
        let most = if self.resource.event.is_some() { 1 } else { AHEAD };
        let mut at = account.clone();
        let mut begun: VecDeque<Begun> = VecDeque::with_capacity(most);
        let mut reported = Instant::now();
        let mut next = self.next(&at).await;
        while let Ok(Some(chunk)) = next {
            at = at.reaching(&chunk);
            let mut is_news = false;
            if begun.len() == most
                && let Some(oldest) = begun.pop_front()
            {
                self.keep(oldest, account).await?;
                is_news = true;
            }
            let (run, resource) = (self.ctx.info(), &self.resource);
            let done = self.records().change(run, resource, before(&begun, account), chunk);
            let (keeping, kept) = oneshot::channel();
            begun.push_back(Begun { done: done.shared(), keeping, kept: kept.shared() });
            if is_news && reported.elapsed() >= NEWS_EVERY {
                reported = Instant::now();
                self.report(account).await?;
            }
            next = self.next(&at).await;
        }
        // What is begun is written down, even if what comes after it cannot be found.
        while let Some(oldest) = begun.pop_front() {
            self.keep(oldest, account).await?;
            self.report(account).await?;
        }
        next.map(|_| ())
    }

    /// Waits for a chunk, and writes down and tells what was done to it: after the effect. The account is
    /// the one after it as soon as that is written down.
    async fn keep(&self, chunk: Begun, account: &mut Account) -> Result<(), Fault> {
        let done = chunk.done.await?;
        self.records().keep(self.ctx.info(), &done).await?;
        // Who waits for it may be gone.
        let _ = chunk.keeping.send(());
        account.clone_from(&done.account);
        self.tell(account).await
    }

    /// The chunk after those of an account; none when it was the last.
    async fn next(&self, account: &Account) -> Result<Option<Chunk>, Fault> {
        let from = account.processed;
        let (changes, refused, position) = match &self.job.selection {
            Selection::Ids { ids } => {
                let given = some(ids, from).iter().map(|id| (id.0.as_str(), Ok(self.shared())));
                let (changes, refused) = self.sort(from, given);
                (changes, refused, None)
            }
            Selection::Items { items } => {
                let given = some(items, from);
                let given = given.iter().map(|item| (item.id.0.as_str(), self.fields_of(item)));
                let (changes, refused) = self.sort(from, given);
                (changes, refused, None)
            }
            Selection::Filter { .. } => {
                let ids = self.page(account).await?;
                let position = ids.last().cloned();
                let given = ids.iter().map(|id| (id.as_str(), Ok(self.shared())));
                let (changes, refused) = self.sort(from, given);
                (changes, refused, position)
            }
        };
        let action = Arc::clone(&self.action);
        let chunk = Chunk { action, changes, refused, position, at: self.ctx.now() };
        Ok((chunk.items() > 0).then_some(chunk))
    }

    /// The next records that the filter holds for: those that an earlier run had begun to change, since
    /// it may hold for some of them no longer.
    async fn page(&self, account: &Account) -> Result<Vec<String>, Fault> {
        if let Some(planned) = &account.planned {
            return Ok(planned.ids.clone());
        }
        let Some(filter) = &self.filter else { return Ok(Vec::new()) };
        let (tenant, after) = (self.ctx.tenant(), account.position.as_deref());
        self.records().page(tenant, &self.search(filter), after, CHUNK).await
    }

    fn search<'s>(&'s self, filter: &'s Filter) -> Search<'s> {
        let (resource, action, fields) = (&*self.resource, &*self.action, &*self.shared);
        Search { resource, filter, action, fields }
    }

    fn shared(&self) -> Arc<Fields> {
        Arc::clone(&self.shared)
    }

    /// An item's fields: its own over those for all. What was stored was checked when it was submitted;
    /// what cannot be read all the same is that item's error.
    fn fields_of(&self, item: &Item) -> Result<Arc<Fields>, String> {
        if item.update.is_empty() {
            return Ok(self.shared());
        }
        let own = item.update.read().map_err(|error| {
            Problem::undecodable(String::new(), "invalid_payload", &error).message
        })?;
        if self.shared.is_empty() {
            return Ok(Arc::new(own));
        }
        let mut fields = (*self.shared).clone();
        fields.extend(own);
        Ok(Arc::new(fields))
    }

    /// The fields of the item of this number.
    pub(super) fn fields_at(&self, ordinal: u64) -> Arc<Fields> {
        match &self.job.selection {
            Selection::Items { items } => {
                let item = usize::try_from(ordinal).ok().and_then(|at| items.get(at));
                let fields = item.and_then(|item| self.fields_of(item).ok());
                fields.unwrap_or_else(|| self.shared())
            }
            _ => self.shared(),
        }
    }

    /// Items that are to be changed, and those that are refused without asking.
    fn sort<'i>(
        &self,
        from: u64,
        items: impl Iterator<Item = (&'i str, Result<Arc<Fields>, String>)>,
    ) -> (Vec<Change>, Vec<ItemError>) {
        let (mut changes, mut refused) = (Vec::new(), Vec::new());
        for (ordinal, (given, fields)) in (from..).zip(items) {
            let read = fields.map_err(|words| ("invalid_payload", words));
            match read.and_then(|fields| Ok((self.read(ordinal, given, &fields)?, fields))) {
                Ok((id, fields)) => {
                    changes.push(Change { ordinal, id, given: given.to_owned(), fields });
                }
                Err((code, message)) => {
                    let (item_id, code) = (given.to_owned(), code.to_owned());
                    refused.push(ItemError { ordinal, item_id, code, message });
                }
            }
        }
        (changes, refused)
    }

    fn read(
        &self,
        ordinal: u64,
        given: &str,
        fields: &Fields,
    ) -> Result<String, (&'static str, String)> {
        if self.twins.contains(&ordinal) {
            let words = "the selection has this id before; the record is changed once";
            return Err(("duplicate", words.to_owned()));
        }
        let id = self.resource.id.read(given).map_err(|words| ("invalid_id", words))?;
        if let Selection::Items { .. } = self.job.selection {
            let problems = if self.action.set.is_empty() {
                self.resource.check_fields(&self.action, fields, "")
            } else {
                let given = fields.iter().filter(|(name, _)| !self.action.set.contains_key(*name));
                let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.resource.check_fields(&self.action, &given, "")
            };
            if let Some(Problem { pointer, code, message }) = problems.into_iter().next() {
                return Err((code, format!("{}: {message}", pointer.trim_start_matches('/'))));
            }
        }
        Ok(id)
    }
}

/// The account before the next chunk, as soon as it may be changed: once the last one is changed, and the
/// one before that is written down.
fn before(
    begun: &VecDeque<Begun>,
    account: &Account,
) -> BoxFuture<'static, Result<Account, Fault>> {
    let Some(last) = begun.back() else { return ready(Ok(account.clone())).boxed() };
    let done = last.done.clone();
    let kept = begun.iter().rev().nth(1).map(|chunk| chunk.kept.clone());
    async move {
        let done = done.await?;
        if let Some(kept) = kept {
            kept.await.map_err(|_| Fault::transient("stopped", "the run has ended"))?;
        }
        Ok(done.account)
    }
    .boxed()
}

/// The items of the chunk that begins with number `from`.
fn some<T>(items: &[T], from: u64) -> &[T] {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(items.len());
    let to = items.len().min(from + CHUNK as usize);
    &items[from..to]
}

/// Ids that a list has twice, by the numbers of the later ones. Items with changes of their own are
/// all carried out, in their order.
fn twins(job: &BulkUpdate, resource: &Resource) -> HashSet<u64> {
    let Selection::Ids { ids } = &job.selection else { return HashSet::new() };
    let mut seen = HashSet::with_capacity(ids.len());
    let mut twins = HashSet::new();
    for (ordinal, id) in (0_u64..).zip(ids) {
        let id = resource.id.read(&id.0).unwrap_or_else(|_| id.0.clone());
        if !seen.insert(id) {
            twins.insert(ordinal);
        }
    }
    twins
}
