//! Callbacks: the endpoints to which a job's end is told.
//!
//! They travel with the job as the first member of its stored payload, so that no queue need know of
//! them, and whoever runs the job has them without asking. No payload of a caller's has that member.

use std::borrow::Cow;

use jobs::{
    WebhookDelivery,
    contract::{Job, Moment, RunInfo, Verdict, ports::FollowUp},
};
use serde_json::{Value, json};

/// The member, and how a payload that has it begins.
pub(crate) const MEMBER: &str = "$callback";
const BEGIN: &[u8] = b"{\"$callback\":";
/// The largest result that is told, in bytes of JSON; of a larger one it is told that it is.
const LARGEST_RESULT: usize = 64 << 10;

/// A payload (the text of a JSON object) with these callbacks.
pub(crate) fn wrap(payload: String, callbacks: &[String]) -> String {
    match payload.strip_prefix('{') {
        Some(rest) if !callbacks.is_empty() => {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            format!("{{\"{MEMBER}\":{}{comma}{rest}", json!(callbacks))
        }
        _ => payload,
    }
}

/// The callbacks of a stored payload, and the payload as it was submitted.
pub(crate) fn unwrap(stored: &[u8]) -> (Vec<String>, Cow<'_, [u8]>) {
    let Some(rest) = stored.strip_prefix(BEGIN) else { return (Vec::new(), stored.into()) };
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Vec<String>>();
    let Some(Ok(callbacks)) = values.next() else { return (Vec::new(), stored.into()) };
    let rest = &rest[values.byte_offset()..];
    let payload = [b"{", rest.strip_prefix(b",").unwrap_or(rest)].concat();
    (callbacks, payload.into())
}

/// The delivery that tells an endpoint how a job ended; nothing while it has not.
pub(crate) fn news(run: &RunInfo, kind: &str, verdict: &Verdict, now: Moment) -> Option<Value> {
    let (event, outcome) = match verdict {
        Verdict::Complete { result, skipped } => {
            let large = result.to_string().len() > LARGEST_RESULT;
            let result = if large { &Value::Null } else { result };
            let outcome = json!({"result": result, "result_omitted": large, "skipped": skipped});
            ("job.completed", outcome)
        }
        Verdict::Fail { error, .. } => ("job.failed", json!({"error": error})),
        _ => return None,
    };
    let mut data = json!({
        "job_id": run.job,
        "type": kind,
        "status": event.trim_start_matches("job."),
        "attempt": run.attempt,
        "created_at": run.created_at,
        "completed_at": now,
    });
    if let (Value::Object(data), Value::Object(outcome)) = (&mut data, outcome) {
        data.extend(outcome);
    }
    Some(json!({"event": event, "data": data}))
}

/// The follow-up that brings `news` to one endpoint, and the key under which it is taken in: another
/// run of the same job has other news.
pub(crate) fn follow_up(news: &Value, endpoint: &str, run: &RunInfo) -> (String, FollowUp) {
    let mut payload = news.clone();
    payload["endpoint_id"] = json!(endpoint);
    let key = format!("callback:{}:{endpoint}", run.run_id());
    (key, FollowUp { kind: WebhookDelivery::KIND, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_wrapped_comes_out_again() {
        for payload in ["{}", "{\"a\":1}", "{\"a\":{\"$callback\":[\"x\"]},\"b\":\"}\"}", "[1]"] {
            for callbacks in [names(&[]), names(&["crm"]), names(&["a", "b.c"])] {
                let stored = wrap(payload.to_owned(), &callbacks);
                let (found, inside) = unwrap(stored.as_bytes());
                assert_eq!(std::str::from_utf8(&inside).unwrap(), payload);
                let expected = if payload.starts_with('{') { callbacks } else { Vec::new() };
                assert_eq!(found, expected);
                assert!(serde_json::from_str::<Value>(&stored).is_ok(), "{stored}");
            }
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_left_alone() {
        for stored in ["{\"$callback\":7}", "{\"$callback\":", "{\"$callback\":[7]}", ""] {
            let (callbacks, payload) = unwrap(stored.as_bytes());
            assert_eq!((callbacks, payload.as_ref()), (Vec::new(), stored.as_bytes()));
        }
    }
}
