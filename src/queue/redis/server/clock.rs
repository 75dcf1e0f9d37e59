//! The server's clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use jobs::contract::{Moment, ports::Clock};

/// The server's clock, guessed from what it last said; or one that a test steps, which scripts are
/// told.
pub(super) struct ServerClock {
    told: Option<Arc<dyn Clock>>,
    since: Instant,
    offset: AtomicI64,
}

impl ServerClock {
    pub(super) fn new(told: Option<Arc<dyn Clock>>) -> Self {
        Self { told, since: Instant::now(), offset: AtomicI64::new(0) }
    }

    pub(super) fn now(&self) -> Moment {
        match &self.told {
            Some(clock) => clock.now(),
            None => {
                Moment::from_millis(self.offset.load(Ordering::Acquire)).plus(self.since.elapsed())
            }
        }
    }

    /// Takes note of what time the server said it was.
    pub(super) fn observe(&self, now: Moment) {
        let here = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.offset.store(now.millis().saturating_sub(here), Ordering::Release);
    }

    /// What scripts are told: nothing, when the server's own clock counts.
    pub(super) fn argument(&self) -> String {
        self.told.as_ref().map_or_else(String::new, |clock| clock.now().millis().to_string())
    }
}
