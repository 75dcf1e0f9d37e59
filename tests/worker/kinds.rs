//! Kinds of jobs that do what a test wants to see.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jobs::contract::{Cause, Context, Cursor, Done, Job, LaneName, Outcome, Retry, Scope, Stop};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

const QUICK: Retry = Retry { max_attempts: 3, waits: &[Duration::from_millis(1)], jitter: 0.0 };
const LONG: Duration = Duration::from_secs(600);

/// What a test and its jobs share, by the name that the payload carries.
#[derive(Default)]
pub struct Stage {
    /// Runs begun.
    pub begun: AtomicUsize,
    /// Runs that came to their own end.
    pub ended: AtomicUsize,
    /// Runs that were dropped before their end.
    pub dropped: AtomicUsize,
    /// Runs at work now, and the most there ever were.
    pub now: AtomicUsize,
    pub most: AtomicUsize,
    /// Tokio tasks that runs ran in.
    pub tasks: Mutex<Vec<tokio::task::Id>>,
    /// Held runs wait for a permit here.
    pub gate: Gate,
}

pub struct Gate(pub Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

/// The stage of this name; each test has one of its own.
pub fn stage(name: &str) -> Arc<Stage> {
    static STAGES: OnceLock<Mutex<HashMap<String, Arc<Stage>>>> = OnceLock::new();
    let mut stages = STAGES.get_or_init(Mutex::default).lock().unwrap();
    Arc::clone(stages.entry(name.to_owned()).or_default())
}

/// Counts a run in, and out again however it ends.
struct Presence {
    stage: Arc<Stage>,
    ended: bool,
}

impl Presence {
    fn begin(name: &str) -> Self {
        let stage = stage(name);
        stage.begun.fetch_add(1, Ordering::SeqCst);
        let now = stage.now.fetch_add(1, Ordering::SeqCst) + 1;
        stage.most.fetch_max(now, Ordering::SeqCst);
        stage.tasks.lock().unwrap().extend(tokio::task::try_id());
        Self { stage, ended: false }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stage.now.fetch_sub(1, Ordering::SeqCst);
        let count = if self.ended { &self.stage.ended } else { &self.stage.dropped };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $kind:tt, |$self:ident, $ctx:ident| $body:expr $(, $item:item)*) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            pub stage: String,
        }

        impl Job for $name {
            const KIND: &'static str = $kind;
            const RETRY: Retry = QUICK;
            const PATIENCE: Duration = LONG;
            kind!(@timeout $kind);
            kind!(@waits $kind);

            fn lane(&self) -> LaneName {
                LaneName::tenant()
            }

            async fn perform($self, $ctx: &Context) -> Outcome {
                $body
            }
        }
    };
    (@timeout "slow") => { const TIMEOUT: Duration = Duration::from_millis(30); };
    (@timeout $other:tt) => { const TIMEOUT: Duration = LONG; };
    (@waits "inline") => { const WAITS: bool = false; };
    (@waits "counted") => { const WAITS: bool = false; };
    (@waits $other:tt) => {};
}

kind!(
    /// Waits at the gate of its stage.
    Held, "held", |self, _ctx| {
        let presence = Presence::begin(&self.stage);
        let stage = Arc::clone(&presence.stage);
        stage.gate.0.acquire().await.expect("the gate is never closed").forget();
        presence.end();
        Ok(Done::Finished(json!({"held": true})))
    }
);

kind!(
    /// Computes for a moment and does not wait.
    Inline, "inline", |self, _ctx| {
        Presence::begin(&self.stage).end();
        Ok(Done::Finished(json!({})))
    }
);

kind!(
    /// Computes for a moment, and is to run again after its first attempt.
    Counted, "counted", |self, ctx| {
        Presence::begin(&self.stage).end();
        match ctx.info().attempt {
            1 => Err(Stop::Retry { cause: Cause::new("once_more", "once more"), after: None }),
            _ => Ok(Done::Finished(json!({}))),
        }
    }
);

kind!(
    /// Ends at once, in a task of its own.
    Spawned, "spawned", |self, _ctx| {
        Presence::begin(&self.stage).end();
        Ok(Done::Finished(json!({})))
    }
);

kind!(
    /// Panics at every attempt.
    Panics, "panics", |self, _ctx| {
        let _presence = Presence::begin(&self.stage);
        panic!("a bug in {}", self.stage)
    }
);

kind!(
    /// Takes longer than it may.
    Slow, "slow", |self, _ctx| {
        let _presence = Presence::begin(&self.stage);
        std::future::pending::<()>().await;
        Ok(Done::Skipped("never".into()))
    }
);

kind!(
    /// Snoozes its lane for five minutes.
    Snoozes, "snoozes", |self, ctx| {
        Presence::begin(&self.stage).end();
        let until = ctx.now().plus(Duration::from_secs(300));
        Err(Stop::Snooze { until, why: "the window is closed".into(), scope: Scope::Lane })
    }
);

kind!(
    /// Does two items and fails on its first attempt, then goes on from its cursor.
    Steps, "steps", |self, ctx| {
        let presence = Presence::begin(&self.stage);
        let from = ctx.info().cursor.clone().unwrap_or_default();
        let done = Cursor { processed: from.processed + 2, failed: 0, total: 4, position: None };
        ctx.checkpoint(&done).await?;
        presence.end();
        match ctx.info().attempt {
            1 => Err(Stop::Retry { cause: Cause::new("half_way", "half way"), after: None }),
            _ => Ok(Done::Finished(json!({"from": from.processed}))),
        }
    }
);

/// Asks at each attempt to come again after a while.
#[derive(Serialize, Deserialize)]
pub struct Comes {
    pub stage: String,
}

impl Comes {
    pub const AGAIN_AFTER: Duration = Duration::from_millis(150);
}

impl Job for Comes {
    const KIND: &'static str = "comes";
    const RETRY: Retry = Retry { max_attempts: 9, waits: &[LONG], jitter: 0.0 };
    const TIMEOUT: Duration = LONG;
    const PATIENCE: Duration = LONG;

    async fn perform(self, _ctx: &Context) -> Outcome {
        Presence::begin(&self.stage).end();
        let cause = Cause::new("slow_down", "come again later");
        Err(Stop::Retry { cause, after: Some(Self::AGAIN_AFTER) })
    }
}

/// Panics while it is decoded, with something that panics again.
#[derive(Serialize)]
pub struct DecodesBadly {}

impl<'de> Deserialize<'de> for DecodesBadly {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        std::panic::panic_any(PanicsWhenDropped)
    }
}

impl Job for DecodesBadly {
    const KIND: &'static str = "decodes-badly";
    const QUEUE: &'static str = "held";
    // Decoded beside others.
    const WAITS: bool = false;
    const RETRY: Retry = QUICK;
    const TIMEOUT: Duration = LONG;
    const PATIENCE: Duration = LONG;

    fn lane(&self) -> LaneName {
        LaneName::tenant()
    }

    async fn perform(self, _ctx: &Context) -> Outcome {
        Ok(Done::Skipped("never".into()))
    }
}

/// Panics when its run is called off, and has no task of its own.
#[derive(Serialize, Deserialize)]
pub struct DropsBadly {
    pub stage: String,
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a bug in a destructor");
    }
}

impl Job for DropsBadly {
    const KIND: &'static str = "drops-badly";
    const QUEUE: &'static str = "held";
    const RETRY: Retry = QUICK;
    const TIMEOUT: Duration = Duration::from_millis(30);
    const PATIENCE: Duration = LONG;
    const WAITS: bool = false;

    fn lane(&self) -> LaneName {
        LaneName::tenant()
    }

    async fn perform(self, _ctx: &Context) -> Outcome {
        let _bug = PanicsWhenDropped;
        std::future::pending::<Outcome>().await
    }
}
