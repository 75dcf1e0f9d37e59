//! A host whose clocks a test steps.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jobs::contract::{Moment, ports::Clock};
use postrider::queue::sqlite::{HostClock, Uptime};

/// When every test begins.
pub(crate) const START: Moment = Moment::from_millis(1_800_000_000_000);

/// The clocks of a host; clones are the same host.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    boot: u32,
    up: i64,
    wall: i64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Hands { boot: 1, up: 5_000, wall: START.millis() })))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        let mut hands = self.0.lock().unwrap();
        hands.up += by;
        hands.wall += by;
    }

    /// Sets the wall clock forward or back, without time passing.
    pub(crate) fn step_wall(&self, by_ms: i64) {
        self.0.lock().unwrap().wall += by_ms;
    }

    /// Boots the host anew; it is up for a second when it is back, and off for so long before.
    pub(crate) fn reboot(&self, off: Duration) {
        let mut hands = self.0.lock().unwrap();
        hands.boot += 1;
        hands.up = 1_000;
        hands.wall += 1_000 + i64::try_from(off.as_millis()).unwrap();
    }
}

impl HostClock for TestClock {
    fn uptime(&self) -> Uptime {
        let hands = self.0.lock().unwrap();
        Uptime { boot: format!("boot-{}", hands.boot).into(), millis: hands.up }
    }

    fn wall(&self) -> Moment {
        Moment::from_millis(self.0.lock().unwrap().wall)
    }
}

/// The clock of a server that always tells the time.
impl Clock for TestClock {
    fn now(&self) -> Moment {
        self.wall()
    }
}
