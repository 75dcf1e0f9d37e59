//! The list of kinds, and a kind with its type forgotten.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    Audience, Context, Job, LaneName, Outcome, Problem, Retry,
    problem::{decoder_words, escaped},
    resource::Resources,
};

/// One kind of job, with its type forgotten: what the engine works with.
#[derive(Clone)]
pub struct Kind {
    /// The wire name.
    pub name: &'static str,
    /// Former wire names.
    pub aliases: &'static [&'static str],
    /// Who may submit it.
    pub audience: Audience,
    /// The queue its jobs wait in.
    pub queue: &'static str,
    /// Its retry policy.
    pub retry: Retry,
    /// How long a run may take.
    pub timeout: Duration,
    /// How long a job may be put off.
    pub patience: Duration,
    /// Whether its runs wait, and so are spawned.
    pub waits: bool,
    /// Whether it is about many items.
    pub bulk: bool,
    /// What its payloads may look like: makes a JSON Schema.
    pub schema: fn() -> Value,
    /// Makes a payload that is accepted; `null` when the kind has none to show.
    pub example: fn() -> Value,
    typed: Arc<dyn Typed>,
}

/// What the engine needs to know about a payload before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The lane that the job belongs to.
    pub lane: LaneName,
    /// The job's uniqueness key, if it has one.
    pub unique: Option<String>,
    /// How many items it is about.
    pub items: u64,
    /// The payload as it is to be stored.
    pub stored: String,
}

/// A decoded payload, ready to run.
pub trait Runnable: Send {
    /// Runs the job.
    fn perform(self: Box<Self>, ctx: Arc<Context>) -> BoxFuture<'static, Outcome>;
}

impl Kind {
    /// The kind of `J`.
    pub fn of<J: Job>() -> Self {
        Self {
            name: J::KIND,
            aliases: J::ALIASES,
            audience: J::AUDIENCE,
            queue: J::QUEUE,
            retry: J::RETRY,
            timeout: J::TIMEOUT,
            patience: J::PATIENCE,
            waits: J::WAITS,
            bulk: J::BULK,
            schema: J::schema,
            example: J::example,
            typed: Arc::new(Of::<J>(PhantomData)),
        }
    }

    /// Checks a payload: its shape, then everything that the kind itself checks, then what it names
    /// of `declared` resources.
    ///
    /// # Errors
    ///
    /// Every problem found, each with a pointer into the payload.
    pub fn check(&self, payload: &Value, declared: &Resources) -> Result<Checked, Vec<Problem>> {
        self.typed.check(payload, declared)
    }

    /// Decodes a stored payload.
    ///
    /// # Errors
    ///
    /// The decoder's words, when the payload is not what the kind expects.
    pub fn decode(&self, payload: &[u8]) -> Result<Box<dyn Runnable>, String> {
        self.typed.decode(payload)
    }
}

trait Typed: Send + Sync {
    fn check(&self, payload: &Value, declared: &Resources) -> Result<Checked, Vec<Problem>>;
    fn decode(&self, payload: &[u8]) -> Result<Box<dyn Runnable>, String>;
}

struct Of<J>(PhantomData<fn() -> J>);

impl<J: Job> Typed for Of<J> {
    fn check(&self, payload: &Value, declared: &Resources) -> Result<Checked, Vec<Problem>> {
        // Read as a worker will read it. To know where something is wrong costs as much again; most
        // payloads are right.
        let stored = serde_json::to_string(payload)
            .expect("a value is serialized: its keys are texts, and its numbers finite");
        let job = serde_json::from_str(&stored).or_else(|_| {
            serde_path_to_error::deserialize::<_, J>(payload).map_err(|e| {
                vec![Problem::undecodable(pointer(e.path()), "invalid_payload", e.inner())]
            })
        })?;
        let list = if J::OBJECTS_ONLY {
            payload.is_array().then(String::new)
        } else {
            list_for_object(payload, &serde_json::to_value(&job).unwrap_or_default())
        };
        if let Some(at) = list {
            let words = "expected an object, got a list";
            return Err(vec![Problem::new(at, "invalid_payload", words)]);
        }
        let mut problems = job.check();
        if problems.is_empty() {
            problems = job.check_declared(declared);
        }
        if problems.is_empty() {
            Ok(Checked { lane: job.lane(), unique: job.unique(), items: job.items(), stored })
        } else {
            Err(problems)
        }
    }

    fn decode(&self, payload: &[u8]) -> Result<Box<dyn Runnable>, String> {
        let job: J = serde_json::from_slice(payload).map_err(|e| decoder_words(&e))?;
        Ok(Box::new(Decoded(job)))
    }
}

struct Decoded<J>(J);

impl<J: Job> Runnable for Decoded<J> {
    fn perform(self: Box<Self>, ctx: Arc<Context>) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { self.0.perform(&ctx).await })
    }
}

/// Where a payload has a list and its job an object: serde also reads a struct from the bare list of
/// its fields, in an order that nobody promised.
fn list_for_object(payload: &Value, job: &Value) -> Option<String> {
    match (payload, job) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(payload), Value::Array(job)) => {
            let pairs = payload.iter().zip(job).enumerate();
            pairs.into_iter().find_map(|(at, (payload, job))| {
                Some(format!("/{at}{}", list_for_object(payload, job)?))
            })
        }
        (Value::Object(payload), Value::Object(job)) => {
            payload.iter().find_map(|(name, payload)| {
                let below = list_for_object(payload, job.get(name)?)?;
                Some(format!("/{}{below}", escaped(name)))
            })
        }
        _ => None,
    }
}

/// A decoder's path as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escaped(key),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    pointer
}

/// Every kind that an engine knows, by wire name.
#[derive(Clone, Default)]
pub struct Catalogue {
    by_name: BTreeMap<&'static str, Kind>,
    names: BTreeMap<&'static str, &'static str>,
}

impl Catalogue {
    /// A catalogue of nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The catalogue with the kind of `J` added.
    ///
    /// # Panics
    ///
    /// When the wire name or an alias is taken: two kinds of one name are a mistake in the program.
    #[must_use]
    pub fn with<J: Job>(mut self) -> Self {
        let kind = Kind::of::<J>();
        for name in std::iter::once(&kind.name).chain(kind.aliases) {
            let twin = self.names.insert(name, kind.name);
            assert!(twin.is_none(), "two kinds are called {name:?}");
        }
        self.by_name.insert(kind.name, kind);
        self
    }

    /// The kind with this wire name, or whose former name this is.
    pub fn find(&self, name: &str) -> Option<&Kind> {
        self.by_name.get(self.names.get(name)?)
    }

    /// Every kind, in the order of their names.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.by_name.values()
    }

    /// The names of the kinds that callers may submit.
    pub fn public_names(&self) -> Vec<&'static str> {
        let public = |k: &&Kind| k.audience == Audience::Callers;
        self.kinds().filter(public).map(|k| k.name).collect()
    }

    /// Every queue that a kind of this catalogue waits in, each once.
    pub fn queues(&self) -> Vec<&'static str> {
        let mut queues: Vec<_> = self.kinds().map(|k| k.queue).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }
}
