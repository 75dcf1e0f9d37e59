//! Kinds for tests: a few of every sort that the façade tells apart.

use std::time::Duration;

use jobs::contract::{Audience, Catalogue, Context, Done, Job, Outcome, Problem, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const ONCE: Retry = Retry { max_attempts: 3, waits: &[], jitter: 0.0 };

pub(super) fn catalogue() -> Catalogue {
    Catalogue::empty().with::<Send>().with::<Classify>().with::<InboxSync>()
}

/// Something with a schema, problems deep inside, items and a uniqueness key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    to: Address,
    #[serde(default)]
    text: String,
    #[serde(default)]
    only_one: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    email: String,
}

impl Job for Send {
    const KIND: &'static str = "send";
    const ALIASES: &'static [&'static str] = &["email"];
    const RETRY: Retry = ONCE;
    const TIMEOUT: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(1);

    fn check(&self) -> Vec<Problem> {
        let wrong = !self.to.email.contains('@');
        let problem = || Problem::new("/to/email", "invalid_email", "expected an address");
        wrong.then(problem).into_iter().collect()
    }

    fn unique(&self) -> Option<String> {
        self.only_one.clone()
    }

    async fn perform(self, _: &Context) -> Outcome {
        Ok(Done::Finished(Value::Null))
    }
}

/// Another public kind, with any payload.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Classify(Value);

impl Job for Classify {
    const KIND: &'static str = "classify";
    const RETRY: Retry = ONCE;
    const TIMEOUT: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(1);

    async fn perform(self, _: &Context) -> Outcome {
        Ok(Done::Finished(Value::Null))
    }
}

/// A kind that callers may not submit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InboxSync {}

impl Job for InboxSync {
    const KIND: &'static str = "inbox-sync";
    const AUDIENCE: Audience = Audience::Engine;
    const RETRY: Retry = ONCE;
    const TIMEOUT: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(1);

    async fn perform(self, _: &Context) -> Outcome {
        Ok(Done::Finished(Value::Null))
    }
}
