//! The lease keeper: renews what this process holds, and calls runs off that it holds no longer.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::run::Interrupt;
use crate::queue::{Hold, LeaseRef, Queue};

/// Leases renewed in one call.
const BATCH: usize = 500;

/// Keeps the leases of one process.
#[derive(Clone)]
pub(super) struct Leases {
    queue: Arc<dyn Queue>,
    lease: Duration,
    book: Arc<Book>,
}

/// The claims whose leases are kept, by their numbers. An entry for each job would cost more than all else
/// that is done for its lease.
#[derive(Default)]
struct Book(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    last: u64,
    claims: BTreeMap<u64, Weak<Claim>>,
}

/// What was claimed together.
struct Claim {
    number: u64,
    book: Arc<Book>,
    lines: Vec<Line>,
}

/// A lease, and the line by which its run is called off.
struct Line {
    lease: LeaseRef,
    /// The first word that was said, as a number; [`SILENT`] until then.
    said: AtomicU8,
    listener: AtomicWaker,
    /// Nobody needs the lease any more.
    over: AtomicBool,
}

/// Nothing was said.
const SILENT: u8 = 0;

/// A lease that is renewed until this is dropped: when its verdict is stored, or it is lost.
pub(super) struct Kept {
    claim: Arc<Claim>,
    index: usize,
}

impl Leases {
    pub(super) fn new(queue: Arc<dyn Queue>, lease: Duration) -> Self {
        Self { queue, lease, book: Arc::default() }
    }

    /// How long a lease is.
    pub(super) fn length(&self) -> Duration {
        self.lease
    }

    /// Begins to renew leases that were claimed together.
    pub(super) fn watch(&self, leases: impl IntoIterator<Item = LeaseRef>) -> Vec<Kept> {
        let lines: Vec<Line> = leases.into_iter().map(Line::new).collect();
        let mut entries = self.book.lock();
        entries.last += 1;
        let number = entries.last;
        let count = lines.len();
        let claim = Arc::new(Claim { number, book: Arc::clone(&self.book), lines });
        entries.claims.insert(number, Arc::downgrade(&claim));
        drop(entries);
        (0..count).map(|index| Kept { claim: Arc::clone(&claim), index }).collect()
    }

    /// Calls every run off because the process stops.
    pub(super) fn stop_all(&self) {
        for claim in self.book.claims() {
            claim.lines.iter().for_each(|line| line.say(Interrupt::Stop));
        }
    }

    /// Renews all leases at a third of their length, also while the process drains.
    pub(super) async fn keep(self, drained: CancellationToken) {
        let mut beat = tokio::time::interval(self.lease / 3);
        // After a stall (SIGSTOP, a suspended host) one renewal is due, not all that were missed.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = drained.cancelled() => return,
            }
            // A queue that does not answer must not hold up the end of the drain.
            if drained.run_until_cancelled(self.renew()).await.is_none() {
                return;
            }
        }
    }

    async fn renew(&self) {
        let claims = self.book.claims();
        let lines = claims.iter().flat_map(|claim| &claim.lines);
        let mut lines: Vec<&Line> = lines.filter(|line| !line.over.load(SeqCst)).collect();
        // What was submitted together is renewed together.
        lines.sort_unstable_by_key(|line| line.lease.id);
        for batch in lines.chunks(BATCH) {
            let leases: Vec<LeaseRef> = batch.iter().map(|line| line.lease).collect();
            match self.queue.extend(&leases, self.lease).await {
                Ok(holds) => batch.iter().zip(holds).for_each(|(line, hold)| line.told(hold)),
                // The next beat tries again; until then nobody else can have claimed the jobs,
                // unless the leases run out, and then the queue will say so.
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    }
}

impl Book {
    /// The claims of which something is left.
    fn claims(&self) -> Vec<Arc<Claim>> {
        self.lock().claims.values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.book.lock().claims.remove(&self.number);
    }
}

impl Line {
    fn new(lease: LeaseRef) -> Self {
        Self {
            lease,
            said: AtomicU8::new(SILENT),
            listener: AtomicWaker::new(),
            over: AtomicBool::new(false),
        }
    }

    fn told(&self, hold: Hold) {
        match hold {
            // Until the next beat nobody else can have claimed a job that was not renewed, either.
            Hold::Held | Hold::Unknown => {}
            Hold::CancelRequested => self.say(Interrupt::Cancel),
            Hold::Lost => self.say(Interrupt::Lost),
        }
    }

    /// Only the first word counts; a verdict that is being stored meanwhile has its own fence.
    fn say(&self, why: Interrupt) {
        if self.said.compare_exchange(SILENT, why.number(), SeqCst, SeqCst).is_ok() {
            self.listener.wake();
        }
    }
}

impl Kept {
    fn line(&self) -> &Line {
        &self.claim.lines[self.index]
    }

    /// Why the run must end early, if that was said.
    pub(super) fn called_off(&self) -> Option<Interrupt> {
        Interrupt::of_number(self.line().said.load(SeqCst))
    }

    /// Waits until the run must end early. One may wait.
    pub(super) async fn until_called_off(&self) -> Interrupt {
        poll_fn(|cx| {
            if let Some(why) = self.called_off() {
                return Poll::Ready(why);
            }
            self.line().listener.register(cx.waker());
            // What was said before the line was open is heard all the same.
            self.called_off().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.line().over.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use jobs::contract::JobId;

    use super::*;

    fn claim(book: &Arc<Book>, count: u128) -> Vec<Kept> {
        let lease = |number| LeaseRef { id: JobId::from_u128(number), fence: 1 };
        let lines = (0..count).map(|number| Line::new(lease(number))).collect();
        let claim = Arc::new(Claim { number: 1, book: Arc::clone(book), lines });
        book.lock().claims.insert(1, Arc::downgrade(&claim));
        (0..claim.lines.len()).map(|index| Kept { claim: Arc::clone(&claim), index }).collect()
    }

    fn open(book: &Book) -> usize {
        let claims = book.claims();
        claims.iter().flat_map(|claim| &claim.lines).filter(|line| !line.over.load(SeqCst)).count()
    }

    #[test]
    fn a_lease_is_kept_until_nobody_needs_it_and_a_claim_for_as_long_as_one_of_its_leases() {
        let book = Arc::default();
        let mut kept = claim(&book, 2);
        assert_eq!(open(&book), 2);
        kept.pop();
        assert_eq!((open(&book), book.lock().claims.len()), (1, 1));
        kept.pop();
        assert_eq!((open(&book), book.lock().claims.len()), (0, 0));
    }

    #[tokio::test]
    async fn only_the_first_word_counts_and_only_for_its_run() {
        let kept = claim(&Arc::default(), 2);
        let waiting = tokio::join!(kept[0].until_called_off(), async {
            tokio::task::yield_now().await;
            kept[0].line().told(Hold::Held);
            kept[0].line().told(Hold::CancelRequested);
            kept[0].line().told(Hold::Lost);
        });
        assert_eq!(waiting.0, Interrupt::Cancel);
        assert_eq!(kept[0].called_off(), Some(Interrupt::Cancel));
        assert_eq!(kept[1].called_off(), None);
        // Whoever begins to listen later hears it, too.
        assert_eq!(kept[0].until_called_off().await, Interrupt::Cancel);
    }
}
