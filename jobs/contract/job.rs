//! What a kind of job is.

use std::time::Duration;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Context, LaneName, Outcome, Problem, Retry, resource::Resources};

/// A kind of job. The payload struct is the job.
///
/// Payload structs derive `Deserialize` with `deny_unknown_fields`: a field that is not known is
/// refused when the job is submitted, not ignored when it runs.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The wire name, `kebab-case`; equal to the name of the file that holds the job.
    const KIND: &'static str;
    /// Former wire names that are still understood.
    const ALIASES: &'static [&'static str] = &[];
    /// Who may submit it.
    const AUDIENCE: Audience = Audience::Callers;
    /// The queue it waits in; a queue has a concurrency of its own in each worker process.
    const QUEUE: &'static str = Self::KIND;
    /// How often, and how far apart, it is tried.
    const RETRY: Retry;
    /// How long one run may take before it is aborted.
    const TIMEOUT: Duration;
    /// How long it may be put off, counted from when it was due, before it is not worth doing.
    const PATIENCE: Duration;
    /// Whether a run waits for anything (network, disk, database). Runs that wait are spawned as
    /// tasks of their own; a run that only computes for some microseconds is not worth that.
    const WAITS: bool = true;
    /// Whether it is about many items that end one by one: its payloads may be long, its items have
    /// errors of their own.
    const BULK: bool = false;
    /// Whether the types inside the payload refuse a list where an object belongs, as serde's own do not.
    /// Then a long payload need not be looked through for that.
    const OBJECTS_ONLY: bool = false;

    /// Everything wrong with the payload that can be seen without asking anybody.
    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Everything wrong with what the payload names of the resources that an operator has declared; asked
    /// when [`Job::check`] found nothing.
    fn check_declared(&self, _declared: &Resources) -> Vec<Problem> {
        Vec::new()
    }

    /// What the payload may look like, for callers: JSON Schema 2020-12. Anything, unless the kind
    /// says more; a kind that derives `JsonSchema` says it with `contract::schema::<Self>()`.
    fn schema() -> Value {
        Value::Object(serde_json::Map::new())
    }

    /// A payload that is accepted, for callers to begin with; `null` when there is none.
    fn example() -> Value {
        Value::Null
    }

    /// The narrowest thing with a pace of its own that this job belongs to.
    fn lane(&self) -> LaneName {
        LaneName::tenant()
    }

    /// While an unfinished job of this tenant and kind has the same key, submitting again answers
    /// with that job.
    fn unique(&self) -> Option<String> {
        None
    }

    /// How many items the job is about, for progress.
    fn items(&self) -> u64 {
        1
    }

    /// Does the work.
    fn perform(self, ctx: &Context) -> impl Future<Output = Outcome> + Send;
}

/// Who may submit a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Callers of the façade, the crontab, the command line and other jobs.
    Callers,
    /// The engine itself; the façade refuses it.
    Engine,
}

/// The schema that a payload's type derives, its doc comments as descriptions, in one piece.
pub fn schema<P: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<P>().into()
}
