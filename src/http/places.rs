//! Places for connections.
//!
//! A caller that opens connections and says nothing on them costs little and must not keep others out:
//! where all places are taken, the connection that has been without a request for longest makes room.
//! A request that is being answered is never cut off for that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// So many places, and who sits there without a request.
pub(super) struct Places {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Somebody has become idle.
    yawn: Notify,
}

#[derive(Default)]
struct Idle {
    /// How often somebody has become idle so far.
    count: u64,
    /// Who is, the longest first; each leaves when its token is cancelled.
    since: BTreeMap<u64, CancellationToken>,
}

impl Places {
    /// So many places, all of them free.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count));
        Arc::new(Self { free, idle: Mutex::default(), yawn: Notify::new() })
    }

    /// A place, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        let place = Arc::clone(&self.free).acquire_owned();
        tokio::pin!(place);
        let mut there_will_be_room = self.free.available_permits() > 0;
        loop {
            let yawn = self.yawn.notified();
            there_will_be_room = there_will_be_room || self.turn_out();
            tokio::select! {
                biased;
                place = &mut place => {
                    let permit = place.expect("the semaphore is never closed");
                    let leave = CancellationToken::new();
                    let at = Mutex::new(Some(self.lock().add(&leave)));
                    return Place { of: Arc::clone(self), at, leave, _permit: permit };
                }
                () = yawn => {}
            }
        }
    }

    /// Has the one that has been idle for longest leave; `false` when nobody is idle.
    fn turn_out(&self) -> bool {
        let longest = self.lock().since.pop_first();
        longest.inspect(|(_, leave)| leave.cancel()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing panics while it is held; if it did, the list would still be a list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn add(&mut self, leave: &CancellationToken) -> u64 {
        self.count += 1;
        self.since.insert(self.count, leave.clone());
        self.count
    }
}

/// The place of one connection, which is idle to begin with.
pub(super) struct Place {
    of: Arc<Places>,
    /// Under which number it is idle; none while it is not.
    at: Mutex<Option<u64>>,
    leave: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Waits until this connection has to make room.
    pub(super) async fn has_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Keeps the place until a request is answered; nothing when it is lost already.
    pub(super) fn keep(self: &Arc<Self>) -> Option<Kept> {
        let at = self.number().take()?;
        self.of.lock().since.remove(&at)?;
        Some(Kept(Arc::clone(self)))
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(at) = self.number().take() {
            self.of.lock().since.remove(&at);
        }
    }
}

/// A request that is being answered; once this is dropped, its connection is idle again.
pub(super) struct Kept(Arc<Place>);

impl Drop for Kept {
    fn drop(&mut self) {
        let at = self.0.of.lock().add(&self.0.leave);
        *self.0.number() = Some(at);
        self.0.of.yawn.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn taken(places: &Arc<Places>) -> Option<Arc<Place>> {
        places.take().now_or_never().map(Arc::new)
    }

    fn has_to_leave(place: &Place) -> bool {
        place.has_to_leave().now_or_never().is_some()
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let places = Places::new(2);
        let (first, second) = (taken(&places).unwrap(), taken(&places).unwrap());
        // The first was idle for longer, and is so for a shorter time since it was asked something.
        drop(first.keep().unwrap());
        assert!(taken(&places).is_none(), "the place is not free before its owner has left");
        assert!(has_to_leave(&second) && !has_to_leave(&first));
        assert!(second.keep().is_none(), "who has to leave begins nothing");
        drop(second);
        assert!(taken(&places).is_some());
    }

    #[test]
    fn nobody_leaves_while_there_is_room_or_in_the_middle_of_an_answer() {
        let places = Places::new(2);
        let first = taken(&places).unwrap();
        let second = taken(&places).unwrap();
        assert!(!has_to_leave(&first) && !has_to_leave(&second));
        let (one, two) = (first.keep().unwrap(), second.keep().unwrap());
        let mut third = Box::pin(places.take());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(!has_to_leave(&first) && !has_to_leave(&second));
        // The first that is done makes room for who waits.
        drop(two);
        assert!(third.as_mut().now_or_never().is_none());
        assert!(has_to_leave(&second) && !has_to_leave(&first));
        drop((second, one));
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let places = Places::new(1);
        for _ in 0..3 {
            let place = taken(&places).unwrap();
            drop(place.keep());
        }
        assert!(places.lock().since.is_empty());
    }
}
